"""Nothing secret in what is written down: known secrets, URL queries and URL credentials are cut out of text.

The last line of defence: code above does not log secrets, but error messages of libraries quote whole addresses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_URL = re.compile(r"://(?:[^\s/?#\"'<>]*@)?(?P<rest>[^\s?#\"'<>]*)(?P<tail>[?#][^\s\"'<>]*)?")
"""An address after its scheme. Matching the scheme as well would take quadratic time in a text such as
`a.a.a.a`: each letter could be its beginning."""
SHORTEST = 4
"""Shorter secrets are not looked for: cutting them out would garble every line and hide nothing."""


class Redactor:
    """Cuts secrets out of text.

    Args:
        secrets: texts that must never appear; also found as they look inside JSON and as Python shows them.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = set()
        for secret in secrets:
            if len(secret) >= SHORTEST:
                for form in (secret, repr(secret)[1:-1]):
                    forms |= {form, json.dumps(form)[1:-1], json.dumps(form, ensure_ascii=False)[1:-1]}
        self._secrets = tuple(sorted(forms, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, "[redacted]")
        if "://" in text:
            text = _URL.sub(_without_query, text)
        return text


def _without_query(match: re.Match[str]) -> str:
    return f"://{match['rest']}{'?[redacted]' if match['tail'] else ''}"
