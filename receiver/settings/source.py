"""The table of a source: one account at a provider, how its deliveries are signed, how its jobs are polled."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator
from pydantic_settings import NoDecode

from receiver.errors import PluginError
from receiver.model.budget import Budget
from receiver.model.poll_schedule import PollSchedule
from receiver.model.scheme import Key, Scheme
from receiver.model.secret_text import MIN_SIGNING_SECRET_BYTES
from receiver.model.signature import SCHEMES
from receiver.providers import known_providers
from receiver.providers.api_path import check_api_path
from receiver.providers.base import origin_of
from receiver.providers.json_path import parse_path
from receiver.providers.protocols import (
    PollingProvider,
    Provider,
    StreamingProvider,
    SubmittingProvider,
    VersionedProvider,
    WebhookProvider,
)
from receiver.providers.registry import GENERIC
from receiver.providers.types import Account, VoiceList
from receiver.providers.voice_list import KeyedProvider
from receiver.settings.base import Secret, SecretId, Table, hashed_id, list_of_secrets, suggestion
from receiver.settings.generic import GenericTable, JsonPaths
from receiver.settings.signature import SignatureTable
from receiver.settings.spending import AmountTable, BudgetTable

NO_CHANNEL = "is missing, and so is a way to poll (api_key)"
"""The problem of a source that has neither signing secrets nor an API key."""
WEBHOOK_SECONDS = 120.0
"""How long to wait for a watched job's webhook before the job is polled."""
FIRST_POLL_SECONDS = 3.0
"""Time before a job's first poll if the provider has webhooks and this account receives none: such accounts
may make ten requests in 15 minutes, and a poll at once would waste one of them."""
OF_SIGNED_TIMES = ("stale", "tolerance_seconds")
"""Settings that apply to signatures with a time only."""
WEBHOOK_ONLY = ("path", *OF_SIGNED_TIMES)
"""Settings that apply to webhooks only."""


class SigningSecret(Table):
    """One signing secret. `id` is its name in rows and logs; without one, the name is a hash of the secret."""

    id: SecretId | None = None
    secret: Secret
    not_before: datetime | None = None
    not_after: datetime | None = None


MAX_WAIT_SECONDS = 366 * 86_400
"""A year: a time plus this must still be a valid date."""


class Poll(Table):
    """How a source's jobs are polled. Seconds; the defaults depend on the provider.

    `first_seconds`: from a submit to the job's first poll; for a source with webhooks, how long to wait for one.
    `deadline_seconds`: after this a job is given up, and handlers get `job.failed` with `POLL_TIMEOUT`.
    """

    first_seconds: Annotated[float, Field(ge=0, le=MAX_WAIT_SECONDS)] | None = None
    min_seconds: Annotated[float, Field(gt=0, le=MAX_WAIT_SECONDS)] | None = None
    max_seconds: Annotated[float, Field(gt=0, le=MAX_WAIT_SECONDS)] = 60
    deadline_seconds: Annotated[float, Field(gt=0, le=MAX_WAIT_SECONDS)] = 86_400
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] = 1.0


class Voices(Table):
    """Where the service lists its voices, if its provider does not know: a path, and its place in the response."""

    path: Annotated[str, AfterValidator(check_api_path)]
    list: JsonPaths = ()


