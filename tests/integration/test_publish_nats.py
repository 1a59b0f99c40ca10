"""`publish` to NATS JetStream: answers that only NATS gives, and secrets that it must not get."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver import Reject
from receiver.testing import completed, wav
from tests import brokers
from tests.certificate import self_signed
from tests.integration.publish_support import NatsTarget, assert_retried, attempt, started

pytest.importorskip("faststream", reason='the extra is not installed: pip install "tts-receiver[publish]"')

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    yield from started(brokers.Nats, tmp_path_factory)


async def test_a_subject_that_no_stream_stores_is_no_success_until_there_is_one(nats: brokers.Broker) -> None:
    goal = NatsTarget(nats)
    outcome = await attempt(goal.options())
    assert_retried(outcome, f"has no stream that stores the subject {goal.name}.test.job.completed", "no_stream")
    await goal.create()
    outcome = await attempt(goal.options())
    assert outcome.state == "succeeded", outcome.error
    assert outcome.result["stream"] == goal.name


async def test_a_message_that_the_server_can_never_take_is_rejected_with_both_sizes(nats: brokers.Broker) -> None:
    goal = NatsTarget(nats)
    await goal.create()
    outcome = await attempt(goal.options(audio="inline", max_inline_bytes=2_000_000), audio=wav(seconds=20))
    assert outcome.state == "dead"
    assert isinstance(outcome.error, Reject)
    assert outcome.error.reason == "message_too_large"
    assert re.search(r"has 12\d{5} bytes, and NATS at .* accepts at most 1048576: lower max_inline", str(outcome.error))


async def test_a_stream_that_is_full_is_no_success(nats: brokers.Broker) -> None:
    goal = NatsTarget(nats)
    client = await goal.client()
    from nats.js.api import DiscardPolicy

    subjects = [f"{goal.name}.>"]
    await client.jetstream().add_stream(name=goal.name, subjects=subjects, max_msgs=1, discard=DiscardPolicy.NEW)
    await client.close()
    assert (await attempt(goal.options(), completed("job-1"))).state == "succeeded"
    outcome = await attempt(goal.options(), completed("job-2"))
    assert_retried(outcome, "did not store the message: maximum messages exceeded", "not_published")


async def test_a_tls_address_sends_no_password_to_a_server_without_tls(nats: brokers.Broker) -> None:
    """An attacker between the two can claim that the server has no TLS."""
    received: list[bytes] = []

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", nats.port)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter, seen: list[bytes]) -> None:
            while data := await source.read(65536):
                seen.append(data)
                target.write(data)
            target.close()

        await asyncio.gather(copy(from_server, writer, []), copy(reader, to_server, received))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as between:
        port = between.sockets[0].getsockname()[1]
        url = nats.url().replace("nats:", "tls:").replace(str(nats.port), str(port))
        outcome = await attempt({"url": url, "subject": "tts"})
    assert_retried(outcome, "does not use TLS, which tls:// demands", "no_tls")
    assert brokers.PASSWORD.encode() not in b"".join(received)


async def test_a_tls_address_works_with_a_certificate_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "both.pem", "localhost")
    reason = brokers.missing(brokers.Nats)
    if reason is not None:
        pytest.skip(reason)
    broker = brokers.Nats(tmp_path / "nats", f'tls {{ cert_file: "{certificate}", key_file: "{certificate}" }}')
    broker.start()
    try:
        url = broker.url().replace("nats:", "tls:").replace("127.0.0.1", "localhost")
        outcome = await attempt({"url": url, "subject": "tts"})
        assert_retried(outcome, "Cannot connect to NATS at localhost:.*certificate verify failed", "broker_unavailable")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        outcome = await attempt({"url": url, "subject": "tts"})
        assert_retried(outcome, "has no stream that stores the subject tts", "no_stream")  # it was connected
    finally:
        broker.close()
