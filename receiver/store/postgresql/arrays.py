"""Array literals: one parameter for each column of a batch.

The driver converts a list element by element, in Python, and looks for a type that fits all of them. That took more
processor time than the rest of a statement. Here the type is known, as the statement names it.
"""

from __future__ import annotations

from collections.abc import Iterable


def texts(values: Iterable[str | None]) -> str:
    """A literal for text[] and json[]. None becomes NULL."""
    quoted = [
        "NULL" if value is None else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values
    ]
    return "{" + ",".join(quoted) + "}"


def numbers(values: Iterable[float | None]) -> str:
    """A literal for int[] and float8[]. None becomes NULL."""
    return "{" + ",".join(["NULL" if value is None else repr(value) for value in values]) + "}"


def binaries(values: Iterable[bytes]) -> str:
    """A literal for bytea[]."""
    return "{" + ",".join(['"\\\\x' + value.hex() + '"' for value in values]) + "}"
