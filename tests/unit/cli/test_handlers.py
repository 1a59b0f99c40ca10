"""`handlers list`, `handlers match` and `check` show the conditions of handlers, and why an event is not for one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.delivery import Delivery
from receiver.model.ids import event_id
from receiver.store import inbox, views
from tests.stores import open_store
from tests.unit.cli.conftest import NOW

HANDLERS = """
[handlers.log]
[handlers.acme]
use = "log"
where = { source = "aitts", metadata = { customer = ["acme", "acme-*"] } }
[handlers.save_audio]
"""


@pytest.fixture
def event(store: Path) -> str:
    """The id of a failed job's event of another customer, whose name is hostile, beside the handlers above."""
    config = store.parent / "receiver.toml"
    config.write_text(config.read_text().replace("[handlers.log]", HANDLERS))
    return add(store, 1, {"customer": "glo\x1b[2Jbex"})


def add(store: Path, number: int, metadata: Any) -> str:
    database = open_store(store)
    made = Delivery(
        event_id=event_id(NOW, number), source="aitts", type="job.failed", key=f"job-{number}", job_id=f"job-{number}",
        origin="poll", payload=json.dumps({"status": "failed", "metadata": metadata}), body=b"{}", headers="[]",
        key_id=None, skew=None, received_at=NOW, handlers=("log",),
    )  # fmt: skip
    database.transact(inbox.accept, [made])
    database.close()
    return made.event_id


def printed(*words: str) -> str:
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 0, done.output
    return done.output


def refused(*words: str) -> str:
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 1
    return done.output + str(done.exception)


def test_the_list_has_the_conditions(event: str) -> None:
    [line] = [line for line in printed("handlers", "list").splitlines() if "acme" in line]
    assert 'source = "aitts"; metadata.customer = ["acme", "acme-*"]' in line
    assert {row["name"]: row["where"] for row in json.loads(printed("handlers", "list", "--json"))["items"]} == {
        "log": [],
        "acme": [
            {"key": "source", "values": ["aitts"]},
            {"key": "metadata.customer", "values": ["acme", "acme-*"]},
        ],
        "save_audio": [],
    }


def test_check_shows_the_conditions(event: str) -> None:
    lines = printed("check").splitlines()
    [position] = [number for number, line in enumerate(lines) if line.startswith("  handler  acme (")]
    assert lines[position + 1] == '           where source = "aitts"; metadata.customer = ["acme", "acme-*"]'
    assert sum("where" in line for line in lines) == 1


def test_match_says_which_handlers_get_an_event_and_why_the_others_do_not(event: str) -> None:
    shown = CliRunner().invoke(build(), ["handlers", "match", "--event", event[:20]])
    assert shown.stderr == f"Handlers that match {event}: 1 of 3\n"
    rows = {line.split()[0]: line for line in shown.stdout.splitlines()}
    assert rows["log"].split()[1] == "yes"
    assert r'metadata.customer is "glo\u001b[2Jbex", not one of "acme", "acme-*"' in rows["acme"]
    assert 'type is "job.failed", which is no JobCompleted' in rows["save_audio"]


def test_match_as_json_has_the_condition_and_the_events_value(event: str) -> None:
    assert json.loads(printed("handlers", "match", "--event", event, "--json")) == {
        "items": [
            {"handler": "log", "matches": True, "mismatch": None},
            {
                "handler": "acme",
                "matches": False,
                "mismatch": {
                    "key": "metadata.customer",
                    "values": ["acme", "acme-*"],
                    "value": "glo\x1b[2Jbex",
                },
            },
            {
                "handler": "save_audio",
                "matches": False,
                "mismatch": {"key": "on", "values": ["JobCompleted"], "value": "job.failed"},
            },
        ],
        "event_id": event,
    }


def test_match_of_an_event_that_does_not_exist_is_an_error(event: str) -> None:
    assert "There is no event evt_nothing" in refused("handlers", "match", "--event", "evt_nothing")


