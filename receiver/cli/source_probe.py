"""Probe a source with a cheap request that needs the key and is not charged for, and judge the response.

A list of voices, or "no such job" for an impossible id, proves the key only if the same request with a wrong key is
refused.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

from receiver.cli.provider_request import RequestFailure, request_failure, request_once
from receiver.errors import InvalidJson, ReceiverError
from receiver.model.rate_limit import RateLimit, read_rate_limit
from receiver.providers.base import read_json_object
from receiver.providers.protocols import PollingProvider, VoicesProvider, require_polling
from receiver.providers.types import (
    Account,
    Invalid,
    RateLimited,
    Refused,
    Request,
    Response,
    Unauthorized,
    UnknownJob,
    VoiceQuery,
)
from receiver.settings import Source

IMPOSSIBLE_JOB_ID = "00000000-0000-0000-0000-000000000000"
"""An id that no job has: ids consist of a time or random digits."""
WRONG_KEY = "a-wrong-key-that-tts-receiver-tries"
"""A key that no account has: a service that accepts it does not check the key of that request."""

Key = Literal["works", "refused", "none", "unknown"]


class ProbeResult(NamedTuple):
    """The result of one probe.

    Attributes:
        requested: `voices` or `a job`; None if nothing can be requested.
        key: what is known about the API key; with `ok`, `unknown` means that the service did not check it.
        round_trip_seconds: from the name resolution to the response's last byte; None without a response.
        reason: the error's slug; None without an error.
        detail: the finding, as a sentence.
        advice: what to do; empty if nothing, or if `detail` says it.
    """

    name: str
    provider: str
    base_url: str
    api_version: str | None
    requested: str | None
    ok: bool
    key: Key
    round_trip_seconds: float | None = None
    rate_limit: RateLimit | None = None
    reason: str | None = None
    detail: str = ""
    advice: str = ""


class _Unproven(ReceiverError):
    """The response does not show that the service checks the key."""

    reason = "provider_unreadable"


async def probe_source(name: str, source: Source, ssl_context: ssl.SSLContext) -> ProbeResult:
    """Probe the source's provider. Errors of the provider or the network are in the result.

    Args:
        ssl_context: the trusted certificates; created before, so that the measured time does not include it.
    """
    probe = _SourceProbe(source, ssl_context)
    start = ProbeResult(
        name, source.provider_name, source.origin, source.api_version, None, ok=True, key=probe.key, detail=_NOTHING
    )
    if probe.voices is None and probe.polled is None:
        return start
    try:
        key, found = await probe.run()
    except Unauthorized as error:
        if probe.key == "none":
            return probe.described(start)._replace(
                detail="Reached. There is no api_key to test: the source only receives webhooks."
            )
        return _failed(probe.described(start)._replace(key="refused"), request_failure(name, source, error))
    except ReceiverError as error:
        return _failed(probe.described(start), request_failure(name, source, error))
    result = probe.described(start)._replace(key=key, detail=found)
    return result._replace(advice=_UNCHECKED) if key == "unknown" else result


_UNCHECKED = "The first job will show whether it works."
_NOTHING = "There is nothing to test: this source only receives webhooks."
_WORKS = "The key works."
_KEYLESS = "Reached, without an api_key."


def _failed(result: ProbeResult, problem: RequestFailure) -> ProbeResult:
    return result._replace(ok=False, reason=problem.reason, detail=problem.what, advice=problem.advice)


class _SourceProbe:
    """Sends the requests to one source, and keeps the time and the rate limit of the last response."""

    def __init__(self, source: Source, ssl_context: ssl.SSLContext) -> None:
        self._source = source
        self._ssl_context = ssl_context
        self._account = source.account
        provider = source.provider
        self.voices = provider if isinstance(provider, VoicesProvider) else None
        self.polled = provider if isinstance(provider, PollingProvider) else None
        self.key: Key = "none" if self._account.api_key is None else "unknown"
        self._requested: str | None = None
        self._seconds: float | None = None
        self._limit: RateLimit | None = None

    def described(self, start: ProbeResult) -> ProbeResult:
        """The result with the time and the rate limit of the last response."""
        seconds = None if self._seconds is None else round(self._seconds, 4)
        return start._replace(requested=self._requested, round_trip_seconds=seconds, rate_limit=self._limit)

    async def run(self) -> tuple[Key, str]:
        """What is known about the key, and the finding, as a sentence.

        Raises:
            ReceiverError: the key does not work, or the responses do not look like the service's.
        """
        if self.voices is None:
            return await self._require_proof()
        voices = self.voices

        def list_voices(account: Account) -> Request:
            return voices.voices_request(account, VoiceQuery())

        response = await self._request("voices", list_voices(self._account))
        if response.status in (403, 404) and self.polled is not None:
            # Keys can have scopes: permission to poll jobs is enough.
            key, found = await self._require_proof()
            return key, f"{found} It has no permission to list voices."
        offers = f"It offers {len(voices.read_voices(self._account, response))} voices."
        if self._account.api_key is None:
            return "none", f"{_KEYLESS} {offers}"
        if await self._refuses_wrong_key(list_voices, voices.read_voices):
            return "works", f"{_WORKS} {offers}"
        if self.polled is None:
            return "unknown", f"Reached. {offers} The key was not checked: a wrong key gets the same list."
        if await self._request_impossible_job():
            return "works", f"{_WORKS} {offers}"
        return "unknown", f"Reached. {offers} The key was not checked: a wrong key gets the same responses."

    async def _require_proof(self) -> tuple[Key, str]:
        """Request a job that cannot exist, if no other response proves that this is the service."""
        if await self._request_impossible_job():
            return "works", _WORKS
        if self._account.api_key is None:
            return "none", _KEYLESS
        raise _Unproven(
            f"{self._source.provider_name} sends the same response to a wrong key: it does not seem to check the "
            "key. Check base_url."
        )

    async def _request_impossible_job(self) -> bool:
        """Request a job that cannot exist; return whether the response proves the key."""
        response = await self._request("a job", self._impossible_job_request(self._account))
        self._read_impossible_job(self._account, response)
        return self._account.api_key is not None and await self._refuses_wrong_key(
            self._impossible_job_request, self._read_impossible_job
        )

    async def _refuses_wrong_key(
        self, request: Callable[[Account], Request], read: Callable[[Account, Response], object]
    ) -> bool:
        """Whether the service refuses the same request with a wrong key."""
        wrong = replace(self._account, api_key=WRONG_KEY)
        try:
            try:
                read(wrong, await request_once(self._source, request(wrong), self._ssl_context))
            except RateLimited:  # two polls within the provider's own limit
                await asyncio.sleep(self._source.provider.capabilities.min_poll_seconds)
                read(wrong, await request_once(self._source, request(wrong), self._ssl_context))
        except (Unauthorized, Invalid, Refused):
            return True
        return False

    def _impossible_job_request(self, account: Account) -> Request:
        return require_polling(self._source.provider).status_request(account, IMPOSSIBLE_JOB_ID)

    def _read_impossible_job(self, account: Account, response: Response) -> None:
        try:
            require_polling(self._source.provider).read_status(account, IMPOSSIBLE_JOB_ID, response)
        except UnknownJob:
            try:
                read_json_object(response.body)
            except InvalidJson:
                raise _Unproven(
                    f"{self._source.provider_name} returns {response.status} with a body that is not JSON, so this is "
                    "probably not the service. Check base_url."
                ) from None

    async def _request(self, what: str, request: Request) -> Response:
        self._requested = what
        began = time.perf_counter()
        response = await request_once(self._source, request, self._ssl_context)
        self._seconds = time.perf_counter() - began
        self._limit = read_rate_limit(response.header, time.time())
        return response
