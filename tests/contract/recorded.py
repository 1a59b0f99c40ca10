"""Recorded documents of a provider's API: an answer, where it is documented, and what it means.

One JSON file each: `source` (where the document is from), `api_version` if it belongs to one, `status`, `headers`,
`body` (or `text`, if it is not JSON), `delivery` (the body of the webhook for the same end, if there is one), and
`means`, one of

    {"running": WORD, "progress": PERCENT}
    {"completed": PAYLOAD}
    {"failed": PAYLOAD}
    {"error": CLASS, "code": WORD, "retry_after": SECONDS, "says": PART OF THE MESSAGE}

The answers to a submit are in the folder `submit` beside them; theirs have `"submitted": JOB ID` as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from receiver.providers.wire import Response

DOCUMENTS = Path(__file__).parent / "documents"


@dataclass(frozen=True)
class Recorded:
    """One recorded answer to a question for a job's status."""

    name: str
    source: str
    status: int
    means: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    text: str | None = None
    delivery: Mapping[str, Any] | None = None
    api_version: str | None = None

    @property
    def response(self) -> Response:
        """The answer as it came over the wire."""
        return self.with_body(self.body)

    def with_body(self, body: Any) -> Response:
        """The same answer with another JSON body."""
        content = self.text if self.text is not None else json.dumps(body)
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        return Response(self.status, headers, content.encode())


def load(folder: Path) -> list[Recorded]:
    """Every document of a folder, by name."""
    return [Recorded(file.stem, **json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))]
