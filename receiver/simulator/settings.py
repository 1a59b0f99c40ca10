"""How the simulated providers behave without faults (for those see `faults.py`).

What a provider's documentation leaves open, or describes in two ways, is a setting here: a receiver must work with
either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

from .limits import ResetForm

DEFAULT_RETRIES = tuple(25.0 * 4**n for n in range(7))
"""Seconds between 8 attempts, 37.9 hours in all. Provider's documentation: up to 8 attempts over about 38 hours,
exponential; the single steps are not documented."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The behaviour of all providers. Times are seconds."""

    seed: int = 7
    job_seconds: float | None = 0.2
    """From submit to end, plus or minus a quarter; None: only `Simulator.finish` and `fail` end a job."""
    retry_schedule: Sequence[float] = DEFAULT_RETRIES
    new_signature_per_retry: bool = True
    """Whether a retry is signed with a new `t` (not documented: both must work)."""
    webhook_timeout: float = 10.0
    reorder_seconds: float = 5.0
    """The longest time that a reordered delivery waits for later ones."""
    allow_loopback_webhooks: bool = True
    public_endpoints: Sequence[str] = ()
    """Endpoints of every provider that need no key (`voices`, `status`). Not documented: whether a list of voices needs
    one."""
    audio_url_seconds: float = 86_400.0
    """Lifetime of `audio_url` of aitts. Provider's documentation: 24 h. Negative: already expired."""
    signed_url_seconds: float = 300.0
    """Lifetime of the address that the audio endpoint of aitts redirects to (not documented)."""
    include_audio_endpoint: bool = True
    """Whether webhook bodies contain `audio_endpoint` (older ones do not)."""
    addresses: Literal["absolute", "relative"] = "absolute"
    """The form of `poll_url` and `audio_endpoint` (not documented: both must work)."""
    maintenance_retry_after: int = 300
    stream_seconds: float = 0.1
    """How long the audio of a stream of aitts takes to be sent; it begins at once."""
    stream_url_seconds: float = 60.0
    """Lifetime of `stream_url` (not documented). It can be used once."""
    stream_origin: Literal["storage", "api"] = "storage"
    """Where `stream_url` leads (not documented): to another origin than the API's, or to the API's own."""
    stream_format: str | None = None
    """The `transport_format` (its words are not documented); None: the job's output format."""
    temporary_url_seconds: float = 3600.0
    """Lifetime of the audio's address in a status response of audixa, finevoice and miragic (not documented). Each
    response has a new address."""
    rate_buckets: Literal["account", "endpoints"] = "account"
    """Whether all requests to aitts are counted together, or submits, status with audio, and the rest apart (not
    documented)."""
    rate_reset: ResetForm = "unix"
    """The form of `X-RateLimit-Reset` (not documented)."""
    audixa_poll_seconds: float | None = 1.0
    """Shortest interval between two polls of the account (status or history); earlier ones get 429. Provider's
    documentation: at most one a second. None: no limit."""
    audixa_id_seconds: float = 86_400.0
    """Lifetime of ids. Provider's documentation: they expire 24 h after creation, with 404 afterwards."""
    audixa_v2_url: Literal["audio_url", "url"] = "audio_url"
    """The field of the audio's address in v2 (the documentation's pages differ)."""
    audixa_expired: Literal["404", "EXPIRED"] = "404"
    """How the status in v3 reports that an id has expired; both are documented."""
    finevoice_fast: bool = False
    """Whether the response to a submit with `useAsync` waits for the end: 200 with the address."""
    finevoice_errors: Literal["http", "body"] = "http"
    """Whether an error's status is also the HTTP status, or only the `status` in the body (not documented)."""
    miragic_audio_path: str = "audioUrl"
    """Dotted path below `data` of the audio's address. Documented besides `audioUrl`:
    `metadata.apiResponse.audio_link`, `audio_link`, `download_signed_url`."""
    miragic_more_paths: Sequence[str] = ()
    """Further paths below `data` with a storage address of the same audio."""
    miragic_audio: Literal["storage", "open", "key"] = "storage"
    """Where the address at `miragic_audio_path` leads: to the storage, or to the API's own origin, where it needs no
    key (`open`) or the API key (`key`). Provider's documentation: at its own origin; the key is not mentioned."""
    miragic_progress: bool = True
    """Whether a pending job reports its `progress`, 0 to 99."""
    miragic_credits: float = 1
    """The `creditsUsed` of a completed job."""
    extra_characters: int = 0
    """How many more characters than its text has are charged for a job of aitts."""


class SettingFields(TypedDict, total=False):
    """The fields of `Settings` without the seed, as keyword arguments."""

    job_seconds: float | None
    retry_schedule: Sequence[float]
    new_signature_per_retry: bool
    webhook_timeout: float
    reorder_seconds: float
    allow_loopback_webhooks: bool
    public_endpoints: Sequence[str]
    audio_url_seconds: float
    signed_url_seconds: float
    include_audio_endpoint: bool
    addresses: Literal["absolute", "relative"]
    maintenance_retry_after: int
    stream_seconds: float
    stream_url_seconds: float
    stream_origin: Literal["storage", "api"]
    stream_format: str | None
    temporary_url_seconds: float
    rate_buckets: Literal["account", "endpoints"]
    rate_reset: ResetForm
    audixa_poll_seconds: float | None
    audixa_id_seconds: float
    audixa_v2_url: Literal["audio_url", "url"]
    audixa_expired: Literal["404", "EXPIRED"]
    finevoice_fast: bool
    finevoice_errors: Literal["http", "body"]
    miragic_audio_path: str
    miragic_more_paths: Sequence[str]
    miragic_audio: Literal["storage", "open", "key"]
    miragic_progress: bool
    miragic_credits: float
    extra_characters: int
