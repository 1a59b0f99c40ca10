"""The request that submits a job at each provider, for `Simulator.submit`."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

import httpx

from .jobs import PROVIDERS
from .voices import AUDIXA_VOICES, VOICES

MIRAGIC_VOICE = "alloy"
FINEVOICE_VOICE = "james"


def submit_request(
    provider: str, text: str, fields: Mapping[str, Any], *, base_url: str, api_key: str, idempotency_key: str | None
) -> httpx.Request:
    """Return the request that submits `text`, with `fields` in its body.

    For audixa the field `version` (`v2` by default, or `v3`) selects the API. Raises ValueError for a provider that is
    not simulated.
    """
    if provider == "aitts":
        headers = {"Authorization": f"Bearer {api_key}", "Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        body = {"text": text, "voice_id": VOICES[0].voice_id, **fields}
        return httpx.Request("POST", f"{base_url}/api/v1/tts", json=body, headers=headers)
    if provider == "audixa":
        body = dict(fields)
        version = body.pop("version", "v2")
        voice_field = "voice" if version == "v2" else "voice_id"
        body = {"text": text, voice_field: AUDIXA_VOICES[0]["voice_id"], **body}
        return httpx.Request("POST", f"{base_url}/{version}/tts", json=body, headers={"x-api-key": api_key})
    if provider == "finevoice":
        body = {"text": text, "voice": FINEVOICE_VOICE, "useAsync": True, **fields}
        headers = {"Authorization": f"Bearer {api_key}"}
        return httpx.Request("POST", f"{base_url}/v1/audio/speech-synthesis", json=body, headers=headers)
    if provider == "miragic":
        form = {"text": text, "voice": MIRAGIC_VOICE, **fields}
        parts = {name: (None, str(value)) for name, value in form.items()}
        url = f"{base_url}/api/v1/text-to-speech/generate"
        return httpx.Request("POST", url, files=parts, headers={"X-API-Key": api_key})
    message = f"no provider {provider!r}; the providers: {', '.join(PROVIDERS)}"
    raise ValueError(message)


def submitted_id(provider: str, body: bytes) -> str:
    """Return the new job's id from the response to a submit."""
    response = json.loads(body)
    if provider == "aitts":
        return str(response["data"]["job_id"])
    if provider == "audixa":
        return str(response["generation_id"])
    return str(response["taskId"] if provider == "finevoice" else response["data"]["jobId"])
