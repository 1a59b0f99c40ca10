"""How the lines of a batch are written."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """How the lines are written."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


FORMS = {".jsonl": Form.JSONL, ".ndjson": Form.JSONL, ".csv": Form.CSV}
"""By the end of the file's name; else plain text."""
