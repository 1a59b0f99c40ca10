"""`publish` with real brokers, which are killed: whatever the broker, one suite that each must pass."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Iterator

import pytest

from receiver.testing import completed, wav
from tests import brokers
from tests.acceptance.proxies import free_port
from tests.integration.publish_support import (
    WRONG_PASSWORD,
    RabbitMqTarget,
    Target,
    assert_no_password,
    assert_retried,
    attempt,
    started,
    target,
)
from tests.patience import PATIENCE

pytest.importorskip("faststream", reason='the extra is not installed: pip install "tts-receiver[publish]"')

from handlers._broker import BrokerConnection, PublishError, Session
from handlers._message import Message
from handlers._publish_options import PublishOptions
from handlers.publish import connect, open_session

pytestmark = pytest.mark.anyio

MESSAGE = Message(body=b'{"specversion": "1.0"}', content_type="application/cloudevents+json")
WORKERS = 8


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    yield from started(brokers.Nats, tmp_path_factory)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    yield from started(brokers.Redis, tmp_path_factory)


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    """One for all tests: it takes some seconds to start."""
    yield from started(brokers.RabbitMq, tmp_path_factory)


@pytest.fixture(params=["nats", "redis", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> brokers.Broker:
    it: brokers.Broker = request.getfixturevalue(request.param)
    return it


@pytest.fixture
async def goal(broker: brokers.Broker) -> Target:
    it = target(broker)
    await it.create()
    return it


async def test_a_run_succeeds_once_its_message_is_stored_with_the_runs_idempotency_key(goal: Target) -> None:
    event = completed("job-1", metadata={"episode": 7}, chars_charged=5)
    outcome = await attempt(goal.options(audio="inline"), event, audio=wav(seconds=0.1))
    assert outcome.state == "succeeded", outcome.error
    (stored,) = await goal.stored()
    assert stored.id == f"{event.id}:publish"
    assert stored.headers["content-type"] == "application/cloudevents+json"
    document = json.loads(stored.body)
    assert (document["id"], document["type"], document["subject"]) == (event.id, "job.completed", "job-1")
    assert document["data"]["metadata"] == {"episode": 7}
    assert document["data"]["audio"][0]["data_base64"]
    assert outcome.result["bytes"] == len(stored.body)


async def test_the_binary_mode_puts_the_attributes_into_headers(goal: Target) -> None:
    event = completed("jób 1")
    outcome = await attempt(goal.options(format="cloudevents-binary"), event)
    assert outcome.state == "succeeded", outcome.error
    (stored,) = await goal.stored()
    assert stored.headers["content-type"] == "application/json"
    assert stored.headers["ce-id"] == event.id
    assert stored.headers["ce-subject"] == "j%C3%B3b%201"
    assert json.loads(stored.body)["job_id"] == "jób 1"


async def test_a_repetition_has_the_same_id(goal: Target) -> None:
    event = completed("job-1")
    outcomes = [await attempt(goal.options(), event) for _ in range(2)]
    assert [outcome.state for outcome in outcomes] == ["succeeded", "succeeded"]
    stored = await goal.stored()
    assert {message.id for message in stored} == {f"{event.id}:publish"}
    if isinstance(goal.broker, brokers.Nats):  # JetStream keeps the first
        assert len(stored) == 1
        assert [outcome.result["duplicate"] for outcome in outcomes] == [False, True]
        assert outcomes[0].result["sequence"] == outcomes[1].result["sequence"]
    else:
        assert len(stored) == 2


async def test_a_broker_that_is_not_there_is_named_with_host_and_port(goal: Target) -> None:
    port = free_port()
    url = goal.broker.url().replace(str(goal.broker.port), str(port))
    outcome = await attempt(goal.options(url=url))
    assert_retried(outcome, rf"Cannot connect to .* at 127\.0\.0\.1:{port}: .*111", "broker_unavailable")


async def test_a_refused_login_is_an_error_without_the_password(goal: Target) -> None:
    outcome = await attempt(goal.options(url=goal.broker.url(WRONG_PASSWORD)))
    assert_retried(outcome, rf"at 127\.0\.0\.1:{goal.broker.port} refused the login\.", "login_refused")


async def test_a_server_of_another_kind_is_not_published_to(goal: Target) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = goal.broker.url().replace(str(goal.broker.port), str(port))
        outcome = await attempt(goal.options(url=url))
    assert_retried(outcome, rf"Cannot connect to .* at 127\.0\.0\.1:{port}: ", "broker_unavailable")


async def test_nothing_confirmed_is_lost_when_the_broker_is_killed_while_it_is_published_to(goal: Target) -> None:
    confirmed: list[str] = []
    failed: list[str] = []
    keys = (f"key-{number}" for number in itertools.count())

    async def publish_until_it_fails(connection: BrokerConnection) -> None:
        while not failed or failed[0] in confirmed:
            key = next(keys)
            try:
                await connection.publish(completed(), MESSAGE, key)
            except PublishError as error:
                assert_no_password(str(error))
                failed.append(key)
                return
            confirmed.append(key)
            if len(confirmed) == 10 * WORKERS:
                goal.broker.kill()  # the others wait for their confirmations

    async with connect(PublishOptions(**goal.options())) as connection:
        async with asyncio.timeout(PATIENCE), asyncio.TaskGroup() as group:
            for _ in range(WORKERS):
                group.create_task(publish_until_it_fails(connection))
        with pytest.raises(PublishError, match="Cannot connect to"):  # between two lives of the broker
            await connection.publish(completed(), MESSAGE, failed[0])
        await asyncio.to_thread(goal.broker.start)
        for key in failed:  # the receiver's next attempts, over the same connection object
            await connection.publish(completed(), MESSAGE, key)

    assert len(confirmed) >= 10 * WORKERS
    assert failed
    stored = [message.id for message in await goal.stored()]
    assert set(stored) >= set(confirmed) | set(failed)
    # At least once: only a message whose confirmation was lost may be there twice, and JetStream drops that one, too.
    assert {key for key in stored if stored.count(key) > 1} <= set(failed)
    if isinstance(goal.broker, brokers.Nats):
        assert len(stored) == len(set(stored))


async def publish_until_confirmed(connection: BrokerConnection, key: str) -> None:
    """Publish again and again: a loaded machine confirms nothing in a short time."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await connection.publish(completed(), MESSAGE, key)
            except PublishError:
                continue


