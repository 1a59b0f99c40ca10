"""`events edit`, as an operator uses it beside a running receiver: with an editor, and from a script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.support import Server, Site, completed, deliver, signed_headers, until

pytestmark = pytest.mark.sqlite

HAND_OVER = """
from receiver import JobCompleted, Reject, handler

@handler(on=JobCompleted)
def hand_over(event, ctx):
    if "order" not in event.metadata:
        raise Reject("The job carries no order number.", reason="no_order")
    return {"order": event.metadata["order"], "origin": event.origin, "edited_from": event.edited_from}
"""
ADD_ORDER = """#!/bin/sh
ls -l "$2" > mode
sed -i 's/"customer": "acme"/"customer": "acme",\\n    "order": '"$1"/ "$2"
"""


@pytest.fixture
def server(site: Site) -> Server:
    site.plugin("hand_over", HAND_OVER)
    return site.configure('[plugins]\ndirectory = "plugins"', handlers="[handlers.log]").start()


@pytest.fixture
def rejected(site: Site, server: Server) -> str:
    """The id of an event that a handler rejected."""
    body = completed("job-1", metadata={"customer": "acme"})
    answer: Any = deliver(server.public, body, signed_headers(body))
    id: str = answer[1]["event"]
    until("the runs have ended", lambda: runs_of(site, id) == {"hand_over": "dead", "log": "succeeded"})
    return id


def shown(site: Site, id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(site.command("events", "show", id, "--json").stdout)
    return found


def runs_of(site: Site, id: str) -> dict[str, str]:
    return {run["handler"]: run["state"] for run in shown(site, id)["runs"]}


def editor(site: Site, text: str) -> Path:
    file = site.folder / "editor.sh"
    file.write_text(text)
    file.chmod(0o755)
    return file


def count(site: Site) -> int:
    return len(json.loads(site.command("events", "list", "--json").stdout)["items"])


def test_an_event_is_edited_in_an_editor_and_its_handlers_run(site: Site, rejected: str) -> None:
    file = editor(site, ADD_ORDER)
    # VISUAL is preferred, and may have arguments
    done = site.command("events", "edit", rejected[:20], "--yes", VISUAL=f"'{file}' 7", EDITOR="false")
    assert done.returncode == 0, done.stderr
    assert '+    "order": 7' in done.stdout.splitlines()
    made = re.findall(r"^(evt_[0-9a-f]{32}): log, hand_over$", done.stdout, re.MULTILINE)
    assert len(made) == 1
    assert "Runs due: 2" in done.stdout
    assert (site.folder / "mode").read_text().startswith("-rw-------")
    until("the runs have ended", lambda: runs_of(site, made[0]) == {"hand_over": "succeeded", "log": "succeeded"})
    results = {run["handler"]: run["result"] for run in shown(site, made[0])["runs"]}
    assert results["hand_over"] == {"order": 7, "origin": "edited", "edited_from": rejected}
    assert runs_of(site, rejected) == {"hand_over": "dead", "log": "succeeded"}
    listed = json.loads(site.command("events", "list", "--origin", "edited", "--json").stdout)["items"]
    assert [item["id"] for item in listed] == made
    assert re.search(rf"^edited_from +{rejected}$", site.command("events", "show", made[0]).stdout, re.MULTILINE)
    assert re.search(rf"^edited_to +{made[0]}$", site.command("events", "show", rejected).stdout, re.MULTILINE)
    [entry] = json.loads(site.command("changes", "list", "--operation", "edit", "--json").stdout)["items"]
    assert (entry["filter"], entry["detail"]) == ({"event": rejected}, f"Made {made[0]}; changed: metadata.order.")


def test_an_event_is_edited_by_a_script(site: Site, rejected: str) -> None:
    edited = {**shown(site, rejected)["payload"], "metadata": {"order": 8}}
    (site.folder / "payload.json").write_text(json.dumps(edited))
    done = site.command("events", "edit", rejected, "--payload", "payload.json", "--handler", "hand_over", "--yes")
    assert done.returncode == 0, done.stderr
    [made] = re.findall(r"^(evt_[0-9a-f]{32}): hand_over$", done.stdout, re.MULTILINE)
    until("the runs have ended", lambda: runs_of(site, made) == {"hand_over": "succeeded"})
    piped = site.command("events", "edit", made, "--payload", "-", "--yes", stdin=json.dumps({"n": 1}).encode())
    assert piped.returncode == 0, piped.stderr
    assert shown(site, made)["edited_to"] == re.findall(r"^(evt_[0-9a-f]{32}): ", piped.stdout, re.MULTILINE)


def test_an_edit_that_fails_changes_nothing(site: Site, rejected: str) -> None:
    for visual, words, code in (
        ("true", "Nothing was edited: the payload is that of evt_", 0),
        ("false", "The editor 'false' ended with 1. Nothing was changed.", 1),
        ("no-such-editor", "The editor 'no-such-editor' cannot be started", 1),
        ("'", "cannot be started: No closing quotation", 1),
        ("", "There is no editor: set VISUAL or EDITOR", 2),
        ("sed -i s/{//", "The payload cannot be used: The body is not JSON", 2),
        ("sed -i -e 1i[ -e $a]", "The payload cannot be used: The body is JSON, but not an object.", 2),
    ):
        done = site.command("events", "edit", rejected, "--yes", VISUAL=visual, EDITOR="")
        assert words in done.stdout + done.stderr
        assert done.returncode == code, visual
    assert count(site) == 1


def test_a_change_is_confirmed_and_names_are_checked(site: Site, rejected: str) -> None:
    unconfirmed = site.command("events", "edit", rejected, "--payload", "-", stdin=b'{"n": 1}')
    assert unconfirmed.returncode == 2
    assert f"Make a new event of {rejected}, and run log, hand_over?" in unconfirmed.stderr
    wrong = site.command("events", "edit", rejected, "--payload", "-", "--handler", "hand_ovr", "--yes", stdin=b"{}")
    assert (wrong.returncode, "did you mean 'hand_over'?" in wrong.stderr) == (1, True)
    missing = site.command("events", "edit", rejected, "--payload", "none.json", "--yes")
    assert (missing.returncode, "none.json cannot be read" in missing.stderr) == (2, True)
    long = site.command(
        "events", "edit", rejected, "--payload", "-", "--yes", stdin=b'{"n": "%s"}' % (b"x" * 1_048_576)
    )
    assert (long.returncode, "longer than server.max_body_bytes" in long.stderr) == (2, True)
    assert count(site) == 1
