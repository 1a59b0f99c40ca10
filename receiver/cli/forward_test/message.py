"""Reads a forwarded message: a CloudEvent in structured or binary mode, or the provider's own body.

Written as an application would read it: from the documentation of the message alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from receiver.errors import MalformedDelivery
from receiver.model.delivery import Headers
from receiver.model.json_body import document_of, read_strict_json_object

STRUCTURED = "application/cloudevents+json"
BINARY_PREFIX = "ce-"

Mode = Literal["cloudevents", "cloudevents-binary", "provider"]
Text = Annotated[str, Field(min_length=1)]


class AudioFile(BaseModel):
    """One audio file of a completed job; exactly one of `link`, `url` and `data_base64` says where its bytes are.

    Attributes:
        duration: seconds; None if unknown.
    """

    n: int
    format: str
    bytes: Annotated[int, Field(ge=0)]
    sha256: str
    duration: float | None = None
    link: str | None = None
    url: str | None = None
    data_base64: str | None = None


class EventError(BaseModel):
    """Why a job failed."""

    code: str = ""
    message: str = ""


class EventData(BaseModel):
    """`data` of a CloudEvent, as far as it is printed."""

    model_config = ConfigDict(extra="ignore")

    event_id: Text
    source: Text
    type: Text
    job_id: str | None = None
    error: EventError | None = None
    audio: tuple[AudioFile, ...] = ()


class _Attributes(BaseModel):
    """The context attributes that CloudEvents 1.0 requires."""

    id: Text
    source: Text
    specversion: Literal["1.0"]
    type: Text


class ForwardedEvent(BaseModel):
    """A message that was read.

    Attributes:
        data: None for the provider's own body.
        document: the provider's own body, if it is a JSON object; else empty.
    """

    mode: Mode
    data: EventData | None = None
    document: dict[str, Any] = {}


def read_message(headers: Headers, body: bytes) -> ForwardedEvent:
    """Read a verified message.

    Raises:
        MalformedDelivery: it is not a valid CloudEvent; or its unsigned headers name another event than its body.
        InvalidJson: it is a CloudEvent whose body is not a JSON object.
    """
    values = _header_values(headers)
    if values.get("content-type", "").partition(";")[0].strip().lower() == STRUCTURED:
        envelope = read_strict_json_object(body)
        return ForwardedEvent(mode="cloudevents", data=_data(envelope, envelope.get("data")))
    attributes = {
        name.removeprefix(BINARY_PREFIX): unquote(value)
        for name, value in values.items()
        if name.startswith(BINARY_PREFIX)
    }
    if attributes:
        return ForwardedEvent(mode="cloudevents-binary", data=_data(attributes, read_strict_json_object(body)))
    return ForwardedEvent(mode="provider", document=document_of(body))


def _header_values(headers: Headers) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}


def _data(attributes: Mapping[str, Any], data: Any) -> EventData:
    try:
        envelope, read = _Attributes.model_validate(attributes), EventData.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "data"
        raise MalformedDelivery(f"The CloudEvent is not valid: {place}: {first['msg']}.") from None
    if (envelope.id, envelope.type) != (read.event_id, read.type):
        raise MalformedDelivery("The CloudEvent's id or type is not that of its data, which is signed.")
    return read
