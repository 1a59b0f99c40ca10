"""Commands that list and change what was submitted with certain metadata, and the search in errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from receiver.cli.commands import build
from receiver.store import error_search
from tests.stores import open_store
from tests.unit.cli.conftest import add_events


@pytest.fixture
def ids(store: Path) -> list[str]:
    """Six dead events; every second one is acme's."""
    ids = add_events(store, 6)
    database = open_store(store)

    def fill(connection: object) -> None:
        for n, id_ in enumerate(ids):
            metadata = json.dumps({"metadata": {"customer": "acme" if n % 2 else "globex", "part": n}})
            values = {"id": id_, "payload": metadata, "error": f"Connection refused by host {n}"}
            execute = connection.execute  # type: ignore[attr-defined]
            execute(text("UPDATE events SET payload = :payload WHERE id = :id"), values)
            execute(
                text("UPDATE runs SET state = 'dead', error = :error, finished_at = 1 WHERE event_id = :id"), values
            )

    database.transact(fill)
    database.close()
    with Path("receiver.toml").open("a") as file:
        file.write('[search]\nmetadata = ["customer", "part"]\n')
    assert said("db", "index-metadata").stdout == (
        "Indexed by customer, part: 6 events, 0 jobs. Lists find them with --metadata.\n"
    )
    return ids


def said(*words: str) -> Result:
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 0, done.output
    return done


def refused(*words: str) -> str:
    done = CliRunner().invoke(build(), words)
    assert done.exit_code == 1
    return str(done.exception)


def test_lists_and_changes_have_what_has_all_pairs_alone(ids: list[str]) -> None:
    acme = ("--metadata", "customer=acme")
    rows = json.loads(said("events", "list", *acme, "--json").stdout)["items"]
    assert [row["id"] for row in rows] == ids[5::-2]
    assert [row["event_id"] for row in json.loads(said("runs", "list", *acme, "--json").stdout)["items"]] == ids[5::-2]
    assert json.loads(said("jobs", "list", *acme, "--json").stdout)["items"] == []
    assert "Dead runs: 3, in 1 group\n" in said("runs", "errors", *acme).stderr
    replayed = said("runs", "replay", *acme, "--metadata", "part=3", "--state", "dead", "--yes").stdout
    assert replayed.splitlines()[0] == "Matching runs: 1."
    assert said("runs", "cancel", *acme, "--yes").stdout.splitlines()[-1] == "Runs cancelled: 1."
    replayed = said("events", "replay", *acme, "--yes").stdout.splitlines()
    assert replayed[:-1] == ["Matching events: 3.", *(f"{id_}: log" for id_ in ids[1::2])]
    changes = json.loads(said("changes", "list", "--json").stdout)["items"]
    assert changes[0]["filter"]["metadata"] == ["customer=acme"]


def test_the_newest_event_that_matches_is_shown(ids: list[str]) -> None:
    shown = said("events", "show", "--metadata", "customer=acme", "--metadata", "part=3", "--json")
    assert (json.loads(shown.stdout)["id"], shown.stderr) == (ids[3], "")
    shown = said("events", "show", "--metadata", "customer=acme")
    assert ids[5] in shown.stdout
    assert '{"customer": "acme", "part": 5}' in shown.stdout
    assert (
        shown.stderr
        == "This is the newest event of several; `tts-receiver events list` with the same options has the others.\n"
    )
    assert json.loads(said("events", "show", "--job", "job-2", "--json").stdout)["id"] == ids[2]
    assert refused("events", "show", "--metadata", "customer=none").startswith("No event matches.")


def test_a_key_that_is_almost_one_is_suggested(ids: list[str]) -> None:
    assert "Metadata is not indexed by 'custmer'; did you mean 'customer'?" in refused(
        "events", "list", "--metadata", "custmer=acme"
    )


def test_without_a_configured_key_nothing_is_listed_nor_indexed(store: Path) -> None:
    assert refused("jobs", "list", "--metadata", "customer=acme") == (
        "Metadata is not indexed by 'customer': add it to search.metadata, restart the receiver, then run "
        "`tts-receiver db index-metadata`."
    )
    assert "search.metadata names no key" in refused("db", "index-metadata")


def test_a_search_in_errors_says_how_far_it_came_and_continues(ids: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = said("runs", "list", "--error-text", "REFUSED host", "--metadata", "customer=acme").stderr
    assert whole.splitlines()[-1] == "The errors of all 3 matching dead runs were read."
    monkeypatch.setattr(error_search, "MAX_EXAMINED", 4)
    part = said("runs", "list", "--error-text", "refused 1", "--json")
    assert json.loads(part.stdout)["items"] == []
    assert part.stderr == (
        "The errors of 4 dead runs were read, back to 2027-01-15 08:00:02Z. To continue, repeat it with "
        f"--before {ids[2]}.\n"
    )
    rest = said("runs", "list", "--error-text", "refused 1", "--before", ids[2], "--json")
    assert [row["event_id"] for row in json.loads(rest.stdout)["items"]] == [ids[1]]
    assert rest.stderr == "The errors of all 2 matching dead runs were read.\n"
