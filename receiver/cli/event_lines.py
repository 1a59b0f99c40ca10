"""Lines of at most 80 columns about events, for the commands that print one for each: `forward-test` and `listen`."""

from __future__ import annotations

import textwrap

from rich.cells import cell_len, set_cell_size

from receiver.model.printable import printable
from receiver.model.redact import ELLIPSIS, truncate
from receiver.model.timestamps import utc

WIDTH = 80
INDENT = "  "
MAX_ID_CHARACTERS = 13
"""Of a job id: the first two groups of a UUID."""
MAX_CHARACTERS = 300
"""Of a line's text from outside, before it is wrapped or cut to the width."""


def time_of_day(seconds: float) -> str:
    """Unix seconds as a time of day in UTC."""
    return utc(seconds).strftime("%H:%M:%SZ")


def short_job_id(job_id: str) -> str:
    """The beginning of a job id."""
    return truncate(job_id, MAX_ID_CHARACTERS)


def fit(text: str) -> str:
    """On one line of at most 80 columns; wide letters take two."""
    line = printable(truncate(text, MAX_CHARACTERS))
    return line if cell_len(line) <= WIDTH else set_cell_size(line, WIDTH - 1).rstrip() + ELLIPSIS


def wrap(text: str, indent: str = INDENT, width: int = WIDTH) -> list[str]:
    """On as many lines as it takes, the later ones indented. A word that is longer stays whole: it may be copied."""
    return textwrap.wrap(
        printable(text), width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
