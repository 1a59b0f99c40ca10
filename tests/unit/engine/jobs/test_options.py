"""What a client hands to the provider through a job: parameters of the service, and an idempotency key."""

from __future__ import annotations

import json

import pytest

from tests.integration.intake_support import Lines
from tests.integration.outbound_support import Say
from tests.unit.engine.jobs.support import Polling
from tests.unit.engine.jobs.test_submitting import BOTH, KEYED, KEYLESS, error, keys, loop_of, row, taken_on

pytestmark = pytest.mark.anyio

V4 = "0B2f7f3e-9c1d-4e5a-8b6f-1a2b3c4d5e6f"
SECRET = "sk_live_51Hqk7Zz"


@pytest.mark.every_database
async def test_a_uuid_of_the_client_is_the_providers_key_each_time(up: Polling) -> None:
    up.takes_on(lambda request: Say(500) if len(up.submits) < 3 else taken_on(KEYED))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED, client_key=V4)
    await up.pass_time(60)
    assert row(up, id_)["state"] == "watching"
    assert [request.headers["idempotency-key"] for request in up.submits] == [V4] * 3, "as it is, in its letter case"


@pytest.mark.every_database
@pytest.mark.parametrize("key", ["order-42", V4.replace("-4", "-1"), None])
async def test_for_any_other_key_one_uuid_is_stored_and_sent_each_time(up: Polling, key: str | None) -> None:
    up.takes_on(lambda request: Say(500) if len(up.submits) < 3 else taken_on(KEYED))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED, client_key=key)
    stored = row(up, id_)["submit_key"]
    await up.pass_time(60)
    assert len(up.submits) == 3
    assert keys(up) == {stored} != {key}


async def test_a_provider_without_keys_gets_none(up: Polling) -> None:
    up.takes_on(lambda request: taken_on(KEYLESS))
    await loop_of(up, KEYLESS)
    up.submit(client_key=V4)
    await up.pass_time(5)
    [request] = up.submits
    assert V4 not in f"{request.headers}{request.body!r}"


@pytest.mark.every_database
async def test_options_are_in_each_request_for_the_job(up: Polling) -> None:
    up.takes_on(lambda request: Say(500) if len(up.submits) < 2 else taken_on(KEYED))
    await loop_of(up, KEYED)
    options = {"seed": 7, "none": None, "tuning": {"breaks": [1, 2.5]}, "ü".encode().hex(): "ü"}
    up.submit(source=KEYED, options=options)
    await up.pass_time(30)
    first, second = (json.loads(request.body) for request in up.submits)
    assert first == second == {"text": "Hello", "voice_id": "alloy"} | options


@BOTH
async def test_a_secret_among_the_options_is_neither_logged_nor_in_the_error(
    up: Polling, lines: Lines, source: str
) -> None:
    """Also if the service quotes what it was sent."""
    refusal = json.dumps({"success": False, "error": {"code": "NO", "message": f"bad key {SECRET} for {SECRET}"}})
    up.takes_on(lambda request: Say(400, {}, refusal.encode()))
    await loop_of(up, source)
    id_ = up.submit(source=source, options={"vendor": {"api_key": SECRET}, "style": "calm"})
    await up.pass_time(5)
    assert SECRET in str(up.submits[0].body), "it is sent"
    found = row(up, id_)
    assert found["state"] == "failed"
    assert "bad key [redacted] for [redacted]" in found["error"]
    assert lines.of("job.not_submitted")
    assert SECRET not in lines.text


async def test_an_error_is_left_as_it_is_if_no_option_is_secret(up: Polling) -> None:
    up.takes_on(lambda request: error(400, "VALIDATION_ERROR"))
    await loop_of(up, KEYED)
    id_ = up.submit(source=KEYED, options={"style": "words"})
    await up.pass_time(5)
    assert "In its own words." in row(up, id_)["error"]
