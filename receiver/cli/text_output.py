"""What a command prints besides tables: lines of text, or JSON. Control characters are escaped.

Every command prints through this or through `output`, because much of what they show comes from outside. Cheap to
import: `output` loads what tables need.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from receiver.model.printable import printable, printable_json


def echo(*lines: str) -> None:
    """Lines on standard output."""
    print(*map(printable, lines), sep="\n", flush=True)


def echo_error(*lines: str) -> None:
    """Lines on standard error."""
    print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    """One JSON document. Bytes become text, or hex if they are not UTF-8."""
    print(printable_json(json.dumps(value, indent=2, ensure_ascii=False, default=_plain)))


def print_json_line(value: Any) -> None:
    """One line of JSON, at once: for a program that waits for it."""
    print(printable_json(json.dumps(value)), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    return str(value)
