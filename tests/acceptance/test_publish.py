"""A real receiver publishes to real brokers; both are killed, and every run succeeds once its message is stored."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from tests import brokers
from tests.acceptance.support import Site, completed, deliver
from tests.integration.publish_support import NatsTarget, RedisTarget

BURST = 20


def test_events_are_published_once_the_broker_is_back_and_after_the_receiver_was_killed(
    site: Site, tmp_path: Path
) -> None:
    with (
        brokers.running(brokers.Nats, tmp_path / "nats") as nats,
        brokers.running(brokers.Redis, tmp_path / "redis") as redis,
    ):
        stream = NatsTarget(nats, name="tts")
        asyncio.run(stream.create())
        common = 'use = "publish"\naudio = "none"'
        site.configure(
            handlers=f'[handlers.queue]\n{common}\nurl = "{nats.url()}"\nsubject = "tts.{{type}}"\n'
            f'[handlers.stream]\n{common}\nurl = "{redis.url()}"\nstream = "tts:test"\n'
        )
        server = site.start()

        def delivered(job: str) -> str:
            answer = deliver(server.public, completed(job))
            assert answer is not None
            assert answer[0] == 202
            return str(answer[1]["event"])

        def wait_until_published(events: list[str]) -> None:
            for event in events:
                site.wait_for_state(event, "queue", "succeeded")
                site.wait_for_state(event, "stream", "succeeded")

        events = [delivered("job-1")]
        wait_until_published(events)
        result = site.run_of(events[0], "queue")["result"]
        assert (result["subject"], result["sequence"], result["duplicate"]) == ("tts.job.completed", 1, False)

        nats.kill()
        redis.kill()
        events.append(delivered("job-2"))
        for handler, broker in (("queue", nats), ("stream", redis)):
            run = site.wait_for_state(events[1], handler, "pending")
            while run["error"] is None:  # pending before its first attempt, too
                run = site.run_of(events[1], handler)
            assert f"at 127.0.0.1:{broker.port}" in run["error"]
        nats.start()
        redis.start()
        wait_until_published(events)

        events += [delivered(f"job-{number}") for number in range(3, 3 + BURST)]
        server.kill()  # some are published, and their runs are not recorded as such
        server = site.start()
        wait_until_published(events)

        in_nats = Counter(message.id for message in asyncio.run(stream.stored()))
        assert in_nats == Counter(f"{event}:queue" for event in events)  # JetStream drops repetitions
        in_redis = Counter(message.id for message in asyncio.run(RedisTarget(redis, name="tts").stored()))
        assert set(in_redis) == {f"{event}:stream" for event in events}

        assert server.stop() == 0
        written = site.everything_written() + json.dumps(site.rows("SELECT * FROM runs"), default=str)
        for secret in (brokers.PASSWORD, quote(brokers.PASSWORD, safe="")):
            assert secret not in written
