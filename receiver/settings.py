"""The configuration: TOML file, environment, secrets directory; read once, checked whole.

Every key of the file can be overridden by `TTS_RECEIVER_<TABLE>__<KEY>`; a file of that name's lower-case rest in the
secrets directory (`sources__aitts__api_key`) gives a secret without an environment variable. The environment wins
over the secrets directory, which wins over the file. Unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings.exceptions import SettingsError

from receiver.errors import ConfigError, Problem
from receiver.model.cadence import Cadence
from receiver.model.signature import SCHEMES, Key
from receiver.providers import PROVIDERS
from receiver.providers.base import Provider, origin_of
from receiver.providers.wire import Account, ProviderError

ENV_PREFIX = "TTS_RECEIVER_"
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
SECRETS_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
DEFAULT_CONFIG = "receiver.toml"
DEFAULT_SECRETS = "/run/secrets"
WEBHOOK_SECONDS = 120.0
"""How long a watched job's webhook is waited for before the job is polled."""
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


def _name(value: str) -> str:
    if not NAME.match(value) or len(value) > 63:
        raise ValueError("must be lower-case letters, digits and single underscores, starting with a letter")
    return value


Name = Annotated[str, AfterValidator(_name)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Table(BaseModel):
    """A table of the configuration: frozen, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Server(Table):
    """Where the receiver listens. Ports of 0 let the system choose.

    `body_seconds` bounds how long a sender may take for a body; `max_waiting` is the bound of the intake queue, in
    deliveries not yet committed.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    private_host: str = "127.0.0.1"
    private_port: Port = 8081
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1_048_576
    body_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    max_waiting: Annotated[int, Field(ge=1)] = 2000


class Store(Table):
    """Where events are kept. Finished events are pruned after `retention_days`; open ones never."""

    url: str = "sqlite:///data/receiver.db"
    retention_days: Annotated[float, Field(ge=2)] = 30
    """At least 2: a provider retries a delivery for up to 38 hours, and a pruned event would be taken for a new one."""


class Audio(Table):
    """Where audio goes: a folder, or an object store's address (`s3://bucket/prefix`, `gs://…`, `az://…`)."""

    url: str = "data/audio"
    max_bytes: Annotated[int, Field(ge=1)] = 1_073_741_824


class Dispatch(Table):
    """How handlers are run.

    `lease_seconds`: how long after a process died its runs are taken up again; `grace_seconds`: how long running
    handlers may go on after SIGTERM.
    """

    concurrency: Annotated[int, Field(ge=1, le=10_000)] = 16
    lease_seconds: Annotated[float, Field(ge=0.5)] = 30
    grace_seconds: Annotated[float, Field(ge=0)] = 20


class Plugins(Table):
    """`directory`: every handler in its `*.py` files is active."""

    directory: str | None = None


class Logs(Table):
    """`format`: `auto` is colours on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class HandlerSettings(BaseModel):
    """One handler: bounds that override the plugin's own, and the plugin's options beside them."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    use: str | None = None
    attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The keys that are not ours: the handler's own options, not yet checked."""
        return dict(self.model_extra or {})


class SigningSecret(Table):
    """One signing secret. `id` names it in rows and logs; without one it is named by a hash of the secret."""

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")] | None = None
    secret: SecretStr
    not_before: datetime | None = None
    not_after: datetime | None = None


def _secret_list(value: Any) -> Any:
    """Accept JSON or a lone string (one secret a line, as a secrets file has it), and plain strings in the list."""
    if isinstance(value, str):
        if value.lstrip().startswith("["):
            try:
                return _secret_list(json.loads(value))
            except ValueError:
                raise ValueError("looks like JSON, but is not") from None
        value = [line.strip() for line in value.splitlines() if line.strip()]
    if isinstance(value, list):
        return [{"secret": item} if isinstance(item, str) else item for item in value]
    return value


class Poll(Table):
    """How a source's jobs are polled. Seconds; what is not given is the provider's own.

    `first_seconds`: from watching a job to its first poll; where the provider announces ends itself, how long its
    webhook is waited for. `deadline_seconds`: then a job is given up; handlers get `job.failed` with `POLL_TIMEOUT`.
    """

    first_seconds: Annotated[float, Field(ge=0)] | None = None
    min_seconds: Annotated[float, Field(gt=0)] | None = None
    max_seconds: Annotated[float, Field(gt=0)] = 60
    deadline_seconds: Annotated[float, Field(gt=0)] = 86_400
    requests_per_second: Annotated[float, Field(gt=0, le=1000)] = 1.0


class Source(Table):
    """One account at a provider."""

    provider: str
    base_url: str | None = None
    api_key: SecretStr | None = None
    signing_secrets: Annotated[tuple[SigningSecret, ...], NoDecode, BeforeValidator(_secret_list)] = ()
    tolerance_seconds: Annotated[float, Field(gt=0, le=86_400)] = 300
    stale: Literal["quarantine", "reject"] = "quarantine"
    path: Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]*$")] | None = None
    allow_private_addresses: bool = False
    api_version: str | None = None
    poll: Poll = Poll()

    @model_validator(mode="after")
    def _check(self) -> Source:
        if self.provider not in PROVIDERS:
            raise ValueError(f"provider: there is no provider {self.provider!r}{nearest(self.provider, PROVIDERS)}")
        address = origin_of(self.origin)
        if address is None:
            raise ValueError("base_url: must be an absolute http(s) address without credentials")
        if address[0] != "https" and not self.allow_private_addresses:
            raise ValueError("base_url: must be https, or allow_private_addresses = true for a service on your network")
        if self.spoken.scheme is None and self.api_key is None:
            raise ValueError("api_key: is missing; this provider sends no webhooks, and cannot be asked without a key")
        try:
            self.spoken.status_request(self.account, "any")
        except ProviderError as error:
            raise ValueError(f"api_version: {error}") from None
        self.signing_keys()
        return self

    @property
    def spoken(self) -> Provider:
        """The provider module that speaks this source's language."""
        return PROVIDERS[self.provider]

    @property
    def account(self) -> Account:
        """The account, as the provider module wants it."""
        return Account(self.origin, self.api_key.get_secret_value() if self.api_key else None, self.api_version)

    @property
    def cadence(self) -> Cadence:
        """How often its jobs are polled: as configured, never more often than the provider allows."""
        able = self.spoken.capabilities
        first = self.poll.first_seconds
        least = max(self.poll.min_seconds or 0.0, able.min_poll_seconds)
        return Cadence(
            first_seconds=(WEBHOOK_SECONDS if able.webhooks else 0.0) if first is None else first,
            min_seconds=least,
            max_seconds=max(self.poll.max_seconds, least),
            deadline_seconds=self.poll.deadline_seconds,
        )

    @property
    def origin(self) -> str:
        """The service's base address."""
        return (self.base_url or PROVIDERS[self.provider].base_url).rstrip("/")

    def signing_keys(self) -> tuple[Key, ...]:
        """The signing secrets, ready to use.

        Raises:
            ValueError: there is none, or one cannot be used; says which, and never shows it.
        """
        scheme = SCHEMES[self.spoken.scheme] if self.spoken.scheme else None
        if scheme is None:
            return ()
        if not self.signing_secrets:
            raise ValueError("signing_secrets: is missing; a webhook source without a secret does not start")
        keys = []
        for index, entry in enumerate(self.signing_secrets):
            text = entry.secret.get_secret_value()
            try:
                key = scheme.parse_secret(entry.id or _key_id(text), text)
            except ValueError as error:
                raise ValueError(f"signing_secrets[{index}]: {error}") from None
            keys.append(Key(key.id, key.secret, key.public, _seconds(entry.not_before), _seconds(entry.not_after)))
        if len({key.id for key in keys}) < len(keys):
            raise ValueError("signing_secrets: two of them have the same id")
        return tuple(keys)


