"""Files of signing secrets, one per line, as `webhook register` and `webhook rotate` write them."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Any

from receiver.errors import ConfigProblem
from receiver.model.secret_text import is_secret_line, secret_lines
from receiver.paths import setting_path
from receiver.settings.base import list_of_secrets
from receiver.settings.small_file import read_small_file

KEY = "signing_secrets_file"


class SecretsFileEmpty(ValueError):
    """The file does not exist or has no secret."""


def with_secrets_files(
    given: dict[str, Any], base: Path, unwritten: dict[str, Path] | None = None
) -> tuple[dict[str, Any], list[ConfigProblem]]:
    """The configuration, with the secrets of each source's file before its own.

    A source whose file cannot be used gets a random secret, so that its other problems are reported as well, and it
    accepts no delivery.

    Args:
        given: the configuration before validation.
        base: the folder of relative paths.
        unwritten: collects missing and empty files, by source; None if they are problems.
    """
    problems: list[ConfigProblem] = []
    sources = given.get("sources")
    if not isinstance(sources, dict):
        return given, problems
    read: dict[str, Any] = {}
    for name, source in sources.items():
        read[name] = source
        path = source.get(KEY) if isinstance(source, dict) else None
        if path is None:
            continue
        secrets = [token_hex(32)]
        try:
            if isinstance(path, str):  # the validation reports other types
                secrets = read_secrets_file(setting_path(path, base))
        except ValueError as error:
            if unwritten is not None and isinstance(error, SecretsFileEmpty):
                unwritten[name] = setting_path(path, base)
            else:
                problems.append(ConfigProblem(f"sources.{name}.{KEY}", str(error)))
        own = source.get("signing_secrets", [])
        try:
            named = list_of_secrets("secret")(own)
        except ValueError:
            continue  # the validation reports it with its key
        if isinstance(named, list | tuple):
            read[name] = source | {"signing_secrets": [*secrets, *named]}
    return given | {"sources": read}, problems


def read_secrets_file(path: Path) -> list[str]:
    """The secrets in a file, in its order; blank lines and lines that begin with `#` are ignored.

    Raises:
        SecretsFileEmpty: it does not exist, or has no secret.
        ValueError: it cannot be read, a line cannot be a secret, or other users than the owner can open it; the message
            says what to do.
    """
    try:
        text, mode = read_small_file(path)
    except FileNotFoundError:
        raise SecretsFileEmpty(f"{path} does not exist; `tts-receiver webhook register` writes it") from None
    if not any(is_secret_line(line) for line in text.split("\n")):
        raise SecretsFileEmpty(f"{path} is empty; it needs one secret per line, the newest first")
    if mode & 0o077:
        raise ValueError(
            f"{path} is open to other users (mode {mode:04o}); `chmod 600 {path}`, and consider "
            "new secrets if others have an account on this machine"
        )
    try:
        return secret_lines(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
