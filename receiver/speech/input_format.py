"""The formats of a batch's input."""

from __future__ import annotations

from enum import StrEnum


class InputFormat(StrEnum):
    """How the lines are written."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


FORMAT_BY_EXTENSION = {".jsonl": InputFormat.JSONL, ".ndjson": InputFormat.JSONL, ".csv": InputFormat.CSV}
"""By the extension of the file's name; any other is plain text."""
