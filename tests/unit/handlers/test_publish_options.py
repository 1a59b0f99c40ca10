"""The options of `publish`: which belong to which broker, and which names an event can bring about."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import Context, Event, PluginError, handler
from receiver.testing import make_event, run_handler
from tests.patience import PATIENCE

pytest.importorskip("faststream", reason='the extra is not installed: pip install "tts-receiver[publish]"')

from handlers._publish_options import MAX_NAME_BYTES, PublishOptions, fill

PASSWORD = "correct-horse-battery"
NATS_URL = f"nats://publisher:{PASSWORD}@127.0.0.1:4222"
RABBIT_URL = f"amqp://publisher:{PASSWORD}@127.0.0.1/"
REDIS_URL = f"redis://:{PASSWORD}@127.0.0.1/0"


@handler(on=Event, options=PublishOptions)
async def options_of(event: Event, ctx: Context[PublishOptions]) -> str:
    return ctx.options.target


def refusal(**options: Any) -> str:
    with pytest.raises(PluginError) as raised:
        run_handler(options_of, make_event("test", None), options=options)
    assert PASSWORD not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("options", "server"),
    [
        ({"url": RABBIT_URL, "routing_key": "speech"}, "RabbitMQ at 127.0.0.1:5672"),
        ({"url": "amqps://u:p@mq.example/vhost", "exchange": "events"}, "RabbitMQ at mq.example:5671"),
        ({"url": NATS_URL, "subject": "tts.{source}.{type}"}, "NATS at 127.0.0.1:4222"),
        ({"url": "tls://token@nats.example", "subject": "tts"}, "NATS at nats.example:4222"),
        ({"url": REDIS_URL, "stream": "tts", "max_length": 1000}, "Redis at 127.0.0.1:6379"),
        ({"url": "rediss://[::1]:7000", "stream": "tts"}, "Redis at [::1]:7000"),
    ],
)
def test_the_address_says_which_broker_it_is(options: dict[str, Any], server: str) -> None:
    assert run_handler(options_of, make_event("test", None), options=options).result == server


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({}, "url"),
        ({"url": f"kafka://u:{PASSWORD}@host:9092"}, "url: .*begins with none of amqp://, amqps://, nats://"),
        ({"url": PASSWORD}, "url: .*begins with none of"),
        ({"url": f"amqp://u:{PASSWORD}@/", "routing_key": "q"}, "url: .*has no host, as in amqp://host:5672"),
        ({"url": f"nats://u:{PASSWORD}@host:port", "subject": "tts"}, "url: .*is not an address"),
        ({"url": f"redis://u:{PASSWORD}@host:99999", "stream": "tts"}, "url: .*is not an address"),
        ({"url": RABBIT_URL}, r"RabbitMQ needs routing_key \(the queue's name\), or exchange"),
        ({"url": NATS_URL}, "NATS needs subject"),
        ({"url": REDIS_URL}, "Redis needs stream"),
        ({"url": RABBIT_URL, "routing_key": "q", "subject": "tts"}, "subject is not an option for RabbitMQ, which has"),
        ({"url": NATS_URL, "subject": "tts", "stream": "tts"}, "stream is not an option for NATS, which has subject"),
        ({"url": REDIS_URL, "stream": "tts", "exchange": "x"}, "exchange is not an option for Redis"),
        ({"url": NATS_URL, "subject": "tts", "max_length": 5}, "max_length is not an option for NATS"),
        ({"url": REDIS_URL, "stream": "tts", "max_length": 0}, "max_length: .*greater than or equal to 1"),
        ({"url": NATS_URL, "subject": "tts.{job_id}"}, "subject: .*{job_id} is not replaced by anything; {source} and"),
        ({"url": NATS_URL, "subject": "tts.{type"}, "subject: .*{ is not replaced by anything"),
        ({"url": NATS_URL, "subject": "tts.>"}, "subject: .*contains a space or a wildcard"),
        ({"url": NATS_URL, "subject": "tts. x"}, "subject: .*contains a space or a wildcard"),
        ({"url": NATS_URL, "subject": "$JS.API.STREAM.DELETE.TTS"}, "subject: .*begins like a subject of the server"),
        ({"url": NATS_URL, "subject": "tts..x"}, "subject: .*has an empty part"),
        ({"url": RABBIT_URL, "routing_key": "q" * 256}, "routing_key: .*can have more than 255 bytes"),
        ({"url": RABBIT_URL, "routing-key": "q"}, "routing-key is not an option of it"),
        ({"url": NATS_URL, "subject": "tts", "tls": {"ca": "ca.pem"}}, "its table tls has no effect.*SSL_CERT_FILE"),
        ({"url": NATS_URL, "subject": "tts", "audio": "signed-url"}, "audio: .*needs an object storage"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error_at_startup_that_names_the_key(options: dict[str, Any], what: str) -> None:
    assert re.search(what, refusal(**options))


def test_a_name_has_the_source_and_the_type_of_the_event() -> None:
    assert fill("tts.{source}.{type}", make_event("job.completed", source="aitts")) == "tts.aitts.job.completed"


@given(st.text(max_size=300))
def test_an_event_type_from_outside_names_no_wildcard_and_no_subject_of_the_server(type: str) -> None:
    event = make_event(type, None)
    for template in ("{type}", "tts.{type}", "tts.{type}.x"):
        name = fill(template, event)
        assert re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", name)
        assert len(name.encode()) <= MAX_NAME_BYTES
        assert not name.startswith("$")


def test_two_values_in_a_long_name_stay_within_the_limit_of_amqp() -> None:
    assert "can have more than 255 bytes" in refusal(url=RABBIT_URL, routing_key="x" * 200 + "{source}{type}")


WITHOUT_THE_EXTRA = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("faststream", "aio_pika", "nats", "redis"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from pathlib import Path
from receiver.engine.plugins import load_registry
from receiver.errors import ConfigError
from receiver.settings import load

for file in sys.argv[1:]:
    try:
        print(sorted(load_registry(load(Path(file))).active))
    except ConfigError as error:
        print(error)
"""


def test_without_the_extra_only_the_handler_that_needs_it_is_refused_with_the_command_that_installs_it(
    tmp_path: Path,
) -> None:
    files = []
    for name, handlers in {
        "with": f'[handlers.publish]\nurl = "{NATS_URL}"\nsubject = "tts"\n',
        "without": "[handlers.save_audio]\n[handlers.log]\n",
    }.items():
        file = tmp_path / f"{name}.toml"
        file.write_text(f'[sources.aitts]\nprovider = "aitts"\napi_key = "tts_0123456789abcdef"\n{handlers}')
        file.chmod(0o600)
        files.append(str(file))
    command = [sys.executable, "-c", WITHOUT_THE_EXTRA, *files]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE).stdout
    refused, loaded = said.splitlines()
    assert refused.startswith("handlers.publish: url: the extra is not installed")
    assert 'pip install "tts-receiver[publish]"' in refused
    assert PASSWORD not in said
    assert loaded == "['log', 'save_audio']"
