"""The state of a simulator: account, jobs, recorded requests and deliveries. All its parts share one instance."""

from __future__ import annotations

import hashlib
import hmac
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from receiver.clock import Clock

from .changes import Changes, Shutdown
from .faults import FaultInjector
from .jobs import AITTS, PROVIDERS, Job, JobStore
from .library import Library
from .limits import ENTERPRISE_LIMIT, WINDOW_SECONDS, RateLimit
from .settings import Settings
from .voices import VOICES, Voice

_BUCKETS = {"submit": "submit", "stream": "submit", "status": "status", "audio": "status"}
"""The bucket of each endpoint, with `Settings.rate_buckets` "endpoints"."""


@dataclass(slots=True)
class Account:
    """The account at aitts."""

    api_key: str
    id_token: str
    signing_secret: str
    webhook_url: str | None = None
    credits: int | None = None
    """Characters that can still be submitted; None: unlimited."""
    secret_shown: bool = False
    secrets_created: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to send a webhook: the request and its outcome."""

    job_id: str
    event: str
    attempt: int
    """From 1; a duplicate has the same number."""
    status: int | None
    """The status of the response; None if there was none (see `error`)."""
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
        """Whether the response was 2xx."""
        return self.status is not None and 200 <= self.status < 300


@dataclass
class SimulatorState:
    """The state. `base_url` and `storage_url` are set when the servers listen."""

    settings: Settings
    injector: FaultInjector
    account: Account
    clock: Clock
    voices: Sequence[Voice] = VOICES
    changes: Changes = field(default_factory=Changes)
    limit: RateLimit = field(default_factory=lambda: RateLimit(ENTERPRISE_LIMIT, WINDOW_SECONDS))
    limits: dict[str, RateLimit] = field(default_factory=dict)
    """By bucket, with `Settings.rate_buckets` "endpoints"."""
    requests: Counter[str] = field(default_factory=Counter)
    job_requests: Counter[tuple[str, str]] = field(default_factory=Counter)
    deliveries: list[Delivery] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    idempotency_keys: list[str] = field(default_factory=list)
    base_url: str = ""
    storage_url: str = ""
    other_keys: dict[str, str] = field(default_factory=dict)
    """The API keys of the other providers."""
    shutdown: Shutdown = field(init=False)
    jobs: JobStore = field(init=False)

    def __post_init__(self) -> None:
        self.shutdown = Shutdown(self.clock)
        self.jobs = JobStore(self.settings.seed, Library(), self.changes.notify)
        self.injector.on_injected = self.changes.notify

    def limit_of(self, endpoint: str) -> RateLimit:
        """The rate limit that counts the requests to an endpoint of aitts."""
        if self.settings.rate_buckets == "account":
            self.limit.reset = self.settings.rate_reset
            return self.limit
        name = _BUCKETS.get(endpoint, "other")
        if name not in self.limits:
            self.limits[name] = RateLimit(self.limit.limit, self.limit.window, name, self.settings.rate_reset)
        return self.limits[name]

    @property
    def api_keys(self) -> dict[str, str]:
        """The API key of each provider."""
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
        self.shutdown.start()
        self.changes.notify()

    def count_request(self, endpoint: str, job_id: str = "", *, provider: str = "") -> None:
        """Count one request by `provider.endpoint`; for aitts and the storage also by `endpoint` alone."""
        if provider:
            self.requests[f"{provider}.{endpoint}"] += 1
        if provider in ("", AITTS):
            self.requests[endpoint] += 1
        if job_id:
            self.job_requests[endpoint, job_id] += 1
        self.changes.notify()

    def record_delivery(self, delivery: Delivery) -> None:
        """Record one attempt at a delivery."""
        self.deliveries.append(delivery)
        self.changes.notify()

    def new_secret(self) -> str:
        """Return the next signing secret of the seed."""
        self.account.secrets_created += 1
        name = f"{self.settings.seed}:secret:{self.account.secrets_created}"
        return f"whsec_{random.Random(name).randbytes(32).hex()}"

    def poll_url(self, job: Job) -> str:
        """Return the status address of an aitts job, in the form of `Settings.addresses`."""
        path = f"{job.root_path}/api/v1/tts/{job.id}"
        return path if self.settings.addresses == "relative" else self.base_url + path

    def audio_endpoint(self, job: Job) -> str:
        """Return the address of an aitts job's durable audio."""
        return f"{self.poll_url(job)}/audio"

    def signed_url(self, job: Job, expires: int) -> str:
        """Return a storage address of the job's audio that is valid until `expires` (unix seconds)."""
        return self._signed(job.object_name, expires)

    def temporary_urls(self, job: Job, *, at: str) -> list[str]:
        """Return storage addresses of all outputs, for a response of the endpoint `at`."""
        job.audio_urls_issued += 1
        expired = self.injector.trigger("expired_url", at=at, job_id=job.id, chance=job.audio_urls_issued == 1)
        seconds = -60.0 if expired else self.settings.temporary_url_seconds
        return [self._signed(name, int(self.now() + seconds)) for name in job.objects]

    def _signed(self, name: str, expires: int) -> str:
        signature = self.storage_signature(name, expires)
        return f"{self.storage_url}/audio/{name}?expires={expires}&signature={signature}"

    def storage_signature(self, name: str, expires: int) -> str:
        """Return the signature that the storage checks. Its form is ours."""
        key = f"storage:{self.settings.seed}".encode()
        return hmac.new(key, f"{name}\n{expires}".encode(), hashlib.sha256).hexdigest()
