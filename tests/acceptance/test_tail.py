"""`events tail` prints each new event once, beside a receiver, and ends cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.acceptance.listening import send
from tests.acceptance.support import Site, clean_environment
from tests.patience import PATIENCE
from tests.stores import execute
from tests.unit.cli.conftest import add_events


def started(site: Site, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "receiver", "events", "tail", *words, "--config", str(site.config)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_new_events_are_printed_until_a_signal(site: Site, number: signal.Signals) -> None:
    site.configure()
    assert site.command("db", "upgrade").returncode == 0
    (first, second) = add_events(site.store, 2)
    with started(site, "--json", "--after", first) as command:
        assert command.stdout is not None
        assert json.loads(command.stdout.readline())["id"] == second
        later = add_events(site.store, 3, at=1_800_000_100.0, name="later")
        lines = [json.loads(command.stdout.readline()) for _ in later]
        assert [line["id"] for line in lines] == later
        assert set(lines[0]) >= {"id", "source", "type", "job_id", "received_at"}
        command.send_signal(number)
        rest, said = command.communicate(timeout=PATIENCE)
    assert (command.returncode, rest) == (0, "")
    assert said == f"Stopped. Events: 4. To continue: --after {later[-1]}\n"


def test_only_events_with_the_metadata_are_printed(site: Site) -> None:
    server = site.configure('[search]\nmetadata = ["customer"]').start()
    wanted, _, _ = (send(server, job, metadata={"customer": job}) for job in ("acme", "globex", "initech"))
    with started(site, "--json", "--metadata", "customer=acme", "--after", "evt_" + "0" * 32) as command:
        assert command.stdout is not None
        assert json.loads(command.stdout.readline())["id"] == wanted
        later = send(server, "later", metadata={"customer": "acme"})
        assert json.loads(command.stdout.readline())["id"] == later
        # As by a process whose configuration lacked the key.
        execute(site.store, "UPDATE metadata_keys SET completed_at = NULL")
        send(server, "not indexed", metadata={"customer": "acme"})
        rest, said = command.communicate(timeout=PATIENCE)
    assert (command.returncode, rest) == (1, "")
    assert said.startswith(f"Stopped. Events: 2. To continue: --after {later}\n")
    assert "db index-metadata" in said


def test_a_reader_that_goes_ends_it_quietly(site: Site) -> None:
    site.configure()
    assert site.command("db", "upgrade").returncode == 0
    ids = add_events(site.store, 50)
    with started(site, "--after", ids[0]) as command:
        assert command.stdout is not None
        assert ids[1] in command.stdout.readline()
        os.close(os.dup(command.stdout.fileno()))
        command.stdout.close()
        add_events(site.store, 1, at=1_800_000_100.0, name="later")
        assert command.wait(PATIENCE) == 1
        assert command.stderr is not None
        assert command.stderr.read() == ""
