"""The file for a source's signing secrets, for the commands that obtain them."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from receiver.errors import ConfigError, ReceiverError
from receiver.paths import setting_path
from receiver.settings import Settings, Source
from receiver.settings.loading import config_file, load_awaiting_secrets
from receiver.settings.secrets_file import KEY


class NoSecretsFile(ReceiverError):
    """The source has no file for signing secrets; the message has the line to add."""


class PendingSecrets(NamedTuple):
    """A configuration in which one source's file for signing secrets may not exist yet.

    Attributes:
        path: of that file, absolute; None if the source has none.
        known: whether the source already has a signing secret.
    """

    settings: Settings
    source: Source
    path: Path | None
    known: bool


def load_pending_secrets(config: Path | None, name: str) -> PendingSecrets:
    """Load the configuration, with the file for the source's signing secrets.

    Raises:
        ConfigError: something else is wrong with the configuration.
        NoSecretsFile: the source has no secret, and no file for one.
        NotFound: there is no such source.
    """
    try:
        settings, unwritten = load_awaiting_secrets(config)
    except ConfigError as error:
        if f"sources.{name}.signing_secrets" in {problem.where for problem in error.problems}:
            raise no_secrets_file(config, name) from None
        raise
    source = settings.source(name)
    if name in unwritten:
        return PendingSecrets(settings, source, unwritten[name], known=len(source.signing_secrets) > 1)
    named = source.signing_secrets_file
    path = setting_path(named, settings.base) if named is not None else None
    return PendingSecrets(settings, source, path, known=bool(source.signing_secrets))


def no_secrets_file(config: Path | None, name: str) -> NoSecretsFile:
    """The error for a source without a file for its signing secrets."""
    return NoSecretsFile(
        f"Source {name} has no file for a signing secret, which is shown only once; no request was sent. "
        f'Add this line to [sources.{name}] in {config_file(config)}, and repeat the command: {KEY} = "{name}.secrets"'
    )
