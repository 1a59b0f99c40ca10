"""`top` in a real terminal of 80x24: it keeps current, fits any size, and leaves the terminal as it was."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from receiver.store import rollups
from receiver.store.rollups import Kind, Series
from tests.acceptance.support import Site, until
from tests.acceptance.terminal import Terminal, fits
from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.stores import execute, open_store
from tests.unit.cli.conftest import add_events

OFTEN = ("top", "--interval", "0.5")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


@pytest.fixture
def address(postgresql: PostgresqlServer) -> Iterator[str]:
    name = postgresql.create()
    yield postgresql.url(name)
    postgresql.drop(name)


@pytest.fixture
def watched(site: Site) -> Site:
    """A site whose store has three pending runs."""
    site.configure()
    assert site.command("db", "upgrade").returncode == 0
    add_events(site.store, 3)
    return site


def shows(terminal: Terminal, *texts: str) -> list[str]:
    """The screen, once every text is on it."""
    until(f"the screen shows {texts}", lambda: all(text in "\n".join(terminal.screen()) for text in texts))
    return terminal.screen()


def count(site: Site, ago: float, kind: Kind, name: str, label: str, number: int) -> None:
    database = open_store(site.store)
    at = (time.time() - ago) // 60 * 60
    database.transact(rollups.add, [(at, {Series(kind, name, label): number})])
    database.close()


def test_the_overview_keeps_current(watched: Site, terminal: Terminal) -> None:
    for ago in (90, 600, 1800):
        count(watched, ago, Kind.DELIVERIES, "aitts", "accepted", 1200)
    count(watched, 600, Kind.DELIVERIES, "aitts", "mismatch", 40)
    count(watched, 600, Kind.RUNS, "log", "succeeded", 7)
    with terminal.run(watched.folder, *OFTEN) as process:
        screen = shows(terminal, "3 pending, 0 running, 0 dead")
        assert screen[0].startswith("✗ No receiver is running")
        assert screen[1].strip().startswith("tts-receiver serve")
        assert len(screen) == 24
        assert fits(screen, 80, 24), screen
        [accepted] = [line for line in screen if line.startswith("accepted")]
        assert accepted.count("█") == 3
        [refused] = [line for line in screen if line.startswith("refused")]
        assert refused.count("█") == 1
        [handler] = [line.split() for line in screen if line.startswith("log")]
        assert handler[:4] == ["log", "3", "0", "0"]
        assert any(line.startswith("aitts") for line in screen)
        execute(watched.store, "UPDATE runs SET state = 'dead', finished_at = 9, error = 'E', reason = 'no_such_voice'")
        screen = shows(terminal, "0 pending, 0 running, 3 dead")
        add_events(watched.store, 1, at=1_800_000_100.0, name="later")
        shows(terminal, "1 pending, 0 running, 3 dead")
        terminal.type(b"q")
        assert process.wait(PATIENCE) == 0
    assert terminal.is_restored()


@pytest.mark.parametrize("end", [b"\x03", signal.SIGTERM, signal.SIGHUP], ids=["Ctrl-C", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_it_and_the_terminal_is_restored(
    watched: Site, terminal: Terminal, end: bytes | signal.Signals
) -> None:
    with terminal.run(watched.folder, *OFTEN) as process:
        shows(terminal, "3 pending")
        assert not terminal.is_restored()
        if isinstance(end, bytes):
            terminal.type(end)
        else:
            process.send_signal(end)
        assert process.wait(PATIENCE) == 0
    assert terminal.is_restored()
    assert b"Traceback" not in terminal.written


def test_another_size_is_drawn_at_once(watched: Site, terminal: Terminal) -> None:
    with terminal.run(watched.folder, "top", "--interval", "3600") as process:
        shows(terminal, "3 pending")
        for columns, lines in ((40, 12), (20, 3), (132, 50), (1, 1)):
            terminal.resize(columns, lines)
            until(f"it fits {columns}x{lines}", lambda size=(columns, lines): _fills(terminal, *size))  # type: ignore[misc]
        terminal.type(b"q")
        assert process.wait(PATIENCE) == 0


def _fills(terminal: Terminal, columns: int, lines: int) -> bool:
    return len(terminal.screen()) == lines and fits(terminal.screen(), columns, lines)


def test_a_store_that_goes_away_is_read_again_when_it_is_back(watched: Site, terminal: Terminal) -> None:
    away = watched.folder / "away"
    with terminal.run(watched.folder, *OFTEN) as process:
        shows(terminal, "3 pending")
        watched.store.parent.rename(away)
        screen = shows(terminal, "Not read since")
        assert fits(screen, 80, 24)
        assert "3 pending" in "\n".join(screen)
        assert not watched.store.parent.exists()
        add_events(away / watched.store.name, 2, at=1_800_000_100.0, name="later")
        away.rename(watched.store.parent)
        screen = shows(terminal, "5 pending")
        assert "Not read since" not in screen[0]
        # Another file at the same path, as after a restore.
        other = Site(watched.folder / "other").configure()
        assert other.command("db", "upgrade").returncode == 0
        os.replace(other.store, watched.store)
        shows(terminal, "0 pending")
        terminal.type(b"Q")
        assert process.wait(PATIENCE) == 0
    assert terminal.is_restored()


def test_ctrl_z_gives_the_terminal_back_until_it_is_continued(watched: Site, terminal: Terminal) -> None:
    with terminal.run(watched.folder, *OFTEN) as process:
        shows(terminal, "3 pending")
        terminal.type(b"\x1a")
        until("it is stopped", lambda: os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)[0] == process.pid)
        assert terminal.is_restored()
        add_events(watched.store, 1, at=1_800_000_100.0, name="later")
        process.send_signal(signal.SIGCONT)
        shows(terminal, "4 pending")
        assert not terminal.is_restored()
        terminal.type(b"q")
        assert process.wait(PATIENCE) == 0
    assert terminal.is_restored()


def test_without_a_terminal_it_prints_one_frame_or_nothing(watched: Site) -> None:
    refused = watched.command("top")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--once prints one frame" in refused.stderr
    once = watched.command("top", "--once")
    assert once.returncode == 0
    assert fits(once.stdout.splitlines(), 80, 24)
    assert "3 pending" in once.stdout
    assert "\x1b" not in once.stdout
    watched.store.unlink()
    gone = watched.command("top", "--once")
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "There is no store" in gone.stderr


@pytest.mark.parametrize("fault", ["killed", "hangs"])
def test_a_server_that_fails_is_read_again_when_it_is_back(
    site: Site, terminal: Terminal, address: str, postgresql: PostgresqlServer, fault: str
) -> None:
    site.configure(f'[store]\nurl = "{address}"')
    assert site.command("db", "upgrade").returncode == 0
    with terminal.run(site.folder, *OFTEN) as process:
        shows(terminal, "0 pending")
        if fault == "killed":
            postgresql.kill()
            shows(terminal, "Not read since", "0 pending")
            postgresql.start()
        else:
            with postgresql.hanging():
                shows(terminal, "The store has not answered yet", "0 pending")
        shows(terminal, "✗ No receiver is running")
        with postgresql.hanging():
            shows(terminal, "The store has not answered yet")
            terminal.type(b"q")
            assert process.wait(PATIENCE) == 0
    assert terminal.is_restored()
