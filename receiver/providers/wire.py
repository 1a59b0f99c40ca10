"""Requests to make and responses to read, as plain values: what a provider module deals in instead of a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from receiver.model.delivery import Headers, Parsed
from receiver.providers.refusals import (
    GenerationFailed,
    InProgress,
    Invalid,
    KeyReused,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownJob,
    refused_for_sure,
)

__all__ = [
    "HISTORY_PAGE",
    "Account",
    "Capabilities",
    "Ended",
    "GenerationFailed",
    "InProgress",
    "Invalid",
    "KeyReused",
    "OutOfCredits",
    "ProviderError",
    "RateLimited",
    "Refused",
    "Registered",
    "Request",
    "Response",
    "Running",
    "Speech",
    "Status",
    "Submitted",
    "Unauthorized",
    "Unavailable",
    "UnknownJob",
    "Voice",
    "VoiceQuery",
    "refused_for_sure",
]

HISTORY_PAGE = 100
"""How many jobs are asked for in one call for the history."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account at a provider: where, and with which key. The key is never shown.

    Attributes:
        base_url: without a slash at its end.
        api_version: for services with several, such as audixa's `v2` and `v3`; None for the provider's default.
    """

    base_url: str
    api_key: str | None = field(repr=False)
    api_version: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a provider. `headers` holds the credentials, which go to the account's own origin only."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. `headers` as the wire gave them: lower-case names, raw values, repeats kept."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first value of a header, as Latin-1 text."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for header, value in self.headers if header == wanted), None)


@dataclass(frozen=True, slots=True)
class Running:
    """A job that has not ended. `progress` is 0 to 100 where the provider says; `word` its own status word."""

    word: str
    progress: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, with the content of a delivery for it.

    Attributes:
        document: the service's data on this one job, where its answer covers others too; None where the whole
            answer is about it.
    """

    parsed: Parsed
    document: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


Status = Running | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What is to be spoken. What is None is left to the service.

    Attributes:
        voice: the service's own id of a voice.
        format: one of the formats that the capabilities name.
        sample_rate: hertz.
        speed: 1.0 is the voice's own.
        model: the service's own word for a model.
        metadata: JSON values; sent where the service gives them back with the end.
        webhook_url: where the end is announced, instead of at the account's own address.
    """

    text: str
    voice: str
    format: str | None = None
    sample_rate: int | None = None
    bitrate_kbps: int | None = None
    speed: float | None = None
    model: str | None = None
    metadata: Mapping[str, Any] | None = None
    webhook_url: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that a provider has taken on; a fast one may have ended already."""

    job_id: str
    status: Status


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice that a service offers. What is None it does not say.

    Attributes:
        id: what a submit wants as its `voice`.
        language: as the service writes it, such as `en-US`.
        details: whatever else the service says of it, JSON values.
    """

    id: str
    name: str | None = None
    language: str | None = None
    gender: str | None = None
    model: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceQuery:
    """A filter for voices, in the service's own words; None does not filter.

    Attributes:
        provider: whose voices, for a service that offers those of others.
    """

    language: str | None = None
    gender: str | None = None
    model: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A webhook address that the service took.

    Attributes:
        url: as the answer has it; empty where the answer does not repeat it.
        secret: the signing secret, which is shown once; None where it is not shown this time.
    """

    url: str
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do: drives behaviour, so that nothing asks for a provider's name.

    Attributes:
        webhooks: it announces the end of a job.
        polling: a job's status can be asked for.
        submit: it can be asked for a job; without it jobs are only watched.
        idempotent_submit: a submit can be repeated under the same key without being charged twice.
        formats: output formats that can be asked for; empty where the choice is not offered.
        options: which of a speech's optional fields it takes beside `format`.
        sample_rates: hertz that can be asked for, by format; the key `""` is for no format named. A format that is
            missing takes none; empty where nothing is known of it.
        bitrates: kbps, least and most, by format; likewise.
        models: the words for a model; empty where any word is sent as it is.
        voices: a list of voices can be asked for.
        known_voices: documented ids of voices where there is no list to ask for; there may be others.
        registers_webhooks: it can be told where to send its deliveries, and to send a test.
        several_outputs: a job can have more than one file.
        streaming: audio can be had while it is made.
        history: many jobs' statuses can be asked for in one call.
        min_poll_seconds: the provider's own limit between two polls of one job.
        id_lifetime_seconds: how long a job id can be asked about; None where it says nothing.
        versions: what an account can do under each `api_version` it may name, the default one first; empty where
            there is nothing to choose.
    """

    webhooks: bool = False
    polling: bool = True
    submit: bool = True
    idempotent_submit: bool = False
    formats: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    sample_rates: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    bitrates: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    models: tuple[str, ...] = ()
    voices: bool = False
    known_voices: tuple[str, ...] = ()
    registers_webhooks: bool = False
    several_outputs: bool = False
    streaming: bool = False
    history: bool = False
    min_poll_seconds: float = 1.0
    id_lifetime_seconds: float | None = None
    versions: Mapping[str, Capabilities] = field(default_factory=dict, hash=False)

    def of(self, account: Account) -> Capabilities:
        """What this account can do."""
        return self.versions.get(account.api_version, self) if account.api_version is not None else self
