"""Print lines of text, or JSON. Control characters are escaped.

Every command prints through this module or `output`, because much of its text comes from outside. This module is cheap
to import; `output` also imports what tables need.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from receiver.model.printable import printable, printable_json

if TYPE_CHECKING:
    from pydantic import BaseModel


def echo(*lines: str) -> None:
    """Print lines to standard output."""
    print(*map(printable, lines), sep="\n", flush=True)


def echo_error(*lines: str) -> None:
    """Print lines to standard error."""
    print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)


def write(escaped: str) -> None:
    """Write a text that is escaped already, without a line break after it."""
    print(escaped, end="")


def flush() -> None:
    """Pass on what is written, so that a reader sees it, or its end is noticed."""
    sys.stdout.flush()


def print_model(item: BaseModel) -> None:
    """Print a model of the API as one JSON document, as the API has it."""
    print(printable_json(item.model_dump_json(indent=2)))


def print_value(value: object) -> None:
    """Print a JSON value as one document."""
    print(printable_json(json.dumps(value, ensure_ascii=False, indent=2)))


def print_model_line(item: BaseModel) -> None:
    """Print a model of the API as one line of JSON, and flush it, for a program that waits for it."""
    print(printable_json(item.model_dump_json()), flush=True)
