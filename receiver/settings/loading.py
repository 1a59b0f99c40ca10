"""Loads the configuration from file, environment and secrets directory, and reports all problems at once."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from receiver.errors import ConfigError, ConfigProblem
from receiver.paths import setting_path
from receiver.providers.registry import name_conflicts
from receiver.settings.base import suggestion
from receiver.settings.option_texts import with_option_texts
from receiver.settings.origins import Origins
from receiver.settings.problems import is_consequence, problem_of, without_keys
from receiver.settings.secrets_dir import SecretsDirectory, read_secrets_dir
from receiver.settings.secrets_file import with_secrets_files
from receiver.settings.storage_keys import storage_problems
from receiver.settings.tables import ENV_PREFIX, TABLES, Settings

CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
SECRETS_VARIABLE = f"{ENV_PREFIX}SECRETS_DIR"
DEFAULT_CONFIG = "receiver.toml"
DEFAULT_SECRETS = "/run/secrets"
_INIT_HINT = "`tts-receiver init` writes one"


def load(config: Path | None = None) -> Settings:
    """Read the configuration.

    Args:
        config: the TOML file; by default that of `TTS_RECEIVER_CONFIG`, else `receiver.toml` in the current folder, if
            it exists.

    Raises:
        ConfigError: with every problem at once.
    """
    settings, problems = load_partial(config)
    if problems:
        raise ConfigError(problems)
    return settings


def load_awaiting_secrets(config: Path | None = None) -> tuple[Settings, dict[str, Path]]:
    """Like `load`, but a source's `signing_secrets_file` may be missing or empty.

    This is only for the commands that obtain secrets: a provider returns the first secret when a webhook is registered,
    and the receiver does not start without the file.

    Returns:
        The configuration, in which such a source has a random secret, and the files to write, by source.

    Raises:
        ConfigError: with every problem at once.
    """
    unwritten: dict[str, Path] = {}
    settings, problems = _read(config, unwritten)
    if problems:
        raise ConfigError(problems)
    return settings, unwritten


def load_partial(config: Path | None = None) -> tuple[Settings, list[ConfigProblem]]:
    """Like `load`, but without the keys that are not valid, so that the rest can be checked as well.

    Returns:
        The valid part of the configuration, and all problems.

    Raises:
        ConfigError: the file cannot be read at all.
    """
    return _read(config, None)


def config_file(config: Path | None) -> Path:
    """The file of the configuration; it may not exist.

    Raises:
        ConfigError: its name is not a valid path.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    if config is None and named:
        return _path(CONFIG_VARIABLE, named)
    return _path("--config", str(config or DEFAULT_CONFIG))


def _read(config: Path | None, unwritten: dict[str, Path] | None) -> tuple[Settings, list[ConfigProblem]]:
    file = config_file(config)
    named = config is not None or bool(os.environ.get(CONFIG_VARIABLE))
    document = _read_toml(file) if named or _exists(file) else {}
    problems = [
        ConfigProblem(key, f"is not a table of the configuration{suggestion(key, TABLES)}")
        for key in document
        if key not in TABLES
    ]
    problems += _unknown_variables()
    texts, unreadable = _secret_files()
    problems += unreadable
    origins = _origins(texts)
    given: dict[str, Any] = {key: value for key, value in document.items() if key in TABLES}
    try:
        for values in (
            with_option_texts(SecretsDirectory(texts)(), texts),
            with_option_texts(EnvSettingsSource(Settings)(), os.environ, ENV_PREFIX),
        ):
            given = _merge(given, {key: value for key, value in values.items() if key in TABLES})
    except SettingsError as error:
        problems += _invalid_json_problems(error, origins)
    if not given.get("sources"):
        is_absent = not named and not _exists(file)
        hint = f" (there is no {DEFAULT_CONFIG} here; {_INIT_HINT})" if is_absent else ""
        problems.append(ConfigProblem("sources", f"there is no source; add a table such as [sources.aitts]{hint}"))
    problems += _taken_names(given.get("sources"))
    base = _folder_of(file)
    given, unread = with_secrets_files(given, base, unwritten)
    problems += unread
    while True:
        try:
            settings = Settings(**given, base=base)
            settings.remember(origins)
            return settings, origins.named(problems) + storage_problems(settings.audio.url)
        except ValidationError as error:
            errors = error.errors(include_url=False, include_input=False)
            reported = {problem.where for problem in problems}
            problems += [problem for item in errors if not is_consequence(problem := problem_of(item), reported)]
            usable = without_keys(given, [item["loc"] for item in errors])
            if usable == given:  # no key is left to remove
                raise ConfigError(origins.named(problems)) from None
            given = usable


