"""How the simulated providers behave when nothing is wrong; apart from what goes wrong (`faults.py`).

Where a provider's documentation leaves something open, or two of its pages differ, it is a setting
here: a receiver must work with either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict

DEFAULT_RETRIES = tuple(25.0 * 4**n for n in range(7))
"""Seconds between 8 attempts, 37.9 hours in all. Provider's documentation: up to 8 attempts over
about 38 hours, exponential; the single steps are not documented."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The behaviour of all providers. Times are seconds."""

    seed: int = 7
    job_seconds: float | None = 0.2
    """From submit to end, plus or minus a quarter; None: only `Simulator.finish` ends a job."""
    retry_schedule: Sequence[float] = DEFAULT_RETRIES
    resign_retries: bool = True
    """Whether a retry is signed with a new `t` (not documented: both must work)."""
    webhook_timeout: float = 10.0
    reorder_seconds: float = 5.0
    """How long a reordered delivery waits at most for a later one."""
    allow_loopback_webhooks: bool = True
    public_endpoints: Sequence[str] = ()
    """Endpoints of every provider that answer whatever the key (`voices`, `status`). Not documented: whether a list of
    voices needs one."""
    audio_url_seconds: float = 86_400.0
    """Provider's documentation: `audio_url` of aitts lives 24 h. Negative: expired from the start."""
    signed_url_seconds: float = 300.0
    """Life of the address that the audio endpoint of aitts redirects to (not documented)."""
    name_audio_endpoint: bool = True
    """Whether webhook bodies hold `audio_endpoint` (older ones do not)."""
    addresses: Literal["absolute", "relative"] = "absolute"
    """The form of `poll_url` and `audio_endpoint` (not documented: both must work)."""
    maintenance_retry_after: int = 300
    temporary_url_seconds: float = 3600.0
    """Life of the audio's address in a status answer of audixa, finevoice and miragic (not
    documented). Each answer has a fresh one."""
    audixa_poll_seconds: float | None = 1.0
    """Shortest time between two polls of the account (status or history), 429 if it is less.
    Provider's documentation: never faster than 1/s. None: no limit."""
    audixa_id_seconds: float = 86_400.0
    """Provider's documentation: ids expire 24 h after creation, 404 afterwards."""
    audixa_v2_url: Literal["audio_url", "url"] = "audio_url"
    """What v2 calls the audio's address (the pages differ)."""
    audixa_expired: Literal["404", "EXPIRED"] = "404"
    """How v3's status says that an id has expired: both are documented."""
    finevoice_fast: bool = False
    """Whether a submit with `useAsync` is answered only when done, with 200 and the address."""
    finevoice_errors: Literal["http", "body"] = "http"
    """Whether an error's status is also that of HTTP, or only the body's `status` (not documented)."""
    miragic_audio_at: str = "audioUrl"
    """Where under `data` the audio's address is, dots for depth. Documented besides `audioUrl`:
    `metadata.apiResponse.audio_link`, `audio_link`, `download_signed_url`."""
    miragic_more_at: Sequence[str] = ()
    """Further paths under `data` that have an address of the same audio, of the storage."""
    miragic_audio: Literal["storage", "open", "key"] = "storage"
    """Where the address in `miragic_audio_at` leads: to the storage, or to the API's own origin, which answers there
    to everybody, or to the API key only. Provider's documentation: at its own origin; the key is not mentioned."""
    miragic_progress: bool = True
    """Whether a pending job reports its `progress`, 0 to 99."""


class SettingFields(TypedDict, total=False):
    """The fields of `Settings` but the seed, as keywords."""

    job_seconds: float | None
    retry_schedule: Sequence[float]
    resign_retries: bool
    webhook_timeout: float
    reorder_seconds: float
    allow_loopback_webhooks: bool
    public_endpoints: Sequence[str]
    audio_url_seconds: float
    signed_url_seconds: float
    name_audio_endpoint: bool
    addresses: Literal["absolute", "relative"]
    maintenance_retry_after: int
    temporary_url_seconds: float
    audixa_poll_seconds: float | None
    audixa_id_seconds: float
    audixa_v2_url: Literal["audio_url", "url"]
    audixa_expired: Literal["404", "EXPIRED"]
    finevoice_fast: bool
    finevoice_errors: Literal["http", "body"]
    miragic_audio_at: str
    miragic_more_at: Sequence[str]
    miragic_audio: Literal["storage", "open", "key"]
    miragic_progress: bool
