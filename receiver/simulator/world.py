"""What all parts of the simulator share: settings, the account, and the record of what happened."""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from .changes import Changes, Closing
from .faults import Dice
from .jobs import Job, JobBook
from .library import Library
from .limits import ENTERPRISE, WINDOW_SECONDS, RateLimit
from .voices import VOICES, Voice

DEFAULT_RETRIES = tuple(25.0 * 4**n for n in range(7))
"""Seconds between 8 attempts, 37.9 hours in all. Provider's documentation: up to 8 attempts over
about 38 hours, exponential; the single steps are not documented."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How this provider behaves when nothing is wrong. Times are seconds."""

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
    audio_url_seconds: float = 86_400.0
    """Provider's documentation: `audio_url` lives 24 h. Negative: expired at birth."""
    signed_url_seconds: float = 300.0
    """Life of the address that the audio endpoint redirects to (not documented)."""
    name_audio_endpoint: bool = True
    """Whether webhook bodies hold `audio_endpoint` (older ones do not)."""
    addresses: Literal["absolute", "relative"] = "absolute"
    """The form of `poll_url` and `audio_endpoint` (not documented: both must work)."""
    maintenance_retry_after: int = 300


class SettingFields(TypedDict, total=False):
    """The fields of `Settings` but the seed, as keywords."""

    job_seconds: float | None
    retry_schedule: Sequence[float]
    resign_retries: bool
    webhook_timeout: float
    reorder_seconds: float
    allow_loopback_webhooks: bool
    audio_url_seconds: float
    signed_url_seconds: float
    name_audio_endpoint: bool
    addresses: Literal["absolute", "relative"]
    maintenance_retry_after: int


@dataclass(slots=True)
class Account:
    """The one customer."""

    api_key: str
    id_token: str
    signing_secret: str
    webhook_url: str | None = None
    credits: int | None = None
    """Characters left to pay with; None: no end."""
    secret_shown: bool = False
    secrets_made: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to send a webhook: what was sent and what came of it."""

    job_id: str
    event: str
    attempt: int
    """From 1; the same number again for a duplicate."""
    status: int | None
    """The receiver's answer; None if there was none (see `error`)."""
    error: str | None
    at: float
    """When it was sent, unix seconds."""
    delivery_id: str
    url: str
    kind: Literal["regular", "duplicate", "forged", "extra", "test"] = "regular"
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the answer was 2xx."""
        return self.status is not None and 200 <= self.status < 300


@dataclass
class World:
    """The shared state. Addresses are known once the servers listen."""

    settings: Settings
    dice: Dice
    account: Account
    now: Callable[[], float] = time.time
    voices: Sequence[Voice] = VOICES
    changes: Changes = field(default_factory=Changes)
    closing: Closing = field(default_factory=Closing)
    limit: RateLimit = field(default_factory=lambda: RateLimit(ENTERPRISE, WINDOW_SECONDS))
    requests: Counter[str] = field(default_factory=Counter)
    job_requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    deliveries: list[Delivery] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    base_url: str = ""
    storage_url: str = ""
    jobs: JobBook = field(init=False)

    def __post_init__(self) -> None:
        self.jobs = JobBook(self.settings.seed, Library(), self.changes.notify)
        self.dice.on_hit = self.changes.notify

    def count(self, endpoint: str, job_id: str = "") -> None:
        """Record one request."""
        self.requests[endpoint] += 1
        if job_id:
            self.job_requests[endpoint, job_id] += 1
        self.changes.notify()

    def record(self, delivery: Delivery) -> None:
        """Record one attempt at a delivery."""
        self.deliveries.append(delivery)
        self.changes.notify()

    def new_secret(self) -> str:
        """The next signing secret that the seed gives."""
        self.account.secrets_made += 1
        name = f"{self.settings.seed}:secret:{self.account.secrets_made}"
        return f"whsec_{random.Random(name).randbytes(32).hex()}"

    def address(self, path: str) -> str:
        """`path` of the API in the form that the settings ask for."""
        return path if self.settings.addresses == "relative" else self.base_url + path

    def poll_url(self, job: Job) -> str:
        """Where the job's status is."""
        return self.address(f"/api/v1/tts/{job.id}")

    def audio_endpoint(self, job: Job) -> str:
        """Where the job's durable audio is."""
        return self.address(f"/api/v1/tts/{job.id}/audio")

    def signed_url(self, job: Job, expires: int) -> str:
        """The storage address of the job's audio, good until `expires` (unix seconds)."""
        name = job.object_name
        signature = self.storage_signature(name, expires)
        return f"{self.storage_url}/audio/{name}?expires={expires}&signature={signature}"

    def storage_signature(self, name: str, expires: int) -> str:
        """What the storage origin checks: only that it is unguessable matters, not its form."""
        key = f"storage:{self.settings.seed}".encode()
        return hmac.new(key, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()