class Source(Table):
    """One account at a provider.

    Without signing secrets it receives no webhooks and is polled, for which it needs an `api_key`.

    `load` reads `signing_secrets_file`, and puts its secrets before those of `signing_secrets`; for a source that is
    created in code, pass `signing_secrets`.
    """

    provider_name: Annotated[str, Field(alias="provider")]
    base_url: str | None = None
    api_key: Secret | None = None
    signing_secrets: Annotated[tuple[SigningSecret, ...], NoDecode, BeforeValidator(list_of_secrets("secret"))] = ()
    signing_secrets_file: str | None = None
    tolerance_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    stale: Literal["quarantine", "reject"] = "quarantine"
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$")] | None = None
    allow_private_addresses: bool = False
    api_version: str | None = None
    max_stream_characters: Annotated[int, Field(ge=1)] | None = None
    poll: Poll = Poll()
    signature: SignatureTable | None = None
    voices: Voices | None = None
    budget_table: Annotated[BudgetTable | None, Field(alias="budget")] = None
    balance: AmountTable | None = None
    estimate: AmountTable | None = None
    generic: GenericTable | None = None

    _provider: Provider = PrivateAttr()

    @model_validator(mode="after")
    def _check(self) -> Source:
        self._provider = self._find_provider()
        self._check_address()
        self._check_channels()
        self._check_streaming()
        self._check_status_request()
        self._check_paths()
        self.signing_keys()
        return self

    def _find_provider(self) -> Provider:
        if (self.provider_name == GENERIC) != (self.generic is not None):
            what = "is missing" if self.generic is None else f"is only for provider = {GENERIC!r}"
            raise ValueError(f"generic: {what}; it is the table that describes another service")
        if self.signature is not None and self.generic is None:
            raise ValueError(
                f"signature: is only for provider = {GENERIC!r}; the receiver knows how {self.provider_name} signs"
            )
        if self.generic is not None:
            if self.signature is None and self.generic.status_url is None:
                raise ValueError(
                    "signature: is missing, and generic.status_url as well: the end of a job could never be known. Add "
                    "the table of signed deliveries, or the address of a job's status"
                )
            try:
                return self.generic.provider((self.base_url or "").rstrip("/"), self.scheme)
            except ValueError as error:
                raise ValueError(f"generic.{error}") from None
        known = known_providers()
        try:
            return self._versioned(known[self.provider_name])
        except KeyError:
            there_is = suggestion(self.provider_name, [*known, GENERIC])
            raise ValueError(f"provider: there is no provider {self.provider_name!r}{there_is}") from None
        except PluginError as error:
            raise ValueError(f"provider: {error}") from None

    def _versioned(self, provider: Provider) -> Provider:
        """The provider of the account's `api_version`; providers without versions ignore it."""
        if self.api_version is None or not isinstance(provider, VersionedProvider):
            return provider
        if self.api_version not in provider.versions:
            known = ", ".join(provider.versions)
            raise ValueError(
                f"api_version: {self.provider_name} has no api_version {self.api_version!r}; there is: {known}"
            )
        return provider.versions[self.api_version]

    @property
    def _can_be_polled(self) -> bool:
        return isinstance(self._provider, PollingProvider)

    def _check_address(self) -> None:
        wants_key = self.generic is not None and self.generic.audio_needs_key
        if not self.origin and not self._can_be_polled and not wants_key:
            return  # it gets no requests
        if not self.origin:
            raise ValueError("base_url: is missing; it is the address of this service")
        address = origin_of(self.origin)
        if address is None:
            raise ValueError("base_url: must be an absolute http(s) address without credentials")
        if address[0] != "https" and not self.allow_private_addresses:
            raise ValueError("base_url: must be https, or allow_private_addresses = true for a service on your network")
        if wants_key and self.api_key is None:
            raise ValueError("api_key: is missing; generic.audio_needs_key fetches the audio with it")

    def _check_channels(self) -> None:
        """Check that the source has a way to learn of the ends of jobs: signed webhooks, polling, or both.

        A source without a signing secret receives no webhooks, because unsigned deliveries are never accepted.
        """
        if self.scheme is None and self.api_key is None:
            raise ValueError("api_key: is missing; this provider sends no webhooks, and cannot be polled without a key")
        if self.receives_webhooks:
            self._check_tolerance()
            return
        if self.signing_secrets_file is not None and not self.signing_secrets:
            raise ValueError(
                "signing_secrets_file: is read only by load(); pass signing_secrets to a source that is created in code"
            )
        if self.generic is not None and self.scheme is not None:
            raise ValueError(
                "signing_secrets: is missing; the table signature means that deliveries are signed, and without a "
                "secret none can be accepted. A source that is only polled has no such table"
            )
        if self.scheme is not None and not (self._can_be_polled and self.api_key is not None):
            raise ValueError(
                f"signing_secrets: {NO_CHANNEL}: no job's end would ever be known. "
                "An account with webhooks has a signing secret, one without has an API key and is polled"
            )
        why = "this source has no signing secret" if self.scheme is not None else "this provider sends none"
        given = [key for key in WEBHOOK_ONLY if key in self.model_fields_set]
        if len(given) == 1:
            raise ValueError(f"{given[0]}: is for webhooks only, and {why}; remove it")
        if given:
            others = " and ".join(given[1:])
            raise ValueError(f"{given[0]}: is for webhooks only, like {others}, and {why}; remove all of them")

    def _check_tolerance(self) -> None:
        """Check that a delivery can be too old if a setting says what happens then."""
        given = [key for key in OF_SIGNED_TIMES if key in self.model_fields_set]
        if given and self.scheme is not None and not self.scheme.spec.signs_time:
            raise ValueError(
                f"{given[0]}: has no effect, because the signature has no time: no delivery is too old; remove it"
            )

    def _check_streaming(self) -> None:
        if self.max_stream_characters is not None and not isinstance(self._provider, StreamingProvider):
            raise ValueError(f"max_stream_characters: {self.provider_name} does not stream audio; remove it")

    def _check_status_request(self) -> None:
        """Check that the provider can build a status request: the code of an installed package may be broken."""
        if not isinstance(self._provider, PollingProvider):
            return
        try:
            self._provider.status_request(self.account, "any")
        except Exception as error:  # noqa: BLE001 - the package's code may raise anything
            what = f"{type(error).__name__} when it is asked for a status request"
            raise ValueError(f"provider: {self.provider_name} is broken: {what}") from None

    def _check_paths(self) -> None:
        """Check that the API key can be sent where a path is configured, and that the service takes submits."""
        for name in ("voices", "balance", "estimate"):
            if getattr(self, name) is None:
                continue
            if self.api_key is None:
                raise ValueError(f"{name}: is requested with the API key, and api_key is missing")
            says_how = isinstance(self._provider, KeyedProvider)
            if not says_how:
                raise ValueError(f"{name}: {self.provider_name} does not say how its API key is sent")
        submits = isinstance(self._provider, SubmittingProvider)
        if self.estimate is not None and not submits:
            raise ValueError(f"estimate: {self.provider_name} does not synthesize speech")

    @property
    def voice_list(self) -> VoiceList | None:
        """Where the service lists its voices, if that is configured."""
        if self.voices is None:
            return None
        return VoiceList(self.voices.path, tuple(parse_path(text) for text in self.voices.list))

    @property
    def provider(self) -> Provider:
        """The provider named `provider_name`, for the account's `api_version`."""
        return self._provider

    @property
    def scheme(self) -> Scheme | None:
        """The scheme of its signatures; None if it sends no deliveries."""
        if self.generic is not None:
            return None if self.signature is None else self.signature.scheme
        return SCHEMES[self.provider.scheme] if isinstance(self.provider, WebhookProvider) else None

    @property
    def receives_webhooks(self) -> bool:
        """Whether deliveries are accepted: the provider signs them, and there is a secret to verify them."""
        return self.scheme is not None and bool(self.signing_secrets)

    @property
    def account(self) -> Account:
        """The account, as an argument for the provider."""
        return Account(self.origin, self.api_key.get_secret_value() if self.api_key else None)

    @property
    def budget(self) -> Budget | None:
        """What it may spend in a day (UTC); None for no limit."""
        table = self.budget_table
        return None if table is None else Budget(table.characters_per_day, table.credits_per_day)

    @property
    def schedule(self) -> PollSchedule:
        """When its jobs are polled: as configured, but not more often than the provider allows."""
        sends_webhooks = isinstance(self.provider, WebhookProvider)
        first = self.poll.first_seconds
        if first is None:
            first = WEBHOOK_SECONDS if self.receives_webhooks else FIRST_POLL_SECONDS if sends_webhooks else 0.0
        least = max(self.poll.min_seconds or 0.0, self.provider.capabilities.min_poll_seconds)
        return PollSchedule(
            first_seconds=first,
            min_seconds=least,
            max_seconds=max(self.poll.max_seconds, least),
            deadline_seconds=self.poll.deadline_seconds,
        )

    @property
    def origin(self) -> str:
        """The service's base address; empty for a generic source that gets no requests with a key."""
        return (self.base_url or self.provider.base_url).rstrip("/")

    def signing_keys(self) -> tuple[Key, ...]:
        """The parsed signing secrets; none for a source that receives no webhooks.

        Raises:
            ValueError: a secret cannot be used; the message names its index and does not show it.
        """
        scheme = self.scheme
        if scheme is None:
            return ()
        keys = []
        for index, entry in enumerate(self.signing_secrets):
            text = entry.secret.get_secret_value()
            try:
                key = scheme.parse_secret(entry.id or hashed_id("key", text), text)
                if len(key.secret) < MIN_SIGNING_SECRET_BYTES:
                    raise ValueError(f"is too short: a signing secret has at least {MIN_SIGNING_SECRET_BYTES} bytes")
            except ValueError as error:
                raise ValueError(f"signing_secrets[{index}]: {error}") from None
            keys.append(replace(key, not_before=_seconds(entry.not_before), not_after=_seconds(entry.not_after)))
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("signing_secrets: two of them have the same id")
        return tuple(keys)


def _seconds(at: datetime | None) -> float | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
