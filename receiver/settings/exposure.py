"""Detects that other users of this machine can read or change the secrets in the configuration file.

This is a warning, not an error as for a file of signing secrets, because many configurations are mounted with a default
mode. There is no warning about the group: `root:receiver 0640` is the usual way to let a service read a file.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from receiver.errors import ConfigProblem
from receiver.settings.loading import config_file, read_toml

_SECRETS = frozenset(
    {"api_key", "signing_secrets", "tokens", "password", "password_hash", "secret", "secrets", "token"}
)
"""The receiver's own keys, and the usual names of handlers' options."""


def exposed_secrets(config: Path | None) -> list[ConfigProblem]:
    """Warnings about a configuration file that contains secrets and is open to every user of the machine.

    Args:
        config: as for `load`.

    Raises:
        ConfigError: its name is not a valid path.
    """
    file = config_file(config)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        if not mode & 0o006 or not _has_secrets(read_toml(file)):
            return []
    except (OSError, ValueError):  # it is missing or not valid: `load` reports that
        return []
    can = "read and changed" if mode & 0o006 == 0o006 else "read" if mode & 0o004 else "changed"
    what = f"contains secrets and can be {can} by every user of this machine (mode {mode:04o}); `chmod o= {file}`"
    return [ConfigProblem(str(file), what)]


def _has_secrets(table: Mapping[str, Any]) -> bool:
    return any(
        bool(value) if name in _SECRETS else isinstance(value, Mapping) and _has_secrets(value)
        for name, value in table.items()
    )
