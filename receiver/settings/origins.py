"""Names the variable or the file of the secrets directory that a faulty value comes from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from receiver.errors import ConfigProblem

DELIMITER = "__"
"""Between the parts of a key in the name of a variable or file."""
TABLE_WANTED = ("must be a table", "must be a JSON object")
"""How the problem of a value begins that should be a table: in a text, a table is JSON."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        name: a clause's words, such as `the variable …`.
        fault: why the text is not JSON; None if it is. Quotes nothing of the text, which may be a secret.
        resembles_json: whether the text begins like a table or a list.
    """

    name: str
    fault: str | None
    resembles_json: bool


class Origins:
    """The origins of the values that are not from the configuration file, by their keys.

    Args:
        files: the texts of the secrets directory, by the files' names.
        variables: the variables of the environment, by their names without the prefix.
    """

    def __init__(self, files: Mapping[str, str], variables: Mapping[str, str], prefix: str) -> None:
        self._by_key = {
            dotted(name): _origin(f"the secrets directory's file {name}", text) for name, text in files.items()
        } | {dotted(name): _origin(f"the variable {prefix}{name}", text) for name, text in variables.items()}

    def broken_json(self, table: str) -> list[str]:
        """The keys in a table, or the table itself, whose texts begin like JSON and are not."""
        return [
            key
            for key, origin in self._by_key.items()
            if f"{key}.".startswith(f"{table}.") and origin.resembles_json and origin.fault is not None
        ]

    def named(self, problems: Iterable[ConfigProblem]) -> list[ConfigProblem]:
        """The problems, with the origin of each value, and the fault of a text that should be a table."""
        return [self._named(problem) for problem in problems]

    def _named(self, problem: ConfigProblem) -> ConfigProblem:
        keys = [key for key in self._by_key if f"{problem.where}.".startswith((f"{key}.", f"{key}["))]
        if not keys:
            return problem
        key = max(keys, key=len)
        origin = self._by_key[key]
        is_broken = key == problem.where and origin.fault is not None and problem.what.startswith(TABLE_WANTED)
        fault = f"; its text is not JSON: {origin.fault}" if is_broken else ""
        return ConfigProblem(problem.where, f"{problem.what}{fault} (it comes from {origin.name})")


def _origin(name: str, text: str) -> Origin:
    return Origin(name, _fault(text), text.lstrip().startswith(("{", "[")))


def dotted(name: str) -> str:
    """The key of a file or variable, as it is named in problems."""
    return ".".join(name.lower().split(DELIMITER))


def _fault(text: str) -> str | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return f"{error.msg[:1].lower()}{error.msg[1:]} (character {error.pos + 1})"
    except RecursionError:
        return "it is nested too deeply"
    except ValueError:  # a number of too many digits
        return "it has a number that is too long"
    return None
