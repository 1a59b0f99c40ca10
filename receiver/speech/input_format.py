"""The formats of a batch's input."""

from __future__ import annotations

from enum import StrEnum


class InputFormat(StrEnum):
    """The format of the lines."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


FORMAT_BY_EXTENSION = {".jsonl": InputFormat.JSONL, ".ndjson": InputFormat.JSONL, ".csv": InputFormat.CSV}
"""The format by the file name's extension; any other extension is plain text."""
