"""Signing secrets in a file of their own, as `webhook register` and `webhook rotate` write it: one a line."""

from __future__ import annotations

from pathlib import Path
from secrets import token_hex
from typing import Any

from receiver.errors import Problem
from receiver.model.secret_text import is_secret_line, secret_lines
from receiver.paths import setting_path
from receiver.settings.base import list_of_secrets
from receiver.settings.small_file import read_small_file

KEY = "signing_secrets_file"


class Unwritten(ValueError):
    """There is nothing in the file yet: it is not there, or empty."""


def with_secrets_files(
    given: dict[str, Any], base: Path, unwritten: dict[str, Path] | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """The configuration with the secrets of each source's file before those that it names itself.

    A source whose file cannot be used gets an unknown secret: so its other problems are reported as well, and
    nothing is accepted by it.

    Args:
        given: the configuration, not yet checked.
        base: the folder that relative paths start from.
        unwritten: collects, by source, files that are still empty, where that is no fault.
    """
    problems: list[Problem] = []
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
            if isinstance(path, str):  # otherwise the validation of the whole reports it
                secrets = read_secrets_file(setting_path(path, base))
        except ValueError as error:
            if unwritten is not None and isinstance(error, Unwritten):
                unwritten[name] = setting_path(path, base)
            else:
                problems.append(Problem(f"sources.{name}.{KEY}", str(error)))
        own = source.get("signing_secrets", [])
        try:
            named = list_of_secrets("secret")(own)
        except ValueError:
            continue  # the check of the whole finds it again, with its place
        if isinstance(named, list | tuple):
            read[name] = source | {"signing_secrets": [*secrets, *named]}
    return given | {"sources": read}, problems


def read_secrets_file(path: Path) -> list[str]:
    """The secrets in a file, in its order; blank lines and those that begin with `#` are passed over.

    Raises:
        Unwritten: it is not there, or has no secret.
        ValueError: it cannot be read, a line cannot be a secret, or it is open to others than its owner; says what to
            do.
    """
    try:
        text, mode = read_small_file(path)
    except FileNotFoundError:
        raise Unwritten(f"{path} is not there; `tts-receiver webhook register` writes it") from None
    if not any(is_secret_line(line) for line in text.split("\n")):
        raise Unwritten(f"{path} is empty; it has one secret a line, the newest first")
    if mode & 0o077:
        raise ValueError(
            f"{path} is open to others (mode {mode:04o}); `chmod 600 {path}`, and think about "
            "new secrets if others have an account here"
        )
    try:
        return secret_lines(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
