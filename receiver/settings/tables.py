"""The tables of the configuration, and the configuration as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from receiver.errors import ConfigProblem, NotFound
from receiver.model.metadata import MAX_INDEXED_KEYS, key_problem
from receiver.settings.api import Api
from receiver.settings.base import Name, Port, Table, suggestion
from receiver.settings.origins import Origins
from receiver.settings.proxies import RootPath, TrustedProxy, check_root_path
from receiver.settings.source import Source
from receiver.settings.storage_keys import address_secrets, storage_secrets
from receiver.settings.tls import HandlerTls
from receiver.settings.users import ConsoleUser, check_user_names

ENV_PREFIX = "TTS_RECEIVER_"
TRACE_ID = "{trace_id}"
"""In `console.trace_url`."""
_URL = re.compile(r"[!#-;=?-~]+")
"""Printable ASCII without white space, quotation marks and angle brackets."""


def _metadata_key(key: str) -> str:
    problem = key_problem(key)
    if problem is not None:
        raise ValueError(problem)
    return key


def _each_once(keys: tuple[str, ...]) -> tuple[str, ...]:
    for key in keys:
        if keys.count(key) > 1:
            raise ValueError(f"has {key!r} twice")
    return keys


MetadataKey = Annotated[str, AfterValidator(_metadata_key)]


class Server(Table):
    """Where the receiver listens, and limits for senders. With port 0 the system chooses the port.

    `head_seconds` and `body_seconds` limit the time for the head and for the body of a request, `idle_seconds` how long
    a connection is kept without a request; `max_connections` limits the public listener; `max_waiting` limits the
    deliveries that are not yet committed. The log takes a client's address from `trusted_proxies`. `root_path` is the
    prefix under which a proxy serves both listeners, whether it keeps the prefix or strips it.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    private_host: str = "127.0.0.1"
    private_port: Port = 8081
    max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1_048_576
    head_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    body_seconds: Annotated[float, Field(gt=0, le=300)] = 10.0
    idle_seconds: Annotated[float, Field(gt=0, le=3600)] = 130.0
    """Longer than proxies keep a connection to us (60 s at most by default): the proxy must close first."""
    drain_seconds: Annotated[float, Field(ge=0, le=300)] = 0.0
    """How long the public listener accepts after a signal to stop: a load balancer has to notice `/readyz`."""
    max_connections: Annotated[int, Field(ge=1, le=100_000)] = 2000
    max_waiting: Annotated[int, Field(ge=1)] = 2000
    trusted_proxies: tuple[TrustedProxy, ...] = ()
    root_path: RootPath = ""


class Store(Table):
    """Where events are stored. Finished events are deleted after `retention_days`, events in quarantine after
    `quarantine_days`, open ones never; entries of the audit log after `audit_days`. A source has at most
    `max_quarantined` events in quarantine.
    """

    url: Annotated[str, Field(repr=False)] = "sqlite:///data/receiver.db"
    """A file, or a database that may have a password in its address: `postgresql://user:password@host/database`."""
    pooled: bool = False
    """A pooler such as PgBouncer gives each transaction another session of PostgreSQL."""
    retention_days: Annotated[float, Field(ge=2)] = 30
    """At least 2: providers retry a delivery for up to 38 hours, and a deleted event would be stored as a new one."""
    quarantine_days: Annotated[float, Field(ge=1)] = 30
    audit_days: Annotated[float, Field(ge=1)] = 400
    """Of a year the same month of the last year, too."""
    max_quarantined: Annotated[int, Field(ge=1)] = 1000


class Audio(Table):
    """Where audio is stored: a folder, or the address of an object store (`s3://bucket/prefix`, `gs://…`, `az://…`).

    `min_bytes_per_second`: a slower download is interrupted and resumed later.
    """

    url: str = "data/audio"
    max_bytes: Annotated[int, Field(ge=1)] = 1_073_741_824
    min_bytes_per_second: Annotated[int, Field(ge=1)] = 1024


