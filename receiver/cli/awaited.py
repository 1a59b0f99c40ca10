"""Read a configuration whose file of signing secrets is still to be written.

A webhook source without a secret does not start, and its first secret is shown by the very call that `webhook register`
makes. So for the commands that bring secrets, and for no other, a file that the configuration names may be missing yet.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from receiver.cli.asking import one_source
from receiver.errors import ConfigError, ReceiverError
from receiver.settings import Settings, Source, load
from receiver.settings.loading import CONFIG_VARIABLE, DEFAULT_CONFIG
from receiver.settings.secrets_file import KEY
from receiver.settings.tables import ENV_PREFIX

_OF_A_FILE = re.compile(rf"sources\.(\w+)\.{KEY}")


class NoPlace(ReceiverError):
    """There is no file that a signing secret could be put into; the message says which line to add."""


class Awaiting(NamedTuple):
    """A configuration in which one source has a place for its signing secrets.

    Attributes:
        path: the file; absolute. It may not be there yet. None if the source names none.
        known: whether the source has a signing secret already.
    """

    settings: Settings
    source: Source
    path: Path | None
    known: bool


def load_awaiting(config: Path | None, name: str) -> Awaiting:
    """The configuration, with the place for the source's signing secrets.

    Raises:
        ConfigError: something else is wrong with the configuration.
        NoPlace: the source has no secret, and names no file for one.
        NotFound: there is no such source.
    """
    try:
        settings, awaited = load(config), {}
    except ConfigError as error:
        if f"sources.{name}.signing_secrets" in {problem.where for problem in error.problems}:
            raise no_place(config, name) from None
        awaited = _awaited(config, error)
        if not awaited:
            raise
        with ExitStack() as stack:
            for other in awaited:
                stack.enter_context(_stand_in(other))
            settings = load(config)
    source = one_source(settings, name)
    if name in awaited:
        return Awaiting(settings, source, awaited[name], known=len(source.signing_secrets) > 1)
    path = settings.base / source.signing_secrets_file if source.signing_secrets_file is not None else None
    return Awaiting(settings, source, path, known=bool(source.signing_secrets))


def _awaited(config: Path | None, error: ConfigError) -> dict[str, Path]:
    """The files that are not there yet, by source, if they are all that is wrong; else nothing.

    All of them, not only the one in question: of two new sources one must be the first.
    """
    found = {}
    for problem in error.problems:
        match = _OF_A_FILE.fullmatch(problem.where)
        path = _named(config, match[1]) if match else None
        if match is None or path is None or not _empty(path):
            return {}
        found[match[1]] = path
    return found


def config_file(config: Path | None) -> Path:
    """The file that the configuration is read from, as `load` chooses it."""
    return config or Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)


def no_place(config: Path | None, name: str) -> NoPlace:
    """The refusal to ask for a secret that there is no place for."""
    return NoPlace(
        f"The signing secret is shown once and source {name} has no file to put it into; nothing was asked. "
        f'Add this line to [sources.{name}] in {config_file(config)}, and say it again: {KEY} = "{name}.secrets"'
    )


def _variable(name: str) -> str:
    return f"{ENV_PREFIX}SOURCES__{name}__{KEY}".upper()


def _named(config: Path | None, name: str) -> Path | None:
    """Where the file would be; None if neither the environment nor the configuration's file says so."""
    file = config_file(config)
    given: Any = os.environ.get(_variable(name))
    if given is None:
        given = tomllib.loads(file.read_text("utf-8")) if file.exists() else {}
        for part in ("sources", name, KEY):
            given = given.get(part) if isinstance(given, Mapping) else None
    return file.parent.resolve() / given if isinstance(given, str) else None


def _empty(path: Path) -> bool:
    """Whether nothing is there yet; a file that was made to be filled is nothing, too."""
    try:
        return not os.path.lexists(path) or (path.is_file() and path.stat().st_size == 0)
    except OSError:
        return False


@contextmanager
def _stand_in(name: str) -> Iterator[None]:
    """Meanwhile the source's secret is one that nobody knows, in a file that is gone afterwards."""
    variable = _variable(name)
    before = os.environ.get(variable)
    with tempfile.NamedTemporaryFile("w") as file:  # of mode 0600
        file.write(secrets.token_hex(32))
        file.flush()
        os.environ[variable] = file.name
        try:
            yield
        finally:
            if before is None:
                del os.environ[variable]
            else:
                os.environ[variable] = before
