"""The lines of a batch: each row of the input becomes a request and the name of its file, or is reported as invalid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from receiver.engine.jobs.requests import request_of
from receiver.providers.types import Invalid, Speech
from receiver.settings import suggestion
from receiver.speech.files import file_stem, relative_output
from receiver.speech.input_format import InputFormat
from receiver.speech.rows import FIELDS, UnusableRow, read_rows

MAX_ID_LENGTH = 200
_EXTENSIONS = {"ogg": "ogg_opus", "opus": "ogg_opus"}
"""The format that an extension stands for, where the two names differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechDefaults:
    """Values for lines that do not set their own; the fields are those of `Speech`, and each of `options` is one."""

    voice: str | None = None
    format: str | None = None
    sample_rate: int | None = None
    bitrate_kbps: int | None = None
    speed: float | None = None
    model: str | None = None
    metadata: Mapping[str, Any] | None = None
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a batch.

    Attributes:
        number: of its (first) line in the file, from 1.
        id: from the input.
        name: of its audio file, relative to the output folder; without an extension if the audio determines it.
        has_extension: whether `name` already has its extension.
        digest: of the request and its source; it shows whether the line was changed.
    """

    number: int
    id: str | None
    name: str
    has_extension: bool
    speech: Speech
    digest: str


@dataclass(frozen=True, slots=True)
class InvalidLine:
    """A line that cannot be used."""

    number: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.reason}"


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
    options: dict[str, JsonValue] | None = None
    id: str | int | None = None
    output: str | None = None


def format_of(name: str, formats: tuple[str, ...]) -> str | None:
    """The format for a file name's extension; None if the service does not offer it."""
    extension = PurePath(name).suffix[1:].lower()
    return next((word for word in (extension, _EXTENSIONS.get(extension)) if word in formats), None)


def read_lines(
    file: BinaryIO,
    format: InputFormat,
    source: str,
    defaults: SpeechDefaults,
    formats: tuple[str, ...],
    check: Callable[[Speech], None],
) -> Iterator[BatchLine | InvalidLine]:
    """Yield every line that is not blank, in order.

    Args:
        file: at its beginning.
        defaults: for what a line leaves out.
        formats: that the provider offers.
        check: raises Invalid for a request that the provider does not accept.

    Raises:
        SpeechError: the whole file cannot be used, or has too many lines.
    """
    for number, row in read_rows(file, format):
        try:
            if isinstance(row, UnusableRow):
                raise row
            yield _line(number, _fields(row, strict=format is not InputFormat.CSV), source, defaults, formats, check)
        except (UnusableRow, Invalid) as error:
            yield InvalidLine(number, str(error))


def _line(
    number: int,
    fields: _Fields,
    source: str,
    defaults: SpeechDefaults,
    formats: tuple[str, ...],
    check: Callable[[Speech], None],
) -> BatchLine:
    id = None if fields.id in (None, "") else str(fields.id)
    if id is not None and len(id) > MAX_ID_LENGTH:
        raise UnusableRow(f"its id is longer than {MAX_ID_LENGTH} characters")
    try:
        name = relative_output(fields.output) if fields.output is not None else file_stem(id) if id else f"{number:04d}"
    except ValueError as error:
        raise UnusableRow(str(error)) from None
    voice = fields.voice if fields.voice is not None else defaults.voice
    if voice is None:
        raise UnusableRow("no voice: name one in the line, or for all lines with --voice")
    default_format = defaults.format or (format_of(fields.output, formats) if fields.output is not None else None)
    speech = Speech(
        text=fields.text,
        voice=voice,
        format=fields.format if fields.format is not None else default_format,
        sample_rate=_or_default(fields.sample_rate, defaults.sample_rate),
        bitrate_kbps=_or_default(fields.bitrate_kbps, defaults.bitrate_kbps),
        speed=_or_default(fields.speed, defaults.speed),
        model=_or_default(fields.model, defaults.model),
        metadata=_or_default(fields.metadata, defaults.metadata),
        options={**(defaults.options or {}), **(fields.options or {})} or None,
    )
    check(speech)
    return BatchLine(number, id, name, fields.output is not None, speech, digest_of(source, speech))


def _or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


def digest_of(source: str, speech: Speech) -> str:
    """A short digest of the source and the request."""
    request = json.dumps({"source": source, **request_of(speech)}, sort_keys=True)
    return hashlib.sha256(request.encode()).hexdigest()[:32]


def _fields(row: Mapping[str, Any], *, strict: bool) -> _Fields:
    for name in row:
        if name not in FIELDS:
            raise UnusableRow(f"there is no field {name[:60]!r}{suggestion(name[:60], FIELDS)}")
    if row.get("text") is None:
        raise UnusableRow("there is no text")
    try:
        fields = _Fields.model_validate(row, strict=strict)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise UnusableRow("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in wrong)) from None
    return fields
