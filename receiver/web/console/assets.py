"""The console's files: its style, its script, its icons. All that a page loads comes from here."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"
_POLICY = "default-src 'none'; frame-ancestors 'none'"


class Assets:
    """All files, in memory. Their address contains their digest, so a browser keeps them for as long as they are valid.

    Attributes:
        digest: of all files together.
    """

    def __init__(self) -> None:
        self._files = dict(_read(files(__package__).joinpath("static"), ""))
        joined = b"".join(name.encode() + content for name, content in sorted(self._files.items()))
        self.digest = hashlib.sha256(joined).hexdigest()[:16]

    def route(self, path: str) -> Route:
        """The route beneath `path`."""
        return Route(f"{path}/static/{{digest}}/{{name:path}}", self._answer)

    async def _answer(self, request: Request) -> Response:
        name = request.path_params["name"]
        content = self._files.get(name)
        if content is None:
            return Response(status_code=404)
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        fresh = request.path_params["digest"] == self.digest
        headers = {
            "Cache-Control": _FOREVER if fresh else "no-cache",
            "Content-Security-Policy": _POLICY,
            "ETag": etag,
            "X-Content-Type-Options": "nosniff",
        }
        if request.headers.get("if-none-match") == etag:
            return Response(None, 304, headers)
        return Response(content, headers={**headers, "Content-Type": _TYPES[name[name.rindex(".") :]]})


def _read(folder: Traversable, prefix: str) -> list[tuple[str, bytes]]:
    found = []
    for item in folder.iterdir():
        if item.is_dir():
            found += _read(item, f"{prefix}{item.name}/")
        elif item.name.endswith(tuple(_TYPES)):
            found.append((prefix + item.name, item.read_bytes()))
    return found
