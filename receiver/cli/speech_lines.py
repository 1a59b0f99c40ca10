"""Read the lines of a batch: plain text, JSON Lines or CSV. Text from outside: bounded, streamed, every fault named.

What is read at one time is one line. A line that cannot be used is told with its number, and the next one is read.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from receiver.cli.speech_desk import SpeechError
from receiver.cli.speech_files import inside, word_for
from receiver.engine.jobs.intents import request_of
from receiver.errors import MalformedDelivery
from receiver.providers.base import read_json_object
from receiver.providers.wire import Invalid, Speech
from receiver.settings import nearest

MOST_LINE_BYTES = 131_072
"""A longer line is refused; no service speaks so much at once."""
MOST_LINES = 100_000
MOST_ID = 200
_BOM = b"\xef\xbb\xbf"
_EXTENSIONS = {"ogg": "ogg_opus", "opus": "ogg_opus"}
"""What an extension is called as a format, where it is not the format's own name."""


class Form(StrEnum):
    """How the lines are written."""

    TEXT = "text"
    JSONL = "jsonl"
    CSV = "csv"


FORMS = {".jsonl": Form.JSONL, ".ndjson": Form.JSONL, ".csv": Form.CSV}
"""By the end of the file's name; else plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How it is to be spoken, where a line does not say: see `providers.wire.Speech`."""

    voice: str | None = None
    format: str | None = None
    sample_rate: int | None = None
    bitrate_kbps: int | None = None
    speed: float | None = None
    model: str | None = None
    metadata: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One speech of a batch.

    Attributes:
        number: of its (first) line in the file, from 1.
        id: as the file has it.
        name: of its file, relative to the output folder; without an extension where the audio decides it.
        whole: whether `name` has its extension already.
        digest: of the speech and its source: another digest is another speech.
    """

    number: int
    id: str | None
    name: str
    whole: bool
    speech: Speech
    digest: str


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that cannot be used, and why."""

    number: int
    what: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.what}"


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)

    text: str
    voice: str | None = None
    format: str | None = None
    sample_rate: int | None = None
    bitrate_kbps: Annotated[int | None, Field(validation_alias=AliasChoices("bitrate_kbps", "bitrate"))] = None
    speed: float | None = None
    model: str | None = None
    metadata: dict[str, JsonValue] | None = None
    id: str | int | None = None
    output: str | None = None


KNOWN = (*_Fields.model_fields, "bitrate")


class _Unusable(Exception):
    """Why a line is none."""


def format_of(name: str, formats: tuple[str, ...]) -> str | None:
    """The format that a file name's extension asks for; None if the service has none of that name."""
    extension = PurePath(name).suffix[1:].lower()
    return next((word for word in (extension, _EXTENSIONS.get(extension)) if word in formats), None)


def read_lines(
    file: BinaryIO,
    form: Form,
    source: str,
    manner: Manner,
    formats: tuple[str, ...],
    check: Callable[[Speech], None],
) -> Iterator[Line | BadLine]:
    """Every line that is not blank, in order.

    Args:
        file: from its beginning.
        manner: for whatever a line does not say.
        formats: those that the provider offers.
        check: raises Invalid for a speech that the provider does not take.

    Raises:
        SpeechError: the file as a whole cannot be used, or has too many lines.
    """
    rows = {Form.TEXT: _text_rows, Form.JSONL: _json_rows, Form.CSV: _csv_rows}[form](file)
    for number, row in rows:
        try:
            if isinstance(row, _Unusable):
                raise row
            yield _line(number, _fields(row, strict=form is not Form.CSV), source, manner, formats, check)
        except (_Unusable, Invalid) as error:
            yield BadLine(number, str(error))