async def test_a_broker_that_confirms_nothing_is_no_success(goal: Target) -> None:
    options = PublishOptions(**goal.options())
    connection = BrokerConnection(lambda: open_session(options), options.server, options.secrets, confirm_seconds=0.3)
    await publish_until_confirmed(connection, "before")
    goal.broker.stop()
    try:
        with pytest.raises(PublishError, match=r"did not confirm the message within 0\.3 s\. It may be out of memory"):
            await connection.publish(completed(), MESSAGE, "meanwhile")
    finally:
        goal.broker.resume()
    # The next attempt has a connection of its own, and does not wait for what the first one still expects.
    await publish_until_confirmed(connection, "after")
    await connection.close()
    assert {message.id for message in await goal.stored()} >= {"before", "after"}


async def test_first_messages_share_one_connection_which_a_cancelled_one_does_not_end(goal: Target) -> None:
    options = PublishOptions(**goal.options())
    opened = []

    async def open_and_count() -> Session:
        opened.append(await open_session(options))
        return opened[-1]

    connection = BrokerConnection(open_and_count, options.server, options.secrets)
    tasks = [asyncio.create_task(connection.publish(completed(), MESSAGE, f"key-{n}")) for n in range(20)]
    await asyncio.sleep(0)  # the first one has begun to connect
    tasks[0].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    await connection.close()
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert len(opened) == 1
    assert {message.id for message in await goal.stored()} == {f"key-{n}" for n in range(1, 20)}