def read_toml(file: Path) -> dict[str, Any]:
    """The TOML document of a file, which may begin with a byte order mark.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not TOML, or not UTF-8; the message has the line.
    """
    content = file.read_bytes()
    try:
        return tomllib.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not text in UTF-8; save the file in that encoding") from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return read_toml(file)
    except FileNotFoundError:
        what = f"does not exist; {_INIT_HINT}"
    except ValueError as error:
        what = f"is not TOML: {error}"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    raise ConfigError([ConfigProblem(str(file), what)])


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # its folder cannot be entered: reading the file reports that
        return True


def _folder_of(file: Path) -> Path:
    try:
        return file.parent.resolve()
    except OSError as error:  # a relative name, and the current folder was removed
        raise ConfigError(
            [ConfigProblem(str(file), f"the current folder no longer exists: {error.strerror}")]
        ) from None


def _path(where: str, text: str) -> Path:
    try:
        return setting_path(text, Path())
    except ValueError as error:
        raise ConfigError([ConfigProblem(where, str(error))]) from None


def _secret_files() -> tuple[dict[str, str], list[ConfigProblem]]:
    """The texts of the secrets directory, by key, and the problems with it."""
    named = os.environ.get(SECRETS_VARIABLE)
    folder = _path(SECRETS_VARIABLE, named) if named else Path(DEFAULT_SECRETS)
    try:
        return read_secrets_dir(folder)
    except (FileNotFoundError, NotADirectoryError):
        if not named:
            return {}, []
        raise ConfigError([ConfigProblem(SECRETS_VARIABLE, f"{folder} is not a folder")]) from None
    except OSError as error:
        what = (
            f"{folder} cannot be listed: {error.strerror}; the user that the receiver runs as must be able to read it"
        )
        if named:
            raise ConfigError([ConfigProblem(SECRETS_VARIABLE, what)]) from None
        name_another = f"{what}, or set {SECRETS_VARIABLE} to another folder"
        return {}, [ConfigProblem("secrets directory", name_another)]


def _origins(texts: Mapping[str, str]) -> Origins:
    variables = {
        name.removeprefix(ENV_PREFIX): text for name, text in os.environ.items() if name.startswith(ENV_PREFIX)
    }
    return Origins(texts, variables, ENV_PREFIX)


def _invalid_json_problems(error: SettingsError, origins: Origins) -> list[ConfigProblem]:
    """The problems of a table or list in a variable or in the secrets directory that is not JSON."""
    field = re.search(r'field "(\w+)"', str(error))
    key = field[1] if field else "environment or secrets directory"
    hint = (
        "must be a JSON object or list in the environment or the secrets directory; or set single keys, as in "
        "SERVER__PORT"
    )
    return [ConfigProblem(where, hint) for where in origins.broken_json(key) or [key]]


def _unknown_variables() -> list[ConfigProblem]:
    """Variables with our prefix that name no table: a typing error must not be ignored."""
    known = [f"{ENV_PREFIX}{table.upper()}__" for table in TABLES]
    return [
        ConfigProblem(variable, f"sets nothing{suggestion(variable, known)}")
        for variable in sorted(os.environ)
        if variable.startswith(ENV_PREFIX)
        and variable not in (CONFIG_VARIABLE, SECRETS_VARIABLE)
        and not variable.startswith(tuple(known))
    ]


def _taken_names(sources: Any) -> list[ConfigProblem]:
    """Sources whose provider name is also that of an installed package: it is unknown which one is meant."""
    tables = sources if isinstance(sources, dict) else {}
    named = {name: table.get("provider") for name, table in tables.items() if isinstance(table, dict)}
    taken = name_conflicts() if named else {}
    return [
        ConfigProblem(f"sources.{name}.provider", taken[word])
        for name, word in named.items()
        if isinstance(word, str) and word in taken
    ]


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged
