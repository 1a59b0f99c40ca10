"""Finds what `forward-test` plays: the target of a configured handler that uses `forward`, or a new one.

The handler's options are read as `serve` reads them, so that secrets from files and variables are the same.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from receiver.cli.secret_file import new_secret
from receiver.engine.plugins import BUILT_IN, ActiveHandler, load_registry
from receiver.errors import NotFound, ReceiverError
from receiver.model.scheme import Scheme
from receiver.model.signature import SCHEMES, STANDARD_WEBHOOKS
from receiver.settings import Settings, Source, suggestion
from receiver.settings.private import is_loopback

USE = "forward"
MODULE = "handlers.forward:forward"
"""Names the built-in handler also where a plugin is called `forward`."""
HOST = "127.0.0.1"
DEFAULT_PORT = 9000
PATH = "/speech-events"


class ForwardTestError(ReceiverError):
    """`forward-test` cannot be started."""

    reason = "forward_test"


@dataclass(frozen=True, slots=True)
class Target:
    """What to play.

    Attributes:
        handler: its name; for a new target, that of the table to add.
        private: whether the handler may connect to loopback addresses.
        is_new: whether the configuration has no such handler yet.
        source: of a new target: a source that `send` can sign for; None if there is none.
    """

    handler: str
    scheme: Scheme
    secrets: tuple[str, ...]
    url: SplitResult
    private: bool = True
    is_new: bool = False
    source: str | None = None

    @property
    def is_here(self) -> bool:
        """Whether a plain HTTP server on this machine can have its address."""
        return self.url.scheme == "http" and is_loopback(self.url.hostname)

    @property
    def host(self) -> str:
        """The loopback address to listen on."""
        name = self.url.hostname
        return name if self.is_here and name and not name.startswith("localhost") else HOST

    @property
    def port(self) -> int:
        """The port to listen on, unless another is named."""
        return (self.url.port or 80) if self.is_here else DEFAULT_PORT


def find_target(settings: Settings, name: str | None) -> Target:
    """The target of the handler of this name, or of the only one that uses `forward`; a new one if there is none.

    Raises:
        ConfigError: a handler cannot be loaded as configured.
        NotFound: there is no handler of this name.
        ForwardTestError: it does not use `forward`; or no name is given, and several do.
    """
    active = load_registry(settings).active
    found = [handler for handler in active if _uses_forward(active[handler])]
    if name is not None:
        if name not in active:
            raise NotFound(f"There is no handler {name!r}{suggestion(name, active)}")
        if name not in found:
            known = f"those that do: {', '.join(found)}" if found else "none does; without --handler a table is printed"
            raise ForwardTestError(f"The handler {name} does not use {USE} ({known}).")
        return _configured(name, active[name])
    if len(found) > 1:
        raise ForwardTestError(f"Several handlers use {USE}: name one with --handler, of {', '.join(found)}.")
    return _configured(found[0], active[found[0]]) if found else _new(active, settings)


def _uses_forward(active: ActiveHandler) -> bool:
    """Whether it is the built-in handler, by its file: a plugin may have the same name."""
    function: Any = active.handler.function
    return Path(function.__code__.co_filename).resolve() == BUILT_IN / f"{USE}.py"


def _configured(name: str, active: ActiveHandler) -> Target:
    options: Any = active.options
    return Target(
        name,
        SCHEMES[options.scheme],
        tuple(secret.get_secret_value() for secret in options.secrets),
        urlsplit(str(options.url)),
        active.allow_private_addresses,
    )


def table_lines(name: str, url: str, secret: str) -> list[str]:
    """The table of a handler that forwards to this machine."""
    return [
        f"[handlers.{name}]",
        *([] if name == USE else [f'use = "{MODULE}"']),
        f'url = "{url}"',
        f'secrets = ["{secret}"]',
        "allow_private_addresses = true  # the application is on this machine",
    ]


def _new(taken: Collection[str], settings: Settings) -> Target:
    name = USE if USE not in taken else f"{USE}_test"
    return Target(
        name,
        STANDARD_WEBHOOKS,
        (new_secret(),),
        urlsplit(f"http://{HOST}:{DEFAULT_PORT}{PATH}"),
        is_new=True,
        source=next((source for source, table in settings.sources.items() if _can_sign(table)), None),
    )


def _can_sign(source: Source) -> bool:
    """Whether `send` has a secret to sign with now."""
    now = time.time()
    return source.receives_webhooks and any(key.active(now) and not key.public for key in source.signing_keys())


def introduction(target: Target, url: str, config: Path) -> list[str]:
    """What to print first: where it listens, for which handler, and what to change in the configuration.

    Args:
        url: where it listens, without a path.
    """
    listening = f"Listening on {url}"
    if target.is_new:
        return [
            f"{listening}. No handler in {config} uses {USE}. Add this, then restart the receiver:",
            "",
            *table_lines(target.handler, url + PATH, target.secrets[0]),
            "",
            *([f"To forward a test event: tts-receiver send --source {target.source}"] if target.source else []),
            f"To forward a stored one: tts-receiver events replay EVENT --handler {target.handler}",
        ]
    table = f"[handlers.{target.handler}]"
    lines = [f"{listening} for {table} of {config}."]
    own = f"{target.url.scheme}://{target.url.netloc.rpartition('@')[2]}"
    if not target.is_here or (target.url.port or 80) != urlsplit(url).port:
        lines.append(f'Its url is at {own}: to forward to here, set url = "{url}{target.url.path or PATH}" in {table}.')
    if not target.private:
        lines.append(f"To forward to this machine, {table} needs allow_private_addresses = true.")
    return lines