def _line(
    number: int,
    fields: _Fields,
    source: str,
    manner: Manner,
    formats: tuple[str, ...],
    check: Callable[[Speech], None],
) -> Line:
    id = None if fields.id in (None, "") else str(fields.id)
    if id is not None and len(id) > MOST_ID:
        raise _Unusable(f"its id is longer than {MOST_ID} characters")
    try:
        name = inside(fields.output) if fields.output is not None else word_for(id) if id else f"{number:04d}"
    except ValueError as error:
        raise _Unusable(str(error)) from None
    voice = fields.voice if fields.voice is not None else manner.voice
    if voice is None:
        raise _Unusable("no voice: name one in the line, or for all lines with --voice")
    wished = manner.format or (format_of(fields.output, formats) if fields.output is not None else None)
    speech = Speech(
        text=fields.text,
        voice=voice,
        format=fields.format if fields.format is not None else wished,
        sample_rate=_first(fields.sample_rate, manner.sample_rate),
        bitrate_kbps=_first(fields.bitrate_kbps, manner.bitrate_kbps),
        speed=_first(fields.speed, manner.speed),
        model=_first(fields.model, manner.model),
        metadata=_first(fields.metadata, manner.metadata),
    )
    check(speech)
    return Line(number, id, name, fields.output is not None, speech, digest_of(source, speech))


def _first(said: Any, default: Any) -> Any:
    return default if said is None else said


def digest_of(source: str, speech: Speech) -> str:
    """A short digest of what is asked of whom."""
    asked = json.dumps({"source": source, **request_of(speech)}, sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def _fields(row: Mapping[str, Any], *, strict: bool) -> _Fields:
    for name in row:
        if name not in KNOWN:
            raise _Unusable(f"there is no field {name[:60]!r}{nearest(name[:60], KNOWN)}")
    if row.get("text") is None:
        raise _Unusable("there is no text")
    try:
        fields = _Fields.model_validate(row, strict=strict)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise _Unusable("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in wrong)) from None
    return fields


# the three forms

Rows = Iterator[tuple[int, Mapping[str, Any] | _Unusable]]


def _text_rows(file: BinaryIO) -> Rows:
    for number, line in _lines(file):
        if isinstance(line, _Unusable) or line.strip():
            yield number, line if isinstance(line, _Unusable) else {"text": line.strip()}


def _json_rows(file: BinaryIO) -> Rows:
    for number, line in _lines(file):
        if isinstance(line, _Unusable):
            yield number, line
        elif line.strip():
            try:
                yield number, read_json_object(line.encode())
            except MalformedDelivery as error:
                why = "is JSON, but not an object" if error.reason == "not_an_object" else "is not JSON"
                yield number, _Unusable(f'it {why}; a line is such as {{"text": "Hello", "voice": "…"}}')


def _csv_rows(file: BinaryIO) -> Rows:
    held = 0

    def lines() -> Iterator[str]:
        nonlocal held
        for number, line in _lines(file, keep_undecodable=True):
            if isinstance(line, _Unusable):
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
        if name not in KNOWN:
            raise SpeechError(f"There is no column {name[:60]!r}{nearest(name[:60], KNOWN)}.")
    if len(set(names)) < len(names) or {"bitrate", "bitrate_kbps"} <= set(names):
        raise SpeechError("Two columns of the CSV file have the same name.")
    return names


def _cells(header: list[str], row: list[str]) -> Mapping[str, Any] | _Unusable:
    if len(row) > len(header):
        return _Unusable(f"it has {len(row)} cells, and the first row has {len(header)}; is a quotation mark missing?")
    if any("\ud800" <= char <= "\udfff" for cell in row for char in cell):
        return _Unusable("it is not UTF-8")
    found: dict[str, Any] = {
        name: cell.strip() for name, cell in zip(header, row, strict=False) if cell.strip()
    }  # fmt: skip
    if "metadata" in found:
        try:
            found["metadata"] = read_json_object(found["metadata"].encode())
        except MalformedDelivery:
            return _Unusable("metadata: it is not a JSON object")
    return found


def _lines(file: BinaryIO, *, keep_undecodable: bool = False) -> Iterator[tuple[int, str | _Unusable]]:
    """The physical lines with their numbers, each in bounded memory."""
    number = 0
    while raw := file.readline(MOST_LINE_BYTES + 1):
        number += 1
        if number > MOST_LINES:
            raise SpeechError(f"There are more than {MOST_LINES} lines; make several files of them.")
        if len(raw) > MOST_LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MOST_LINE_BYTES)
            yield number, _Unusable(f"it is longer than {MOST_LINE_BYTES} bytes")
            continue
        if number == 1:
            raw = raw.removeprefix(_BOM)
        try:
            yield number, raw.decode("utf-8", "surrogateescape" if keep_undecodable else "strict")
        except UnicodeDecodeError:
            yield number, _Unusable("it is not UTF-8")
