"""`publish` to a Redis stream: what only Redis can answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from receiver.testing import completed
from tests import brokers
from tests.integration.publish_support import RedisTarget, assert_retried, attempt, started

pytest.importorskip("faststream", reason='the extra is not installed: pip install "tts-receiver[publish]"')

from handlers._message import Message
from handlers._publish_options import PublishOptions
from handlers.publish import connect

MESSAGE = Message(body=b'{"specversion": "1.0"}', content_type="application/cloudevents+json")

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Broker]:
    yield from started(brokers.Redis, tmp_path_factory)


async def test_a_redis_stream_keeps_at_least_as_many_entries_as_it_should(redis: brokers.Broker) -> None:
    goal = RedisTarget(redis)
    async with connect(PublishOptions(**goal.options(max_length=50))) as connection:
        for number in range(250):
            await connection.publish(completed(), MESSAGE, f"key-{number}")
    stored = await goal.stored()
    assert 50 <= len(stored) < 250
    assert stored[-1].id == "key-249"


async def test_a_key_that_is_no_stream_is_named_as_such(redis: brokers.Broker) -> None:
    goal = RedisTarget(redis)
    async with goal.client() as client:
        await client.set(f"{goal.name}:test", "text")
    outcome = await attempt(goal.options())
    assert_retried(outcome, "refused the message: WRONGTYPE", "not_published")


async def test_a_redis_that_may_use_no_more_memory_is_no_success(redis: brokers.Broker) -> None:
    goal = RedisTarget(redis)
    async with goal.client() as client:
        await client.config_set("maxmemory", "1")
        try:
            outcome = await attempt(goal.options())
        finally:
            await client.config_set("maxmemory", "0")
    assert_retried(outcome, "refused the message: .*OOM|refused the message: .*maxmemory", "not_published")
    assert (await attempt(goal.options())).state == "succeeded"


async def test_a_user_needs_no_permission_but_to_add_to_the_stream(redis: brokers.Broker) -> None:
    goal = RedisTarget(redis)
    async with goal.client() as client:
        await client.execute_command("ACL", "SETUSER", "writer", "on", ">another-password", "~*", "-@all")
    url = f"redis://writer:another-password@127.0.0.1:{redis.port}/0"
    outcome = await attempt(goal.options(url=url))
    assert_retried(outcome, "refused the message: .*no permissions to run the 'xadd' command", "not_published")
    async with goal.client() as client:
        await client.execute_command("ACL", "SETUSER", "writer", "+xadd")
    assert (await attempt(goal.options(url=url))).state == "succeeded"
