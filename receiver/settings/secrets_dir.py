"""The secrets directory: one file for each key, named like the variable in lower case, as container runtimes do."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic_settings import EnvSettingsSource

from receiver.errors import ConfigProblem
from receiver.model.secret_text import without_last_newline
from receiver.settings.origins import DELIMITER, dotted
from receiver.settings.small_file import read_small_file
from receiver.settings.tables import TABLES, Settings


class SecretsDirectory(EnvSettingsSource):
    """A settings source that reads the texts of `read_secrets_dir` like environment variables."""

    def __init__(self, texts: Mapping[str, str] = {}) -> None:
        self._texts = texts
        super().__init__(
            Settings,
            case_sensitive=False,
            env_prefix="",
            env_nested_delimiter=DELIMITER,
            env_ignore_empty=False,  # an empty file is an error
        )

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._texts


def read_secrets_dir(folder: Path) -> tuple[dict[str, str], list[ConfigProblem]]:
    """The texts of the directory's files that are named like a key of the configuration, by that name in lower case.

    Other files are not opened. A final newline and a byte order mark are removed.

    Returns:
        The texts, and a problem for each file that cannot be read.

    Raises:
        OSError: the directory cannot be listed.
    """
    texts: dict[str, str] = {}
    problems: list[ConfigProblem] = []
    for file in sorted(folder.iterdir()):
        name = file.name.lower()
        if name.split(DELIMITER)[0] not in TABLES:
            continue
        try:
            if file.is_dir():
                continue
            texts[name] = without_last_newline(read_small_file(file)[0])
        except FileNotFoundError:  # a dangling link
            problems.append(ConfigProblem(dotted(name), f"{file} is a link to a file that does not exist"))
        except OSError as error:
            problems.append(ConfigProblem(dotted(name), f"{file} cannot be read: {error.strerror}"))
        except ValueError as error:
            problems.append(ConfigProblem(dotted(name), str(error)))
    return texts, problems
