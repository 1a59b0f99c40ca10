"""`--json` of every command has a schema in the API's document, and what a real process prints is valid by it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import typer.main

from receiver.cli.commands import COMMANDS, build
from receiver.web.api import command_models, setup_models
from receiver.web.api.openapi import document
from receiver.web.api.routes import ROUTES
from tests.acceptance.support import (
    API_KEY,
    SOURCE,
    Provider,
    Server,
    Site,
    clean_environment,
    completed,
    deliver,
    signed_headers,
    until,
)
from tests.acceptance.wrong_provider import FILE, Stub, fresh, says
from tests.patience import PATIENCE

SPEECH = f"--source {SOURCE} --voice alloy"
SEPARATION = "--source finevoice --path /v1/audio/separation --data song.json"
MORE = '[plugins]\ndirectory = "plugins"\n[search]\nmetadata = ["customer"]\n'
HANDLER = """
from receiver import JobCompleted, Reject, handler


@handler(on=JobCompleted)
def refuses(event, ctx):
    raise Reject("It is refused.", reason="by_the_test")
"""
DOCS = Path(__file__).parents[2] / "docs"
QUOTED = re.compile("`([^`]+)`")
OF_PROVIDERS: dict[str, tuple[tuple[str, str], ...]] = {
    "webhook register": (
        (f"--source {SOURCE} --url https://tts.example.com/webhooks/{SOURCE}", "WebhookRegistration"),
    ),
    "webhook test": ((f"--source {SOURCE}", "WebhookTest"),),
    "webhook rotate": ((f"--source {SOURCE} --url https://tts.example.com/webhooks/{SOURCE}", "WebhookRegistration"),),
    "voices": ((f"--source {SOURCE}", "VoiceList"),),
    "speech": (
        (f"Hello. {SPEECH} -o hello.wav", "SpeechResult"),
        (f"[fail] {SPEECH}", "SpeechResult"),
        (f"Later. {SPEECH} --no-wait", "Job"),
        (f"--file texts.txt {SPEECH}", "SpeechBatch"),
    ),
    "task submit": (
        (f"{SEPARATION} -o stems.mp3", "SpeechResult"),
        (f"{SEPARATION} --no-wait", "Job"),
    ),
    "simulate": (("--port 0", "SimulatedProviders"),),
    "sources test": (("", "SourceTestList"),),
}
OF_THE_STORE: dict[str, tuple[tuple[str, str], ...]] = {
    "status": (("", "Status"),),
    "audit": (("", "AudioAudit"),),
    "events list": (("", "EventPage"), ("--limit 1", "EventPage"), ("--metadata customer=acme", "EventPage")),
    "events show": (("EVENT", "EventDetail"),),
    "events tail": (("--after FIRST", "Event"),),
    "runs list": (("", "RunPage"), ("--error-text refused", "RunPage")),
    "runs errors": (("", "RunErrors"), ("--state cancelled", "RunErrors")),
    "jobs list": (("", "JobPage"),),
    "jobs watch": ((f"--source {SOURCE} elsewhere another", "JobPage"),),
    "usage": (("", "UsageList"), ("--since 2d", "UsageList")),
    "jobs show": (("elsewhere", "Job"),),
    "jobs poll": (("elsewhere", "Job"),),
    "jobs cancel": (("elsewhere", "Job"),),
    "changes list": (("", "ChangePage"),),
    "operations list": (("", "BulkOperationPage"),),
    "processes list": (("", "ProcessList"),),
    "users sessions": (("", "ConsoleSessionList"),),
    "handlers list": (("", "HandlerList"),),
    "handlers match": (("--event EVENT", "HandlerMatchList"),),
    "sources list": (("", "SourceList"),),
}
OF_AN_ACCOUNT = (("usage", "--balance", "BalanceList"), ("speech", f"Hello. {SPEECH} --estimate", "SpeechEstimate"))
"""They ask a service that says what an account has left."""
CASES = OF_PROVIDERS | OF_THE_STORE
"""Every command that has `--json`: arguments, and the schema of what it prints."""
ENDLESS = ("simulate", "events tail")
"""They print a document a line, until they are stopped."""
FAILING = ("status", "audit", "[fail]")
"""Exit 1: a run is dead, its event has no audio, and a job fails."""


def with_json(command: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """The commands that have the option."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from with_json(inner, (*path, name))
    if any("--json" in parameter.opts for parameter in command.params):
        yield " ".join(path)


def test_no_command_is_forgotten() -> None:
    line: Any = typer.main.get_command(build())
    for name in COMMANDS:
        line.load(name)
    assert set(with_json(line)) == {*CASES}


