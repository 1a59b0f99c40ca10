"""What a provider module offers to the rest of the house, and the checks they all need on outside text."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import urlsplit

from receiver.model.delivery import Headers, Parsed
from receiver.model.json_body import REPLACEMENT, read_json, read_json_object
from receiver.providers.wire import (
    Account,
    Capabilities,
    Registered,
    Request,
    Response,
    Speech,
    Status,
    Submitted,
    Voice,
    VoiceQuery,
)

__all__ = [
    "MAX_WORD",
    "AudioRequest",
    "Provider",
    "header_word",
    "origin_of",
    "read_json",
    "read_json_object",
    "usable_word",
]

MAX_WORD = 256
"""Longest accepted event word or job id, in characters."""


@dataclass(frozen=True, slots=True)
class AudioRequest:
    """One way to get a completed job's audio.

    Attributes:
        url: absolute address.
        headers: credentials; they go to `url`'s own origin and nowhere else.
        durable: whether the address stays good; a temporary one is tried only if there is no durable one.
        headers_if_refused: credentials sent only to an address that refused a request without them; likewise.
    """

    url: str
    headers: Mapping[str, str] = field(repr=False)
    durable: bool
    headers_if_refused: Mapping[str, str] = field(default_factory=dict, repr=False)


class Provider(Protocol):
    """One kind of service. Stateless; everything about an account is an argument.

    `receiver.providers.defaults` has a base class for what a service does not offer, `receiver.contract` the tests.
    """

    name: str
    base_url: str
    """The real service's address, the default of a source's `base_url`."""
    scheme: str | None
    """The signature scheme of its webhooks; None for a service that sends none."""
    kept_headers: tuple[str, ...]
    """Lower-case names of the unsigned headers worth keeping with an event."""
    retry_window_seconds: float
    """How long after the first attempt the service may still retry a delivery."""

    capabilities: Capabilities

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """Ask for a speech job. The key is sent where `capabilities.idempotent_submit` says so.

        Raises:
            Invalid: the speech has something that the service does not take.
        """

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read the answer.

        Raises:
            ProviderError: the answer is an error, or cannot be read. `Unavailable` does not say whether the job exists.
        """

    def status_request(self, account: Account, job_id: str) -> Request:
        """Ask for one job's status.

        Raises:
            ProviderError: the account cannot be asked (it names an `api_version` that there is not).
        """

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read the answer.

        An unknown status word means still running.

        Raises:
            ProviderError: the answer is an error, or cannot be read.
        """

    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        """Ask for the voices on offer.

        Raises:
            Invalid: there is no list to ask for, or it cannot be filtered by what is asked.
        """

    def read_voices(self, account: Account, response: Response) -> list[Voice]:
        """Read the answer; a row without a usable id is left out.

        Raises:
            ProviderError: the answer is an error, or cannot be read.
        """

    def history_request(self, account: Account, offset: int) -> Request:
        """Ask for `HISTORY_PAGE` jobs from the newest but `offset` on.

        Raises:
            Invalid: there is no history to ask for.
        """

    def read_history(self, account: Account, response: Response) -> dict[str, Status]:
        """Read the answer: each job's status by its id, as the answer has them; an unreadable row is left out.

        An `Ended` has its own row as its `document`.

        Raises:
            ProviderError: the answer is an error, or cannot be read.
        """

    def register_request(self, account: Account, id_token: str, url: str, *, new_secret: bool) -> Request:
        """Say where deliveries go. The ID token is that of a person; the API key is not sent.

        Args:
            new_secret: ask for another signing secret; the old one is then no longer used.

        Raises:
            Invalid: the service cannot be told, or would not take the address.
        """

    def read_register(self, account: Account, response: Response) -> Registered:
        """Read the answer.

        Raises:
            ProviderError: the answer is an error, or cannot be read.
        """

    def test_request(self, account: Account, id_token: str) -> Request:
        """Ask the service to send a test to the registered address.

        Raises:
            Invalid: the service sends no tests.
        """

    def read_test(self, account: Account, response: Response) -> str:
        """Read the answer: the id of a test that was delivered.

        Raises:
            ProviderError: the answer is an error (the test was not delivered), or cannot be read.
        """

    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        """Read a verified delivery.

        The body is signed, the headers are not. They may name a `test` where the body names no event, and decide
        nothing else.

        Raises:
            InvalidJson: the body is not JSON.
            MalformedDelivery: it cannot be read as this provider's.
        """

    def delivery_headers(self, event: str, delivery_id: str) -> list[tuple[str, str]]:
        """Unsigned header lines that the service adds to a delivery."""

    def sample_body(
        self, event: str, job_id: str, created_at: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """A body as the service would send it, for `send`.

        Raises:
            Invalid: there is metadata, and the service's deliveries of this event have none.
        """

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """The files of a completed job, and for each of them the ways to get it, best first.

        The first file is the job's audio. Empty if there is none; no file is without a way.
        """


@lru_cache(maxsize=256)
def origin_of(url: str) -> tuple[str, str, int] | None:
    """(scheme, host, port) of an absolute http(s) address without credentials in it, or None if it is not one."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    scheme = parts.scheme.lower()
    if scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return scheme, parts.hostname.lower().rstrip("."), port or (443 if scheme == "https" else 80)


def usable_word(value: object) -> str | None:
    """An id or event word as text if it is one we can store, compare and print; else None.

    Whole numbers become their digits. Control characters, unpaired surrogates and white space at the ends are not ours
    to repair; nor is a character of which a part was sent, for two ids would become one.
    """
    if not isinstance(value, str):
        whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 64
        return str(value) if whole else None
    if not 0 < len(value) <= MAX_WORD:
        return None
    if value.isascii():
        return value if value.isprintable() and value == value.strip() else None
    if value != value.strip() or REPLACEMENT in value or any(unicodedata.category(char)[0] == "C" for char in value):
        return None
    return value


def header_word(headers: Headers, name: bytes) -> str | None:
    """An unsigned header's value, without the white space around it, if it is there once and usable; else None."""
    values = [value for header, value in headers if header == name]
    if len(values) != 1:
        return None
    try:
        return usable_word(values[0].decode("ascii").strip(" \t"))
    except UnicodeDecodeError:
        return None
