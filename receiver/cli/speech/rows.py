"""Read the rows of a batch: plain text, JSON Lines or CSV. Text from outside: bounded, streamed, every fault named.

What is held at one time is one row. One that cannot be read is told with its number, and the next one is read.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from receiver.cli.speech.desk import SpeechError
from receiver.cli.speech.forms import Form
from receiver.errors import InvalidJson
from receiver.model.json_body import read_strict_json_object
from receiver.settings import nearest

MOST_LINE_BYTES = 131_072
"""A longer line is refused; no service speaks so much at once."""
MOST_LINES = 100_000
FIELDS = (
    "text", "voice", "format", "sample_rate", "bitrate", "bitrate_kbps", "speed", "model", "metadata", "id", "output",
)  # fmt: skip
_BOM = b"\xef\xbb\xbf"


class Unusable(Exception):
    """Why a line is none."""


Rows = Iterator[tuple[int, Mapping[str, Any] | Unusable]]


def read_rows(file: BinaryIO, form: Form) -> Rows:
    """Every row that is not blank: its (first) line's number from 1, and its fields.

    Args:
        file: from its beginning.

    Raises:
        SpeechError: the file as a whole cannot be used, or has too many lines.
    """
    return {Form.TEXT: _text_rows, Form.JSONL: _json_rows, Form.CSV: _csv_rows}[form](file)


def _text_rows(file: BinaryIO) -> Rows:
    for number, line in _lines(file):
        if isinstance(line, Unusable) or line.strip():
            yield number, line if isinstance(line, Unusable) else {"text": line.strip()}


def _json_rows(file: BinaryIO) -> Rows:
    for number, line in _lines(file):
        if isinstance(line, Unusable):
            yield number, line
        elif line.strip():
            try:
                yield number, read_strict_json_object(line.encode())
            except InvalidJson as error:
                why = "is JSON, but not an object" if error.reason == "not_an_object" else "is not JSON"
                yield number, Unusable(f'it {why}; a line is such as {{"text": "Hello", "voice": "…"}}')


def _csv_rows(file: BinaryIO) -> Rows:
    held = 0

    def lines() -> Iterator[str]:
        nonlocal held
        for number, line in _lines(file, keep_undecodable=True):
            if isinstance(line, Unusable):
                raise SpeechError(f"Line {number} of the CSV file: {line}. Nothing after it can be read.")
            held += len(line)
            if held > MOST_LINE_BYTES:
                raise SpeechError(
                    f"The row of the CSV file that ends after line {number} is too long; is a quotation mark missing?"
                )
            yield line

    reader = csv.reader(lines(), strict=True)
    header: list[str] | None = None
    while True:
        number, held = reader.line_num + 1, 0
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise SpeechError(f"The CSV file cannot be read from line {number} on: {error}.") from None
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = _header(row)
        else:
            yield number, _cells(header, row)


def _header(row: list[str]) -> list[str]:
    names = [name.strip().lower() for name in row]
    if "text" not in names:
        raise SpeechError("The first row of the CSV file names no column `text`; it must hold the columns' names.")
    for name in names:
        if name not in FIELDS:
            raise SpeechError(f"There is no column {name[:60]!r}{nearest(name[:60], FIELDS)}")
    if len(set(names)) < len(names) or {"bitrate", "bitrate_kbps"} <= set(names):
        raise SpeechError("Two columns of the CSV file have the same name.")
    return names


def _cells(header: list[str], row: list[str]) -> Mapping[str, Any] | Unusable:
    if len(row) > len(header):
        return Unusable(f"it has {len(row)} cells, and the first row has {len(header)}; is a quotation mark missing?")
    if any("\ud800" <= char <= "\udfff" for cell in row for char in cell):
        return Unusable("it is not UTF-8")
    found: dict[str, Any] = {
        name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()
    }  # fmt: skip
    if "metadata" in found:
        try:
            found["metadata"] = read_strict_json_object(found["metadata"].encode())
        except InvalidJson:
            return Unusable("metadata: it is not a JSON object")
    return found


def _lines(file: BinaryIO, *, keep_undecodable: bool = False) -> Iterator[tuple[int, str | Unusable]]:
    """The physical lines with their numbers, each in bounded memory."""
    number = 0
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if number > MOST_LINES:
            raise SpeechError(f"There are more than {MOST_LINES} lines; make several files of them.")
        if len(raw) > MOST_LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MOST_LINE_BYTES)
            yield number, Unusable(f"it is longer than {MOST_LINE_BYTES} bytes")
            continue
        if number == 1:
            raw = raw.removeprefix(_BOM)
        try:
            yield number, raw.decode("utf-8", "surrogateescape" if keep_undecodable else "strict")
        except UnicodeDecodeError:
            yield number, Unusable("it is not UTF-8")
