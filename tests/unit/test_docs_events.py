"""What the page of handlers says of an event's payload is what the provider modules make, by the recorded answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from receiver.providers import PROVIDERS
from receiver.providers.types import Account, Ended, ProviderError, Response

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "handler-api.md"
RECORDED = ROOT / "tests" / "contract" / "documents"


def payloads() -> Iterator[Mapping[str, Any]]:
    """What the recorded ends of jobs, polled and delivered, are mapped to."""
    for name, provider in PROVIDERS.items():
        for file in sorted((RECORDED / name).glob("*.json")):
            document = json.loads(file.read_text())
            body = json.dumps(document.get("body")).encode()
            with suppress(ProviderError):
                status = provider.read_status(Account(provider.base_url, None), "job_1", Response(200, [], body))
                if isinstance(status, Ended):
                    yield status.parsed.payload
            if "delivery" in document:
                yield provider.parse_delivery((), json.dumps(document["delivery"]).encode()).payload


def test_every_mapped_field_of_a_payload_is_documented_and_no_other() -> None:
    section = PAGE.read_text().partition("\n`payload` of the end of a job")[2].partition("\nNo other field")[0]
    rows = re.findall(r"^\| (`[^|]+`) \|", section, re.MULTILINE)
    shown = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert shown == {name for payload in payloads() for name in payload}


def test_an_event_that_ends_no_job_has_its_whole_body_as_its_payload() -> None:
    body = {"event": "voice.created", "data": {"voice_id": "v-1"}, "of_theirs": True}
    assert PROVIDERS["aitts"].parse_delivery((), json.dumps(body).encode()).payload == body