def _key_id(secret: str) -> str:
    """A short name for a secret that has none. 32 bits of a hash: enough to tell keys apart, too little to guess by."""
    return "key-" + hashlib.sha256(b"tts-receiver key id\0" + secret.encode()).hexdigest()[:8]


def _seconds(at: datetime | None) -> float | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


class Settings(BaseSettings):
    """The whole configuration, checked."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    server: Server = Server()
    store: Store = Store()
    audio: Audio = Audio()
    dispatch: Dispatch = Dispatch()
    plugins: Plugins = Plugins()
    logs: Logs = Logs()
    handlers: dict[Name, HandlerSettings] = {}
    sources: dict[Name, Source] = {}

    base: Annotated[Path, Field(exclude=True)] = Path()
    """The folder that relative paths start from: the configuration file's."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed in wins: `load` puts the sources in order; code that embeds us passes everything."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_paths(self) -> Settings:
        taken: dict[str, str] = {}
        for name in self.sources:
            path = self.webhook_path(name)
            if path in ("/livez", "/readyz"):
                raise ValueError(f"sources.{name}.path: {path} is the receiver's own")
            if path in taken:
                raise ValueError(f"sources.{name}.path: {path} is also the path of source {taken[path]}")
            taken[path] = name
        return self

    def webhook_path(self, source: str) -> str:
        """Where the source's deliveries come in."""
        return self.sources[source].path or f"/webhooks/{source}"

    def secrets(self) -> Iterator[str]:
        """Every secret text, for the redaction of what is written down."""
        for source in self.sources.values():
            if source.api_key is not None:
                yield source.api_key.get_secret_value()
            for entry in source.signing_secrets:
                yield entry.secret.get_secret_value()


