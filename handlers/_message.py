"""The message that `forward` and `publish` send for an event: a CloudEvent, or the provider's own body.

Shared by both, so that an application gets the same document over HTTP and from a broker. A CloudEvent describes stored
audio files and never contains a provider's temporary address: such an address is a credential, and has expired by the
time a message is read again.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from receiver import Artifact, Context, Event, JobCompleted, JobFailed, Reject

from ._addresses import without_queries

JSON = "application/json"
CLOUDEVENTS_JSON = "application/cloudevents+json"

AudioDelivery = Literal["link", "signed-url", "inline", "none"]

_UNENCODED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
"""What a header of the binary mode contains as it is (CloudEvents HTTP binding 1.0.2, 3.1.3.2)."""


class MessageOptions(BaseModel):
    """The options that decide what is sent.

    Attributes:
        format: `cloudevents`: CloudEvents 1.0 in structured mode; `cloudevents-binary`: in binary mode; `provider`:
            the bytes that the provider sent.
        audio: how a CloudEvent contains the audio files of a completed job: `link` (the receiver's API), `signed-url`
            (a temporary address of the object storage), `inline` (base64), or `none`, which fetches nothing. Without
            it, `link`. The provider's own body is sent as it is, and fetches nothing.
        max_inline_bytes: a job whose files have more bytes together gets links instead of `inline`.
        signed_url_seconds: how long a signed address is valid; a week is the most that storages allow.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    format: Literal["cloudevents", "cloudevents-binary", "provider"] = "cloudevents"
    audio: AudioDelivery | None = None
    max_inline_bytes: Annotated[int, Field(ge=1, le=8_388_608)] = 1_048_576
    signed_url_seconds: Annotated[int, Field(ge=1, le=604_800)] = 3600

    @field_validator("audio")
    @classmethod
    def _check_audio(cls, audio: AudioDelivery | None, info: ValidationInfo) -> AudioDelivery | None:
        if audio not in (None, "none") and info.data.get("format") == "provider":
            raise ValueError(f'"{audio}" cannot be added to a provider\'s own body; set format = "cloudevents"')
        if audio == "signed-url" and not (info.context or {}).get("object_storage"):
            raise ValueError('"signed-url" needs an object storage in [audio] url; a folder has "link" and "inline"')
        return audio


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message, ready to be signed and sent.

    Attributes:
        body: the bytes.
        content_type: the body's media type.
        headers: the `ce-*` headers of the binary mode, percent-encoded; otherwise empty.
    """

    body: bytes = field(repr=False)
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


async def build_message(event: Event, ctx: Context[Any]) -> Message:
    """Build the event's message, by the handler's `MessageOptions`. The audio of a completed job is fetched first.

    Raises:
        Reject: the format is `provider`, and the receiver gave the job up without a response to send, or the event is
            an edited end of a job.
        AudioError: as `ctx.artifacts`. A job without audio is sent with an empty list.
    """
    options: MessageOptions = ctx.options
    if options.format == "provider":
        return Message(body=_provider_body(event), content_type=JSON)
    attributes = _attributes(event)
    data = await _data(event, ctx, options)
    if options.format == "cloudevents-binary":
        headers = {f"ce-{name}": quote(value, safe=_UNENCODED) for name, value in attributes.items()}
        return Message(body=_json(data), content_type=JSON, headers=headers)
    body = _json({**attributes, "datacontenttype": JSON, "data": data})
    return Message(body=body, content_type=CLOUDEVENTS_JSON)


def _provider_body(event: Event) -> bytes:
    if event.edited_from is not None and isinstance(event, JobCompleted | JobFailed):
        what = "This event was edited, and the body that the provider sent was not."
        raise Reject(f'{what} format = "cloudevents" can send it.', reason="no_body")
    if not event.raw:
        what = "The receiver ended this job itself: there is no response of the provider to send."
        raise Reject(f'{what} format = "cloudevents" can send it.', reason="no_body")
    return event.raw


def _attributes(event: Event) -> dict[str, str]:
    """The context attributes of CloudEvents 1.0, without the content type."""
    attributes = {
        "specversion": "1.0",
        "id": event.id,
        "source": f"/tts-receiver/{event.source}",
        "type": event.type,
        "time": _timestamp(event.received_at),
    }
    return attributes if event.job_id is None else attributes | {"subject": event.job_id}


async def _data(event: Event, ctx: Context[Any], options: MessageOptions) -> dict[str, Any]:
    """The same in both modes: a signature covers the body, and not the attributes in headers."""
    data: dict[str, Any] = {
        "event_id": event.id,
        "source": event.source,
        "type": event.type,
        "job_id": event.job_id,
        "origin": str(event.origin),
        "received_at": _timestamp(event.received_at),
    }
    if event.edited_from is not None:
        data["edited_from"] = event.edited_from
    if not isinstance(event, JobCompleted | JobFailed):
        return data | {"payload": without_queries(dict(event.payload))}
    charged = event.payload.get("chars_charged")
    failed = isinstance(event, JobFailed)
    data |= {
        "status": "failed" if failed else "completed",
        "metadata": dict(event.metadata),
        "chars_charged": charged if isinstance(charged, int) else None,
        "error": {"code": without_queries(event.code), "message": without_queries(event.message)}
        if isinstance(event, JobFailed)
        else None,
    }
    if "result" in event.payload:
        data["result"] = without_queries(event.payload["result"])
    if options.audio != "none":
        data |= {"audio": []} if failed else await _files(ctx, options)
    return data


async def _files(ctx: Context[Any], options: MessageOptions) -> dict[str, Any]:
    """The job's audio files, and its other files if it has some."""
    files = await ctx.artifacts()
    described = [
        (file.kind, _description(file) | await _access(file, _delivery(files, options), options)) for file in files
    ]
    others = [{"kind": str(kind), **of} for kind, of in described if kind != "audio"]
    return {"audio": [of for kind, of in described if kind == "audio"]} | ({"files": others} if others else {})


def _delivery(files: Sequence[Artifact], options: MessageOptions) -> AudioDelivery:
    """How this job's files are delivered: all in the same way."""
    if options.audio == "inline" and sum(file.bytes for file in files) > options.max_inline_bytes:
        return "link"
    return options.audio or "link"


def _description(file: Artifact) -> dict[str, Any]:
    return {
        "n": file.n,
        "content_type": file.content_type,
        "format": file.format,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "duration": file.duration,
        "sample_rate": file.sample_rate,
        "channels": file.channels,
    }


async def _access(file: Artifact, delivery: AudioDelivery, options: MessageOptions) -> dict[str, Any]:
    if delivery == "inline":
        return {"data_base64": base64.b64encode(await file.read()).decode()}
    if delivery == "signed-url":
        seconds = options.signed_url_seconds
        expires_at = datetime.now(UTC) + timedelta(seconds=seconds)
        return {"url": await file.signed_url(seconds), "url_expires_at": _timestamp(expires_at)}
    return {"link": file.link}


def _timestamp(moment: datetime) -> str:
    """By RFC 3339, in UTC."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
