"""Reads and validates the body of a submit, as `aitts` documents it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from .addresses import check_webhook_url
from .envelope import ApiError, invalid
from .jobs import Submission
from .voices import Voice

SAMPLE_RATES = (8000, 12000, 16000, 22050, 24000, 44100, 48000)
NOT_FOR_OPUS = (12000, 22050, 44100)
BITRATES = {"mp3": (32, 320), "ogg_opus": (6, 320)}
FORMATS = ("wav", "mp3", "ogg_opus")
FIELDS = (
    "text", "voice_id", "voice", "output_format", "sample_rate_hertz", "output_bitrate_kbps", "speed", "model_type",
    "webhook_url", "metadata",
)  # fmt: skip


def read_object(raw: bytes) -> dict[str, Any]:
    """Return the JSON object in `raw`. Raises ApiError 400 VALIDATION_ERROR."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        message = "the body is not JSON"
        raise invalid(message) from error
    if not isinstance(body, dict):
        message = "the body must be a JSON object"
        raise invalid(message)
    return body


def read_submission(body: Mapping[str, Any], voices: Sequence[Voice], *, allow_loopback: bool) -> Submission:
    """Return the submission in `body`; undocumented fields are recorded as its `parameters`, and change nothing.

    Provider's documentation: wav (default), mp3 32-320 kbps, ogg_opus 6-320 kbps; the sample rates above; `voice` is
    the older name of `voice_id`. Raises ApiError: VALIDATION_ERROR or INVALID_VOICE.
    """
    text = body.get("text")
    if not isinstance(text, str) or not text.strip():
        message = "text is required"
        raise invalid(message)
    output_format = body.get("output_format", "wav")
    if output_format not in FORMATS:
        message = f"output_format must be one of {', '.join(FORMATS)}"
        raise invalid(message)
    speed, model_type, webhook_url = (body.get(k) for k in ("speed", "model_type", "webhook_url"))
    if speed is not None and (isinstance(speed, bool) or not isinstance(speed, int | float)):
        message = "speed must be a number"
        raise invalid(message)
    if model_type is not None and not isinstance(model_type, str):
        message = "model_type must be a string"
        raise invalid(message)
    if webhook_url is not None:
        webhook_url = check_webhook_url(webhook_url, allow_loopback=allow_loopback)
    return Submission(
        text=text,
        voice_id=_voice(body, voices),
        output_format=output_format,
        sample_rate_hertz=_sample_rate(body, output_format),
        output_bitrate_kbps=_bitrate(body, output_format),
        speed=speed,
        model_type=model_type,
        webhook_url=webhook_url,
        metadata=body.get("metadata"),
        parameters=undocumented(body, FIELDS),
    )


def undocumented(fields: Mapping[str, Any], documented: Collection[str]) -> dict[str, Any]:
    """Return the fields that the documentation of the submit does not name."""
    return {name: value for name, value in fields.items() if name not in documented}


def _voice(body: Mapping[str, Any], voices: Sequence[Voice]) -> str:
    voice_id = body.get("voice_id", body.get("voice"))
    if not isinstance(voice_id, str) or not voice_id:
        message = "voice_id is required"
        raise invalid(message)
    if voice_id not in {voice.voice_id for voice in voices}:
        raise ApiError(400, "INVALID_VOICE", f"There is no voice {voice_id!r}.")
    return voice_id


def _sample_rate(body: Mapping[str, Any], output_format: str) -> int | None:
    rate = body.get("sample_rate_hertz")
    if rate is None:
        return None
    allowed = [r for r in SAMPLE_RATES if output_format != "ogg_opus" or r not in NOT_FOR_OPUS]
    if isinstance(rate, bool) or not isinstance(rate, int) or rate not in allowed:
        message = f"sample_rate_hertz for {output_format} must be one of {allowed}"
        raise invalid(message)
    return rate


def _bitrate(body: Mapping[str, Any], output_format: str) -> int | None:
    bitrate = body.get("output_bitrate_kbps")
    if bitrate is None or output_format not in BITRATES:
        return None
    low, high = BITRATES[output_format]
    if isinstance(bitrate, bool) or not isinstance(bitrate, int) or not low <= bitrate <= high:
        message = f"output_bitrate_kbps for {output_format} must be from {low} to {high}"
        raise invalid(message)
    return bitrate
