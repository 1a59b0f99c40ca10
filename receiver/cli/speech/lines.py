"""The lines of a batch: each row of the input becomes a speech and the name of its file, or is told why it is none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, BinaryIO

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from receiver.cli.speech.files import inside, word_for
from receiver.cli.speech.forms import Form
from receiver.cli.speech.rows import FIELDS, Unusable, read_rows
from receiver.engine.jobs.intents import request_of
from receiver.providers.types import Invalid, Speech
from receiver.settings import nearest

MOST_ID = 200
_EXTENSIONS = {"ogg": "ogg_opus", "opus": "ogg_opus"}
"""What an extension is called as a format, where it is not the format's own name."""


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
    for number, row in read_rows(file, form):
        try:
            if isinstance(row, Unusable):
                raise row
            yield _line(number, _fields(row, strict=form is not Form.CSV), source, manner, formats, check)
        except (Unusable, Invalid) as error:
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
        raise Unusable(f"its id is longer than {MOST_ID} characters")
    try:
        name = inside(fields.output) if fields.output is not None else word_for(id) if id else f"{number:04d}"
    except ValueError as error:
        raise Unusable(str(error)) from None
    voice = fields.voice if fields.voice is not None else manner.voice
    if voice is None:
        raise Unusable("no voice: name one in the line, or for all lines with --voice")
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
    """A short digest of the source and the request."""
    asked = json.dumps({"source": source, **request_of(speech)}, sort_keys=True)
    return hashlib.sha256(asked.encode()).hexdigest()[:32]


def _fields(row: Mapping[str, Any], *, strict: bool) -> _Fields:
    for name in row:
        if name not in FIELDS:
            raise Unusable(f"there is no field {name[:60]!r}{nearest(name[:60], FIELDS)}")
    if row.get("text") is None:
        raise Unusable("there is no text")
    try:
        fields = _Fields.model_validate(row, strict=strict)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        raise Unusable("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in wrong)) from None
    return fields