async def test_attempts_that_fail_leave_no_connection_and_no_task_behind(goal: Target) -> None:
    wrong = PublishOptions(**goal.options(url=goal.broker.url(WRONG_PASSWORD)))
    async with connect(wrong) as connection:
        with pytest.raises(PublishError):  # what a library opens once for the process
            await connection.publish(completed(), MESSAGE, "key")
    sockets, tasks = open_sockets(), len(asyncio.all_tasks())
    async with connect(wrong) as connection:
        for _ in range(5):
            with pytest.raises(PublishError):
                await connection.publish(completed(), MESSAGE, "key")
    async with connect(PublishOptions(**goal.options())) as connection:
        for _ in range(5):
            await connection.publish(completed(), MESSAGE, "key")
    async with asyncio.timeout(PATIENCE):
        while open_sockets() > sockets or len(asyncio.all_tasks()) > tasks:
            await asyncio.sleep(0)


def open_sockets() -> int:
    """How many sockets this process has."""
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the listing's own
            continue
    return sum(link.startswith("socket:") for link in links)


# RabbitMQ alone


async def test_an_unroutable_message_is_no_success_until_a_queue_is_there(rabbitmq: brokers.Broker) -> None:
    goal = RabbitMqTarget(rabbitmq)
    outcome = await attempt(goal.options())
    what = f"returned the message: the default exchange has no queue for the routing key '{goal.name}'"
    assert_retried(outcome, what, "unroutable")
    await goal.create()
    assert (await attempt(goal.options())).state == "succeeded"
    assert len(await goal.stored()) == 1


async def test_an_exchange_routes_by_the_source_and_the_type(rabbitmq: brokers.Broker) -> None:
    goal = RabbitMqTarget(rabbitmq)
    await goal.create()
    async with await goal.connection() as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(f"{goal.name}-events", "topic", durable=True)
        await (await channel.get_queue(goal.name)).bind(exchange, "tts.*.job.completed")
    options = {"url": rabbitmq.url(), "exchange": exchange.name, "routing_key": "tts.{source}.{type}"}
    outcome = await attempt(options)
    assert outcome.state == "succeeded", outcome.error
    assert outcome.result["routing_key"] == "tts.test.job.completed"
    assert len(await goal.stored()) == 1
    outcome = await attempt(options | {"routing_key": "other.{type}"})
    assert_retried(outcome, "has no queue for the routing key 'other.job.completed'", "unroutable")


async def test_a_missing_exchange_is_named(rabbitmq: brokers.Broker) -> None:
    outcome = await attempt({"url": rabbitmq.url(), "exchange": "nowhere", "routing_key": "tts"})
    assert_retried(outcome, "refused the message: NOT_FOUND - no exchange 'nowhere'", "not_published")


async def test_a_message_that_a_full_queue_refuses_is_no_success(rabbitmq: brokers.Broker) -> None:
    goal = RabbitMqTarget(rabbitmq)
    goal.arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    await goal.create()
    assert (await attempt(goal.options(), completed("job-1"))).state == "succeeded"
    outcome = await attempt(goal.options(), completed("job-2"))
    assert_retried(outcome, r"refused the message \(nack\): a queue is full", "not_published")
    assert len(await goal.stored()) == 1


async def test_a_message_is_persistent_and_has_the_properties_that_consumers_use(rabbitmq: brokers.Broker) -> None:
    goal = RabbitMqTarget(rabbitmq)
    await goal.create()
    event = completed("job-1")
    assert (await attempt(goal.options(), event)).state == "succeeded"
    async with await goal.connection() as connection:
        queue = await (await connection.channel()).get_queue(goal.name)
        message = await queue.get()
        assert message.delivery_mode == 2
        assert message.message_id == message.correlation_id == f"{event.id}:publish"
        assert message.app_id == "tts-receiver"
