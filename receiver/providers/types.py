"""The values that a provider module takes and returns: requests, responses, jobs, voices. No client and no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from receiver.model.charge import NO_CHARGE, Charge
from receiver.model.delivery import Headers, Parsed
from receiver.providers.provider_errors import (
    GenerationFailed,
    InProgress,
    Invalid,
    KeyReused,
    ModuleFailed,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownJob,
    is_definite_refusal,
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
    "ModuleFailed",
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
    "StreamedJob",
    "Submitted",
    "Unauthorized",
    "Unavailable",
    "UnknownJob",
    "Voice",
    "VoiceList",
    "VoiceQuery",
    "is_definite_refusal",
]

HISTORY_PAGE = 100
"""Jobs in one page of the history."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account at a provider. Its `repr` does not contain the key.

    Attributes:
        base_url: without a slash at its end.
        api_key: None for an account without one.
    """

    base_url: str
    api_key: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Request:
    """One request to a provider. `headers` holds the credentials, which are sent to the account's own origin only."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """The response to a request. `headers` are as received: lower-case names, raw values, repeated ones kept."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the first value of a header, as Latin-1 text; None if there is none."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for header, value in self.headers if header == wanted), None)


@dataclass(frozen=True, slots=True)
class Running:
    """A job that has not ended.

    Attributes:
        word: the provider's own status word.
        progress: percent, 0 to 100; None if the provider does not report it.
    """

    word: str
    progress: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, with the content that a delivery about it would have.

    Attributes:
        document: the service's data on this one job, where the response covers other jobs too; None where the
            whole response is about it.
    """

    parsed: Parsed
    document: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)


Status = Running | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Speech to synthesize. Fields that are None are left to the service.

    Attributes:
        voice: the service's own id of a voice.
        format: one of the capabilities' formats.
        sample_rate: hertz.
        speed: a factor; 1.0 is the voice's normal speed.
        model: the service's own name of a model.
        metadata: JSON values; sent where the service returns them when the job ends.
        webhook_url: the address for the webhook about this job, instead of the account's.
        options: parameters of the service that are none of these fields, JSON values by name; sent as they are.
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
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that a provider has accepted; a fast one may have ended already.

    Attributes:
        charge: what the provider charges for it, if it says so now.
    """

    job_id: str
    status: Status
    charge: Charge = NO_CHARGE


@dataclass(frozen=True, slots=True)
class StreamedJob:
    """A job that a provider has accepted, whose audio can be read while it is made. Its `repr` has no secret.

    Attributes:
        url: the absolute address of the audio, which can be requested once. It is a secret: who has it has the
            audio. None if the response has no usable one; the job exists all the same.
        headers: credentials; only for an address at the account's own origin.
        format: the service's own word for the format of the stream; None if it does not say.
    """

    job_id: str
    url: str | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice that a service offers. Fields that are None are not stated.

    Attributes:
        id: the `voice` of a speech.
        language: as the service writes it, such as `en-US`.
        details: everything else that the service says about it, JSON values.
    """

    id: str
    name: str | None = None
    language: str | None = None
    gender: str | None = None
    model: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class VoiceList:
    """Where a service lists its voices, by configuration.

    Attributes:
        path: below the account's base URL.
        rows: paths of the list in the response; the first that leads to a list counts. Empty for the usual names.
    """

    path: str
    rows: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VoiceQuery:
    """A filter for voices, in the service's own terms; None does not filter.

    Attributes:
        provider: the vendor of the voices, for a service that resells others' voices.
    """

    language: str | None = None
    gender: str | None = None
    model: str | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True)
class Registered:
    """A webhook address that the service has registered.

    Attributes:
        url: as in the response; empty if the response does not repeat it.
        secret: the signing secret, which the service shows once; None if this response does not show it.
    """

    url: str
    secret: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Details of a provider's capabilities. The protocols that it implements say which it has.

    Attributes:
        idempotent_submit: a submit can be repeated under the same key without being charged twice.
        formats: output formats that a speech can ask for; empty where there is no choice.
        options: the optional fields of a speech, other than `format`, that the service accepts.
        sample_rates: accepted sample rates by format, hertz; the key `""` is for a speech without a format. A format
            that is missing accepts none; empty where the rates are not documented.
        bitrates: lowest and highest bitrate by format, kbps; missing and empty as in `sample_rates`.
        models: the service's names of models; empty where any name is sent as it is.
        known_voices: documented ids of voices of a service that does not list its voices; there may be others.
        several_outputs: a job can have more than one file.
        pass_through: the `options` of a speech are sent.
        min_poll_seconds: the service's own limit between two polls of one job, seconds.
    """

    idempotent_submit: bool = False
    formats: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    sample_rates: Mapping[str, tuple[int, ...]] = field(default_factory=dict, hash=False)
    bitrates: Mapping[str, tuple[int, int]] = field(default_factory=dict, hash=False)
    models: tuple[str, ...] = ()
    known_voices: tuple[str, ...] = ()
    several_outputs: bool = False
    pass_through: bool = False
    min_poll_seconds: float = 1.0

    def values(self) -> dict[str, Any]:
        """Return the attributes by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}