def nearest(word: str, known: Any) -> str:
    """`; did you mean …?` for a word that is not known, or the list of what there is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is: {', '.join(sorted(known))}" if known else ""


def load(config: Path | None = None) -> Settings:
    """Read the configuration.

    Args:
        config: the TOML file; without one `TTS_RECEIVER_CONFIG`, else `receiver.toml` here if it is there.

    Raises:
        ConfigError: with every problem at once.
    """
    settings, problems = salvage(config)
    if problems:
        raise ConfigError(problems)
    return settings


def salvage(config: Path | None = None) -> tuple[Settings, list[Problem]]:
    """Like `load`, but leaves out what is wrong and goes on: the rest can then be checked as well.

    Returns:
        What could be read, and every problem.

    Raises:
        ConfigError: the file cannot be read at all.
    """
    named = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    file = named or Path(DEFAULT_CONFIG)
    document = _read_toml(file) if named or file.exists() else {}
    problems = [
        Problem(key, f"is not a table of the configuration{nearest(key, TABLES)}")
        for key in document
        if key not in TABLES
    ]
    problems += _unknown_variables()
    given: dict[str, Any] = {key: value for key, value in document.items() if key in TABLES}
    try:
        for outside in (_secret_files(), EnvSettingsSource(Settings)()):
            given = _merge(given, outside)
    except SettingsError as error:
        problems.append(Problem("environment or secrets directory", str(error)))
    if not given.get("sources"):
        problems.append(Problem("sources", "there is none; add a table such as [sources.aitts]"))
    while True:
        try:
            return Settings(**given, base=file.parent.resolve()), problems
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            told = {problem.where for problem in problems}  # what was left out is not also missing
            problems += [problem for item in errors if (problem := _problem(item)).where not in told]
            usable = _without(given, [item["loc"] for item in errors])
            if usable == given:  # nothing that could be left out
                raise ConfigError(problems) from None
            given = usable


def _without(given: dict[str, Any], places: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The configuration without the keys at these places; a whole table where the fault lies in what is missing."""
    given = copy.deepcopy(given)
    for place in places:
        table: Any = given
        *parents, last = place or ("sources",)
        for part in parents:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict) and last in table:
            del table[last]
        elif place:
            given.get(place[0], {}).pop(place[1], None) if len(place) > 1 else given.pop(place[0], None)
    return given


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = "is not there; `tts-receiver init` writes one"
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = f"is not TOML: {error}"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    raise ConfigError([Problem(str(file), what)])


def _secret_files() -> dict[str, Any]:
    named = os.environ.get(SECRETS_VARIABLE)
    if named and not Path(named).is_dir():
        raise ConfigError([Problem(SECRETS_VARIABLE, f"{named} is not a folder")])
    source = NestedSecretsSettingsSource(
        Settings,  # type: ignore[arg-type]  # documented to take the class as well
        secrets_dir=named or DEFAULT_SECRETS,
        secrets_dir_missing="ok",
        secrets_prefix="",
        secrets_nested_delimiter="__",
    )
    return source()


def _unknown_variables() -> list[Problem]:
    """Variables with our prefix that name no table: a typing error must not pass for a setting."""
    known = [f"{ENV_PREFIX}{table.upper()}__" for table in TABLES]
    return [
        Problem(variable, f"sets nothing{nearest(variable, known)}")
        for variable in sorted(os.environ)
        if variable.startswith(ENV_PREFIX)
        and variable not in (CONFIG_VARIABLE, SECRETS_VARIABLE)
        and not variable.startswith(tuple(known))
    ]


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _problem(item: Any) -> Problem:
    """One validation error in words: the key's place as it stands in the file, what is wrong, what to write instead."""
    place = [str(part) for part in item["loc"]]
    where = ".".join(place) or "configuration"
    if item["type"] == "extra_forbidden":
        return Problem(where, f"is not a known key{nearest(place[-1], _known_keys(place[:-1]))}")
    if item["type"] == "missing":
        return Problem(where, "is missing")
    message = str(item["msg"]).removeprefix("Value error, ")
    if not place and message.startswith("sources."):
        where, _, message = message.partition(": ")  # a check across sources names its key first
    if place and place[0] == "sources" and len(place) == 2 and ":" in message:
        key, _, message = message.partition(": ")  # a check of the whole source names its key first
        where = f"{where}.{key}"
    return Problem(where, message[:1].lower() + message[1:])


def _known_keys(place: list[str]) -> list[str]:
    model: Any = {"sources": Source, "handlers": HandlerSettings}.get(place[0]) if place else None
    if model is None and place:
        model = Settings.model_fields[place[0]].annotation
    elif model is Source and "signing_secrets" in place:
        model = SigningSecret
    elif model is Source and "poll" in place:
        model = Poll
    return list(model.model_fields) if model else list(TABLES)


TABLES = tuple(name for name in Settings.model_fields if name != "base")
