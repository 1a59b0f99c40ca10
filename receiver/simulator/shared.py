"""The state that all parts of the simulator share: accounts, jobs, and the record of requests and deliveries."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from receiver.clock import Clock

from .changes import Changes, Closing
from .faults import FaultInjector
from .jobs import AITTS, PROVIDERS, Job, JobBook
from .library import Library
from .limits import ENTERPRISE, WINDOW_SECONDS, RateLimit
from .settings import Settings
from .voices import VOICES, Voice


@dataclass(slots=True)
class Account:
    """The account at aitts."""

    api_key: str
    id_token: str
    signing_secret: str
    webhook_url: str | None = None
    credits: int | None = None
    """Characters that can still be paid for; None: unlimited."""
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
class SharedState:
    """The shared state. Addresses are known once the servers listen."""

    settings: Settings
    injector: FaultInjector
    account: Account
    clock: Clock
    voices: Sequence[Voice] = VOICES
    changes: Changes = field(default_factory=Changes)
    limit: RateLimit = field(default_factory=lambda: RateLimit(ENTERPRISE, WINDOW_SECONDS))
    requests: Counter[str] = field(default_factory=Counter)
    job_requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    deliveries: list[Delivery] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    base_url: str = ""
    storage_url: str = ""
    other_keys: dict[str, str] = field(default_factory=dict)
    """The API keys at the providers beside aitts."""
    closing: Closing = field(init=False)
    jobs: JobBook = field(init=False)

    def __post_init__(self) -> None:
        self.closing = Closing(self.clock)
        self.jobs = JobBook(self.settings.seed, Library(), self.changes.notify)
        self.injector.on_injected = self.changes.notify

    @property
    def api_keys(self) -> dict[str, str]:
        """The API key at each provider."""
        return {AITTS: self.account.api_key} | self.other_keys

    @property
    def base_urls(self) -> dict[str, str]:
        """The base URL of each provider."""
        return {provider: f"{self.base_url}/{provider}" for provider in PROVIDERS}

    def now(self) -> float:
        """Unix seconds."""
        return self.clock.now()

    def close(self) -> None:
        """End every pause and wake all waiters."""
        self.closing.close()
        self.changes.notify()

    def count(self, endpoint: str, job_id: str = "", *, provider: str = "") -> None:
        """Record one request, also under `provider.endpoint`; aitts and storage own the plain names."""
        if provider:
            self.requests[f"{provider}.{endpoint}"] += 1
        if provider in ("", AITTS):
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

    def poll_url(self, job: Job) -> str:
        """Where the status of an aitts job is, in the form that the settings ask for."""
        path = f"{job.mount}/api/v1/tts/{job.id}"
        return path if self.settings.addresses == "relative" else self.base_url + path

    def audio_endpoint(self, job: Job) -> str:
        """Where the durable audio of an aitts job is."""
        return f"{self.poll_url(job)}/audio"

    def signed_url(self, job: Job, expires: int) -> str:
        """The storage address of the job's audio, good until `expires` (unix seconds)."""
        return self._signed(job.object_name, expires)

    def temporary_urls(self, job: Job, *, at: str) -> list[str]:
        """Storage addresses of all outputs, as a status answer at `at` gives them."""
        job.audio_fetches += 1
        late = self.injector.draw("expired_url", at=at, job_id=job.id, chance=job.audio_fetches == 1)
        life = -60.0 if late else self.settings.temporary_url_seconds
        return [self._signed(name, int(self.now() + life)) for name in job.objects]

    def _signed(self, name: str, expires: int) -> str:
        signature = self.storage_signature(name, expires)
        return f"{self.storage_url}/audio/{name}?expires={expires}&signature={signature}"

    def storage_signature(self, name: str, expires: int) -> str:
        """What the storage origin checks: only that it is unguessable matters, not its form."""
        key = f"storage:{self.settings.seed}".encode()
        return hmac.new(key, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()