class Dispatch(Table):
    """How handlers are run.

    `lease_seconds`: how long a process holds a run unless it extends the lease; `grace_seconds`: how long running
    handlers may continue after SIGTERM.
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


class Search(Table):
    """By which keys of the submitted `metadata` lists find events and jobs."""

    metadata: Annotated[tuple[MetadataKey, ...], Field(max_length=MAX_INDEXED_KEYS), AfterValidator(_each_once)] = ()


def _trace_template(value: str) -> str:
    filled = value.replace(TRACE_ID, "0" * 32)
    if TRACE_ID not in value or "{" in filled or "}" in filled:
        raise ValueError(f"must have {TRACE_ID} where the trace's id belongs, and no other braces")
    parts = urlsplit(filled)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or not _URL.fullmatch(filled):
        raise ValueError("must be an absolute http(s) address without credentials")
    return value


class Console(Table):
    """The operator's console, at `/console` on the private listener.

    `trace_url`: where the tracing system shows a trace, with `{trace_id}` in it; attempts then pass a trace on.
    """

    enabled: bool = True
    trace_url: Annotated[str, AfterValidator(_trace_template)] | None = None
    users: dict[Name, ConsoleUser] = {}  # noqa: RUF012 - pydantic copies it


class HandlerSettings(BaseModel):
    """One handler: limits that override the plugin's own, and the plugin's options.

    `allow_private_addresses`: let its `ctx.http` connect to private and loopback addresses. `where`: conditions that an
    event must meet, besides the handler's own; checked when the handler is loaded. `tls`: files for its `ctx.http`.
    """

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    use: str | None = None
    attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    timeout: Annotated[float, Field(gt=0)] | None = None
    concurrency: Annotated[int, Field(ge=1)] | None = None
    across: Literal["process", "cluster"] | None = None
    allow_private_addresses: bool = False
    where: dict[str, Any] | None = None
    tls: HandlerTls | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The handler's own options, before validation: all other keys of the table."""
        return dict(self.model_extra or {})


class Settings(BaseSettings):
    """The whole configuration, validated."""

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
    search: Search = Search()
    api: Api = Api()
    console: Console = Console()
    handlers: dict[Name, HandlerSettings] = {}
    sources: dict[Name, Source] = {}

    base: Annotated[Path, Field(exclude=True)] = Path()
    """The folder of relative paths: that of the configuration file."""

    _origins: Origins | None = PrivateAttr(None)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Use only the arguments: `load` merges the sources itself, and embedding code passes everything."""
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
        check_root_path(self.server.root_path, {name: path for path, name in taken.items()})
        return self

    @field_validator("console")
    @classmethod
    def _check_actors(cls, console: Console, known: ValidationInfo) -> Console:
        if "api" in known.data:
            check_user_names(console.users, {token.id for token in known.data["api"].tokens})
        return console

    @property
    def has_credentials(self) -> bool:
        """Whether the private listener requires a token or a login."""
        return bool(self.api.tokens or self.console.users)

    def remember(self, origins: Origins) -> None:
        """Keep where the values come from, for the problems that are found when the handlers are loaded."""
        self._origins = origins

    def with_origins(self, problems: Iterable[ConfigProblem]) -> list[ConfigProblem]:
        """The problems, with the variable or file that a faulty value comes from, if it is not the configuration's."""
        return list(problems) if self._origins is None else self._origins.named(problems)

    def source(self, name: str) -> Source:
        """The source with this name.

        Raises:
            NotFound: there is no such source; the message has the nearest name.
        """
        if name not in self.sources:
            raise NotFound(f"There is no source {name!r}{suggestion(name, self.sources)}")
        return self.sources[name]

    def webhook_path(self, source: str) -> str:
        """The path of the source's webhooks."""
        return self.sources[source].path or f"/webhooks/{source}"

    def secrets(self) -> Iterator[str]:
        """All secrets, for redaction."""
        return (secret for _, secret in self.secrets_by_key())

    def secrets_by_key(self) -> Iterator[tuple[str, str]]:
        """All secrets, each after the key or the variable that has it."""
        for name, source in self.sources.items():
            if source.api_key is not None:
                yield f"sources.{name}.api_key", source.api_key.get_secret_value()
            for entry in source.signing_secrets:
                yield f"sources.{name}.signing_secrets", entry.secret.get_secret_value()
        for token in self.api.tokens:
            yield "api.tokens", token.token.get_secret_value()
        for name, user in self.console.users.items():
            yield f"console.users.{name}.password_hash", user.password_hash.get_secret_value()
        yield from storage_secrets()
        for password in address_secrets(self.store.url):
            yield "store.url", password


TABLES = tuple(name for name in Settings.model_fields if name != "base")
