"""Read the rows of a batch from plain text, JSON Lines or CSV.

The input is untrusted. It is streamed, one bounded row at a time. An invalid row is reported with its number, and
reading continues with the next one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

from receiver.errors import InvalidJson
from receiver.model.json_body import read_strict_json_object
from receiver.settings import suggestion
from receiver.speech.errors import SpeechError
from receiver.speech.input_format import InputFormat

MAX_LINE_BYTES = 131_072
"""A longer line is invalid; no service accepts so much text in one request."""
MAX_LINES = 100_000
FIELDS = (
    "text", "voice", "format", "sample_rate", "bitrate", "bitrate_kbps", "speed", "model", "metadata", "options", "id",
    "output",
)  # fmt: skip
_BOM = b"\xef\xbb\xbf"


class UnusableRow(Exception):
    """A row cannot be used; the message says why."""


Rows = Iterator[tuple[int, Mapping[str, Any] | UnusableRow]]


def read_rows(file: BinaryIO, format: InputFormat) -> Rows:
    """Yield every row that is not blank: the number of its first line, from 1, and its fields.

    Args:
        file: at its beginning.

    Raises:
        SpeechError: the whole file cannot be used, or has too many lines.
    """
    return {InputFormat.TEXT: _text_rows, InputFormat.JSONL: _json_rows, InputFormat.CSV: _csv_rows}[format](file)


def _text_rows(file: BinaryIO) -> Rows:
    for number, line in _lines(file):
        if isinstance(line, UnusableRow) or line.strip():
            yield number, line if isinstance(line, UnusableRow) else {"text": line.strip()}


def _json_rows(file: BinaryIO) -> Rows:
    for number, line in _lines(file):
        if isinstance(line, UnusableRow):
            yield number, line
        elif line.strip():
            try:
                yield number, read_strict_json_object(line.encode())
            except InvalidJson as error:
                why = "is JSON, but not an object" if error.reason == "not_an_object" else "is not JSON"
                yield number, UnusableRow(f'it {why}; a line is such as {{"text": "Hello", "voice": "…"}}')


def _csv_rows(file: BinaryIO) -> Rows:
    held = 0

    def lines() -> Iterator[str]:
        nonlocal held
        for number, line in _lines(file, keep_undecodable=True):
            if isinstance(line, UnusableRow):
                raise SpeechError(f"Line {number} of the CSV file: {line}. Nothing after it can be read.")
            held += len(line)
            if held > MAX_LINE_BYTES:
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
        raise SpeechError("The first row of the CSV file must have the columns' names; it has no column `text`.")
    for name in names:
        if name not in FIELDS:
            raise SpeechError(f"There is no column {name[:60]!r}{suggestion(name[:60], FIELDS)}")
    if len(set(names)) < len(names) or {"bitrate", "bitrate_kbps"} <= set(names):
        raise SpeechError("Two columns of the CSV file have the same name.")
    return names


def _cells(header: list[str], row: list[str]) -> Mapping[str, Any] | UnusableRow:
    if len(row) > len(header):
        return UnusableRow(
            f"it has {len(row)} cells, and the first row has {len(header)}; is a quotation mark missing?"
        )
    if any("\ud800" <= char <= "\udfff" for cell in row for char in cell):
        return UnusableRow("it is not UTF-8")
    found: dict[str, Any] = {
        name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()
    }  # fmt: skip
    for name in {"metadata", "options"} & set(found):
        try:
            found[name] = read_strict_json_object(found[name].encode())
        except InvalidJson:
            return UnusableRow(f"{name}: it is not a JSON object")
    return found


def _lines(file: BinaryIO, *, keep_undecodable: bool = False) -> Iterator[tuple[int, str | UnusableRow]]:
    """Yield the physical lines with their numbers, each in bounded memory."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if number > MAX_LINES:
            raise SpeechError(f"There are more than {MAX_LINES} lines; split the input into several files.")
        if len(raw) > MAX_LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
            yield number, UnusableRow(f"it is longer than {MAX_LINE_BYTES} bytes")
            continue
        if number == 1:
            raw = raw.removeprefix(_BOM)
        try:
            yield number, raw.decode("utf-8", "surrogateescape" if keep_undecodable else "strict")
        except UnicodeDecodeError:
            yield number, UnusableRow("it is not UTF-8")
