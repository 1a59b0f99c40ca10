"""Recorded responses of a provider's API: each with its source and its meaning.

One JSON file each: `source` (where the response is documented), `api_version` if it belongs to one, `status`,
`headers`, `body` (or `text`, if it is not JSON), `status_field` if the field of the body's status word is not `status`,
and `means`. The folder itself contains responses about one job's status, with one of these in `means`:

    {"running": WORD, "progress": PERCENT}
    {"completed": PAYLOAD}
    {"failed": PAYLOAD}
    {"error": CLASS, "code": WORD, "retry_after": SECONDS, "says": PART OF THE MESSAGE}

Beside `completed`, `files` has the addresses of the audio: a list for each file, best first. Beside `completed` and
`failed`, `delivery` has the body of the webhook about the same end, if the service sends webhooks.

An error is possible in every folder. Responses of other kinds are in subfolders, if the service has them:

    submit/     as above, and {"submitted": JOB ID} in the same object
    voices/     {"voices": [{"id", "name", "language", "gender", "model", "details"}]}, without absent fields
    history/    {"history": {JOB ID: one of the above}}
    register/   {"registered": {"url", "secret"}}
    test/       {"tested": TEST ID}

`rate_limit` is the account's limit in the headers: `limit`, `remaining`, `reset_at` (unix seconds, computed at
the response's own `Date`), `bucket`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from receiver.providers.types import Response


@dataclass(frozen=True)
class Recorded:
    """One recorded response."""

    name: str
    source: str
    status: int
    means: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    text: str | None = None
    delivery: Mapping[str, Any] | None = None
    files: list[list[str]] | None = None
    rate_limit: Mapping[str, Any] | None = None
    api_version: str | None = None
    status_field: str = "status"

    @property
    def response(self) -> Response:
        """The response as it was received."""
        return self.with_body(self.body)

    def with_body(self, body: Any) -> Response:
        """Return the same response with another JSON body."""
        content = self.text if self.text is not None else json.dumps(body)
        headers = [(name.lower().encode(), value.encode()) for name, value in self.headers.items()]
        return Response(self.status, headers, content.encode())


def load(folder: Path) -> list[Recorded]:
    """Return the documents in a folder, sorted by name; none if the folder does not exist."""
    return [Recorded(file.stem, **json.loads(file.read_text("utf-8"))) for file in sorted(folder.glob("*.json"))]


class Recordings:
    """The recorded documents as fixtures, loaded from the fixture `folder`."""

    @pytest.fixture(scope="class")
    @classmethod
    def recordings(
        cls,
        documents: list[Recorded],
        submits: list[Recorded],
        voice_lists: list[Recorded],
        histories: list[Recorded],
        registrations: list[Recorded],
        webhook_tests: list[Recorded],
    ) -> list[Recorded]:
        """Every recorded response."""
        return [*documents, *submits, *voice_lists, *histories, *registrations, *webhook_tests]

    @pytest.fixture(scope="class")
    @classmethod
    def documents(cls, folder: Path) -> list[Recorded]:
        """Responses about a job's status."""
        return load(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def submits(cls, folder: Path) -> list[Recorded]:
        """Responses to a submit."""
        return load(folder / "submit")

    @pytest.fixture(scope="class")
    @classmethod
    def voice_lists(cls, folder: Path) -> list[Recorded]:
        """Responses with the list of voices."""
        return load(folder / "voices")

    @pytest.fixture(scope="class")
    @classmethod
    def histories(cls, folder: Path) -> list[Recorded]:
        """Responses with the history."""
        return load(folder / "history")

    @pytest.fixture(scope="class")
    @classmethod
    def registrations(cls, folder: Path) -> list[Recorded]:
        """Responses to a registration of the webhook address."""
        return load(folder / "register")

    @pytest.fixture(scope="class")
    @classmethod
    def webhook_tests(cls, folder: Path) -> list[Recorded]:
        """Responses to a request for a test delivery."""
        return load(folder / "test")
