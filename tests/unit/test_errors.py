"""An error's type says which layer failed: the transport, the audio, the JSON, the delivery, or the state of a job."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver import errors
from receiver.engine.jobs import commands
from receiver.errors import AudioError, ReceiverError
from receiver.model.json_body import read_json
from receiver.outbound.api import call_api
from receiver.outbound.client import Client
from receiver.outbound.guard import AddressGuard
from receiver.providers.registry import PROVIDERS
from receiver.providers.types import Request, Unavailable
from receiver.store import jobs
from receiver.store.migrate import migrate
from tests.stores import open_store

NOW = 1_700_000_000.0


async def nowhere(host: str, port: int) -> list[str]:
    """A resolver whose names have no address."""
    raise OSError("no such name")


async def failed_request(url: str) -> ReceiverError:
    """How a request to this address fails."""
    client = Client(AddressGuard(False, nowhere))
    try:
        with pytest.raises(ReceiverError) as caught:
            async with client.send("GET", url, {}):
                pass
    finally:
        await client.aclose()
    return caught.value


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://127.0.0.1/", "blocked_address"),
        ("http://provider.example/", "blocked_address"),
        ("https://a.example\\@b.example/", "bad_address"),
        ("https://provider.example/", "dns_failed"),
    ],
)
async def test_a_failed_request_is_no_failure_of_audio(url: str, reason: str) -> None:
    error = await failed_request(url)
    assert error.reason == reason
    assert isinstance(error, errors.OutboundError)
    assert not isinstance(error, AudioError)


@pytest.mark.anyio
async def test_a_poll_that_the_address_guard_refuses_is_no_failure_of_audio() -> None:
    client = Client(AddressGuard(False, nowhere))
    with pytest.raises(ReceiverError) as caught:
        await call_api(client, Request("GET", "https://10.0.0.1/api/v1/tts/job_1"))
    assert isinstance(caught.value, errors.BlockedAddress)
    assert not isinstance(caught.value, AudioError)
    with pytest.raises(Unavailable) as unanswered:
        await call_api(client, Request("GET", "https://provider.example/api/v1/tts/job_1"))
    assert unanswered.value.reason == "dns_failed"
    await client.aclose()


def test_unreadable_json_is_no_malformed_delivery() -> None:
    with pytest.raises(ReceiverError) as caught:
        read_json(b"{")
    assert isinstance(caught.value, errors.InvalidJson)
    assert not isinstance(caught.value, errors.MalformedDelivery)
    aitts = PROVIDERS["aitts"]
    with pytest.raises(errors.MalformedDelivery):
        aitts.parse_delivery((), b"{}")


# cancelling


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A configuration with a store that has a watched job."""
    config = tmp_path / "tts-receiver.toml"
    config.write_text('[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["signing_0123456789"]\n')
    (tmp_path / "data").mkdir()
    database = open_store(tmp_path / "data" / "receiver.db")
    migrate(database)
    database.transact(jobs.watch, "job_1", "aitts", "theirs", NOW, NOW, NOW + 60)
    database.close()
    return config


def test_a_refused_cancel_is_a_conflict(store: Path) -> None:
    database = open_store(store.parent / "data" / "receiver.db")
    done = database.transact(commands.cancel_job, "job_1", NOW)
    assert done is not None
    assert done["state"] == "cancelled"
    with pytest.raises(errors.Conflict, match="it is already cancelled") as caught:
        database.transact(commands.cancel_job, "job_1", NOW)
    assert caught.value.reason == "too_late"
    assert database.transact(commands.cancel_job, "job_2", NOW) is None
    database.close()


@pytest.mark.parametrize("command", ["cancel", "poll"])
def test_a_command_that_the_jobs_state_does_not_allow_ends_as_a_conflict(store: Path, command: str) -> None:
    from receiver.cli.jobs import app

    runner, options = CliRunner(), ["theirs", "--config", str(store)]
    assert runner.invoke(app, ["cancel", *options]).exit_code == 0
    ended = runner.invoke(app, [command, *options])
    assert ended.exit_code == 1
    assert isinstance(ended.exception, errors.Conflict)
    assert "cancelled" in str(ended.exception)
    missing = runner.invoke(app, [command, "another", "--config", str(store)])
    assert isinstance(missing.exception, errors.NotFound)
