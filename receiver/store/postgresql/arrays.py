"""Array literals: one parameter for each column of a batch.

The driver converts a list element by element, in Python, and looks for a type that fits all of them. That took more
processor time than the rest of a statement. Here the type is known, as the statement names it. A batch is written by
functions that take all of its values at once, wherever that is possible.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_core import to_json


def texts(values: Iterable[str | None]) -> str:
    """A literal for text[] and json[]. None becomes NULL."""
    values = list(values)
    present = [value for value in values if value is not None]
    if not present:
        return "{" + ",".join(["NULL"] * len(values)) + "}"
    if len(present) == len(values):
        joined = '","'.join(present)
        if "\\" not in joined and joined.count('"') == 2 * len(values) - 2:  # nothing to escape
            return f'{{"{joined}"}}'
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    ]
    return "{" + ",".join(quoted) + "}"


def numbers(values: Iterable[float | None]) -> str:
    """A literal for int[] and float8[]. None becomes NULL."""
    return "{" + to_json(list(values), inf_nan_mode="constants")[1:-1].decode() + "}"


def binaries(values: Iterable[bytes]) -> str:
    """A literal for bytea[]."""
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"
