"""The storage origin: signed, expiring addresses of audio, on another port than the APIs.

It simulates the object store to which the provider redirects. A client must not send credentials here: a request that
has any is refused and recorded in `SimulatorState.leaks`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from .jobs import Job
from .library import Audio
from .ranges import UnsatisfiableError, requested_range
from .responses import StreamResponse
from .state import SimulatorState
from .streams import PATH, Streams

CREDENTIAL_HEADERS = ("authorization", "x-api-key", "cookie")
SLOW_CHUNKS = 20
SLOW_SECONDS = 1.0
ERROR_PAGE = b"<!doctype html><title>Error</title><h1>Something went wrong</h1>\n"


class Storage:
    """Serves `GET /audio/{name}?expires=&signature=`."""

    def __init__(self, state: SimulatorState, streams: Streams) -> None:
        self._state = state
        self._streams = streams

    def app(self) -> ASGIApp:
        """The ASGI application of this origin."""
        return Starlette(
            routes=[
                Route("/audio/{name}", self._audio),
                Route("/loop/{step:int}", self._loop),
                Route(PATH, self._live),
                Route("/{rest:path}", self._nothing),
            ]
        )

    async def _audio(self, request: Request) -> ASGIApp:
        state, name = self._state, request.path_params["name"]
        job_id = name.partition(".")[0]
        state.count_request("storage", job_id)
        refusal = self._refuse_leak(request) or self._refuse_signature(request, name)
        if refusal is not None:
            return refusal
        if state.injector.trigger("storage_503", at="storage", job_id=job_id):
            return xml_error(503, "SlowDown", "Please reduce your request rate.")
        job = state.jobs.by_object(name)
        gone = state.injector.trigger("object_gone", at="storage", job_id=job_id)
        if job is None or gone:
            status = int(gone.number(404)) if gone else 404
            return xml_error(status, "NoSuchKey", "The specified key does not exist.")
        if state.injector.trigger("html_audio", at="storage", job_id=job_id):
            return Response(ERROR_PAGE, media_type="text/html")
        return self._bytes(request, job, job.objects[name])

    def _bytes(self, request: Request, job: Job, audio: Audio) -> ASGIApp:
        injector = self._state.injector
        try:
            part = requested_range(
                request.headers.get("range"),
                request.headers.get("if-range"),
                etag=audio.etag,
                size=audio.size,
            )
        except UnsatisfiableError:
            response = xml_error(416, "InvalidRange", "The requested range is not satisfiable.")
            response.headers["Content-Range"] = f"bytes */{audio.size}"
            return response
        start, stop = part or (0, audio.size)
        wrong = injector.trigger("wrong_checksum", at="storage", job_id=job.id) is not None
        headers = _headers(audio, wrong_checksum=wrong)
        headers["Content-Length"] = str(stop - start)
        if part:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{audio.size}"
            headers.pop("Content-MD5", None)
        if injector.trigger("no_content_length", at="storage", job_id=job.id):
            del headers["Content-Length"]
        cut = None if part else injector.trigger("truncated_audio", at="storage", job_id=job.id)
        if cut:
            stop = min(int(cut.number(audio.size // 2)), stop)
        slow = injector.trigger("slow_audio", at="storage", job_id=job.id)
        stream = StreamResponse(
            status=206 if part else 200,
            headers=headers,
            chunks=audio.chunks(start, stop),
            shutdown=self._state.shutdown,
            cut=cut is not None,
        )
        if slow:
            step = max((stop - start) // SLOW_CHUNKS, 1)
            bounds = range(start, stop, step)
            stream.chunks = (b"".join(audio.chunks(at, min(at + step, stop))) for at in bounds)
            stream.pause_seconds = slow.number(SLOW_SECONDS) / max(len(bounds), 1)
        return stream

    async def _live(self, request: Request) -> ASGIApp:
        return self._refuse_leak(request) or await self._streams.serve(request)

    async def _loop(self, request: Request) -> Response:
        """Redirect each of two addresses to the other."""
        self._state.count_request("loop")
        refusal = self._refuse_leak(request)
        other = 2 if request.path_params["step"] == 1 else 1
        return refusal or RedirectResponse(f"{self._state.storage_url}/loop/{other}", 307)

    async def _nothing(self, request: Request) -> Response:
        """Respond to any other address with 404."""
        self._state.count_request("storage")
        return self._refuse_leak(request) or xml_error(404, "NoSuchKey", "There is nothing here.")

    def _refuse_leak(self, request: Request) -> Response | None:
        account = self._state.account
        found = [name for name in CREDENTIAL_HEADERS if name in request.headers]
        secrets = (*self._state.api_keys.values(), account.id_token, account.signing_secret)
        if any(secret in str(request.url) for secret in secrets):
            found.append("a secret in the URL")
        if not found:
            return None
        self._state.leaks.append(f"{request.method} {request.url.path} carried {', '.join(found)}")
        self._state.changes.notify()
        message = "Credentials other than the signature are not allowed."
        return xml_error(400, "InvalidArgument", message)

    def _refuse_signature(self, request: Request, name: str) -> Response | None:
        query = request.query_params
        expires, signature = query.get("expires", ""), query.get("signature", "")
        valid = expires.lstrip("-").isdecimal() and hmac.compare_digest(
            self._state.storage_signature(name, int(expires)).encode(), signature.encode()
        )
        if not valid:
            return xml_error(403, "SignatureDoesNotMatch", "The signature is not valid.")
        if int(expires) <= self._state.now():
            return xml_error(403, "AccessDenied", "Request has expired")
        return None


def xml_error(status: int, code: str, message: str) -> Response:
    """Return an error in the XML form of object stores."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    body = f"{head}<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Response(body, status, media_type="application/xml")


def _headers(audio: Audio, *, wrong_checksum: bool) -> dict[str, str]:
    checksums = audio.checksums()
    if wrong_checksum:
        wrong = hashlib.md5(b"other bytes", usedforsecurity=False).digest()
        checksums = {
            "crc32c": base64.b64encode(wrong[:4]).decode(),
            "md5": base64.b64encode(wrong).decode(),
        }
    headers = {
        "Content-Type": audio.content_type,
        "ETag": audio.etag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=0",
    }
    if checksums:
        headers["x-goog-hash"] = ",".join(f"{name}={value}" for name, value in checksums.items())
        headers["Content-MD5"] = checksums["md5"]
    return headers