def test_a_replay_by_filter_to_one_handler_gives_it_only_its_own_events(store: Path, event: str) -> None:
    own = add(store, 2, {"customer": "acme-eu"})
    done = CliRunner().invoke(build(), ["events", "replay", "--source", "aitts", "--handler", "acme", "--yes"])
    assert done.exit_code == 1
    lines = done.output.splitlines()
    values = 'metadata.customer is "glo\\u001b[2Jbex", not one of "acme", "acme-*"'
    assert lines == [
        "Matching events: 2.",
        f"✗ {event} is not for the handler acme: its {values}.",
        f"{own}: acme",
        "Runs due: 1; a running receiver starts them within a second.",
    ]
    database = open_store(store)
    found = [[run["handler"] for run in database.query(views.get_event, id_)["runs"]] for id_ in (event, own)]
    database.close()
    assert found == [["log"], ["acme", "log"]]


def test_check_does_not_blame_conditions_for_a_source_whose_table_is_faulty(store: Path, event: str) -> None:
    config = store.parent / "receiver.toml"
    good = config.read_text()
    config.write_text(good.replace('provider = "aitts"', 'provder = "aitts"'))
    assert "where.source" not in refused("check")
    config.write_text(good.replace('source = "aitts"', 'source = "aits"'))
    assert "✗ handlers.acme.where.source: there is no source 'aits'; did you mean 'aitts'?" in refused("check")


def test_a_condition_that_is_found_faulty_when_the_handler_is_loaded_names_its_variable(
    event: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = "TTS_RECEIVER_HANDLERS__ACME__WHERE__METADATA"
    monkeypatch.setenv(variable, '{"customer":')
    assert (
        'handlers.acme.where.metadata: must be a table of keys of the metadata, such as {customer = "acme"}; '
        f"its text is not JSON: expecting value (character 13) (it comes from the variable {variable})"
    ) in refused("check")


SECRET = "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="
TARGETS = f"""
[handlers.log]
[handlers.acme]
use = "forward"
url = "https://acme.example:8443/hidden-path?token=hidden-query"
secrets = ["{SECRET}"]
where = {{ type = "job.*" }}
[handlers.globex]
use = "forward"
url = "https://globex.example/hidden-path"
secrets = ["{SECRET}"]
"""


def test_the_list_and_check_show_where_a_handler_sends_to(store: Path) -> None:
    config = store.parent / "receiver.toml"
    config.write_text(config.read_text().replace("[handlers.log]", TARGETS))
    assert {row["name"]: row["target"] for row in json.loads(printed("handlers", "list", "--json"))["items"]} == {
        "log": None,
        "acme": "https://acme.example:8443",
        "globex": "https://globex.example",
    }
    listed, checked = printed("handlers", "list"), printed("check")
    assert "https://globex.example" in listed
    lines = checked.splitlines()
    [position] = [number for number, line in enumerate(lines) if line.startswith("  handler  acme (")]
    assert lines[position + 1 : position + 3] == [
        "           sends to https://acme.example:8443",
        '           where type = "job.*"',
    ]
    assert sum("sends to" in line for line in lines) == 2
    assert "hidden" not in listed + checked


def test_check_warns_of_a_type_that_looks_like_a_jobs_and_is_none(store: Path) -> None:
    config = store.parent / "receiver.toml"
    types = ["job.done", "jobs.*", "JOB.completed", "job.*", "job.f*", "test", "*", "jobless", "transcript.ready"]
    where = f"[handlers.log]\nwhere = {{ type = {json.dumps(types)} }}"
    config.write_text(config.read_text().replace("[handlers.log]", where))
    warnings = [line.strip() for line in printed("check").splitlines() if "!" in line and "type" in line]
    assert warnings == [
        f"! no built-in provider has events of the type {type_!r}, only job.completed, job.failed, test"
        for type_ in ("job.done", "jobs.*", "JOB.completed")
    ]