def test_the_reference_names_the_schema_of_each_and_the_fields_that_the_api_does_not_have() -> None:
    section = (DOCS / "reference" / "cli.md").read_text().partition("\n## JSON\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ", 1) for line in section.splitlines() if line.startswith("| `")]
    documented = {name: set(QUOTED.findall(cells)) for names, cells in rows for name in QUOTED.findall(names)}
    for command, cases in CASES.items():
        assert {schema for _, schema in cases} <= documented[command], command
    text = (DOCS / "reference" / "cli.md").read_text()
    for model in (*setup_models.OF_COMMANDS, *command_models.OF_COMMANDS):
        assert model.__name__ in documented, model
        for name in vars(model).get("__annotations__", {}):
            assert f"`{name}`" in text, (model, name)


@pytest.fixture
def receiver(site: Site, provider: Provider) -> Server:
    """A receiver whose handler rejects, of a provider whose jobs end soon; the webhook is registered."""
    provider.sim.settings = replace(provider.sim.settings, job_seconds=0.05)
    site.plugin("refuses", HANDLER)
    (site.folder / "texts.txt").write_text("One.\nTwo.\n")
    (site.folder / "song.json").write_text('{"url": "https://example.com/song.mp3"}')
    another = (
        '[sources.finevoice]\nprovider = "finevoice"\nallow_private_addresses = true\n'
        f'base_url = "{provider.sim.base_urls["finevoice"]}"\napi_key = "{provider.sim.api_keys["finevoice"]}"\n'
    )
    fresh(site, provider.sim.base_url, f'{FILE}\napi_key = "{API_KEY}"\n{another}{MORE}')
    words = ("webhook register", *OF_PROVIDERS["webhook register"][0])
    validate(site, *words, token=provider.sim.id_token)
    server = site.start()
    provider.sim.webhook_url = f"{server.public}/webhooks/{SOURCE}"
    return server


def test_what_commands_of_a_provider_print_is_valid(site: Site, provider: Provider, receiver: Server) -> None:
    for command, cases in OF_PROVIDERS.items():
        for arguments, schema in cases if command != "webhook register" else ():
            validate(site, command, arguments, schema, token=provider.sim.id_token)


def test_what_commands_of_the_store_print_is_valid(site: Site, receiver: Server) -> None:
    for number in range(2):
        body = completed(f"job-{number}", metadata={"customer": "acme"})
        answer = deliver(receiver.public, body, signed_headers(body))
        assert answer is not None
        assert answer[0] == 202
    until("both runs are dead", lambda: len(site.rows("SELECT * FROM runs WHERE state = 'dead'")) == 2)
    first, event = (row["id"] for row in site.rows("SELECT id FROM events ORDER BY id"))
    for command, cases in OF_THE_STORE.items():
        for arguments, schema in cases:
            validate(site, command, arguments.replace("EVENT", event).replace("FIRST", first), schema)


def test_what_commands_of_an_account_print_is_valid(site: Site, stub: Callable[[Callable[[Any], None]], Stub]) -> None:
    tables = "\n".join(f'{name} = {{ path = "/{name}", value = "credits" }}' for name in ("balance", "estimate"))
    site.configure(base_url=stub(says(200, b'{"credits": -1.25}')).url, source=tables)
    for command, arguments, schema in OF_AN_ACCOUNT:
        validate(site, command, arguments, schema)


def validate(site: Site, command: str, arguments: str, schema: str, token: str = "") -> None:
    """Run a command, and validate what it prints."""
    words = [*command.split(), *arguments.split(), "--json"]
    if command in ENDLESS:
        text = first_line(site, words)
    else:
        done = site.command(*words, AITTS_ID_TOKEN=token)
        failing = any(word in f"{command} {arguments}" for word in FAILING)
        assert (done.returncode == 1) == failing, (words, done.stdout, done.stderr)
        text = done.stdout
    schemas = document(ROUTES, tokens=False)["components"]
    try:
        jsonschema_rs.validate({"$ref": f"#/components/schemas/{schema}", "components": schemas}, json.loads(text))
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{' '.join(words)}: {error}\n{text}") from None


def first_line(site: Site, words: list[str]) -> str:
    """The first line of a command that does not end, which is stopped then."""
    environment = clean_environment(TTS_RECEIVER_CONFIG=str(site.config))
    with subprocess.Popen(
        [sys.executable, "-m", "receiver", *words], stdout=subprocess.PIPE, cwd=site.folder, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            return process.stdout.readline().decode()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(PATIENCE)
