"""`users`: hashes of passwords that can be used; sessions that are listed and ended."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.model.password_hash import hash_problem, verify_password
from receiver.store import audit, sessions
from receiver.store.audit import AuditFilter
from receiver.store.sessions import SessionRow
from tests.patience import PATIENCE
from tests.stores import open_store

PASSWORD = "correct horse battery"


def hashed(text: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, for a password in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "receiver", "users", "hash"], input=text, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_hash_of_a_password_in_a_pipe_is_the_only_line_of_the_output() -> None:
    code, out, err = hashed(f"{PASSWORD}\nanother line\n")
    assert code == 0
    hash = out.removesuffix("\n")
    assert hash_problem(hash) is None
    assert verify_password(PASSWORD, hash)
    assert f'password_hash = "{hash}"' in err
    assert "console__users__NAME__password_hash" in err
    assert PASSWORD not in out + err


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "fewer than 12"),
        ("short\n", "fewer than 12"),
        ("x" * 3000 + "\n", "more than 1024"),
        ("\x03" * 12, "control"),
    ],
)
def test_a_password_that_cannot_be_used_prints_nothing_but_why(text: str, why: str) -> None:
    code, out, err = hashed(text)
    assert (code, out) == (1, "")
    assert why in err
    assert "Traceback" not in err


def typed(*lines: str) -> tuple[int, str]:
    """The exit code, and all that a terminal shows, when these lines are typed at the prompts."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-m", "receiver", "users", "hash"])
    shown = b""
    waiting = list(lines)
    try:
        while True:
            if waiting and shown.count(b": ") > len(lines) - len(waiting):
                os.write(terminal, waiting.pop(0).encode() + b"\n")
            shown += os.read(terminal, 4096)
    except OSError:  # the command has ended
        pass
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.timeout(PATIENCE)
def test_a_terminal_is_asked_twice_and_shows_no_password() -> None:
    code, shown = typed(PASSWORD, PASSWORD)
    assert code == 0
    assert "Password: " in shown
    assert "The same again: " in shown
    assert "$argon2id$" in shown
    assert PASSWORD not in shown


@pytest.mark.timeout(PATIENCE)
@pytest.mark.parametrize(
    ("lines", "why"), [((PASSWORD, PASSWORD + "!"), "The two passwords differ"), (("short",), "fewer than 12")]
)
def test_a_terminal_is_told_why_a_password_is_refused(lines: Sequence[str], why: str) -> None:
    code, shown = typed(*lines)
    assert code == 1
    assert why in shown
    assert "$argon2id$" not in shown


ANNAS, BENS = "ab" * 32, "abac" + "0" * 60


@pytest.fixture
def two_sessions(store: Path) -> Path:
    """One of a user of the configuration, one of a token that it no longer has, and one that is idle."""
    hash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
    with Path("receiver.toml").open("a") as file:
        file.write(f'[console.users.anna]\npassword_hash = "{hash}"\n')
    now = time.time()
    database = open_store(store)
    for id, actor, kind, seen_at in (
        (ANNAS, "anna", "user", now),
        (BENS, "shop\x1b", "token", now),
        ("f" * 64, "anna", "user", now - 86_400),
    ):
        row = SessionRow(
            id=id, actor=actor, kind=kind, credential="mac", created_at=now, seen_at=seen_at, expires_at=now + 3600
        )
        database.transact(sessions.create, row)
    database.close()
    return store


def run(*words: str) -> tuple[int, str]:
    """The exit code, and all that is printed."""
    done = CliRunner().invoke(build(), ["users", *words])
    return done.exit_code, done.output


def test_sessions_that_are_valid_are_listed_without_what_they_are_worth(two_sessions: Path) -> None:
    code, text = run("sessions")
    assert code == 0
    assert ANNAS[:12] in text
    assert "anna (user)" in text
    assert "ended: not configured" in text
    assert "Sessions: 2" in text
    assert "\x1b" not in text
    assert "mac" not in text
    items = json.loads(run("sessions", "--json")[1])["items"]
    assert {(item["id"], item["configured"]) for item in items} == {(ANNAS, True), (BENS, False)}


def test_a_session_is_ended_by_the_beginning_of_its_id_and_that_is_recorded(two_sessions: Path) -> None:
    assert run("revoke", ANNAS[:12]) == (0, "Ended: 1.\n")
    assert ANNAS[:12] not in run("sessions")[1]
    database = open_store(two_sessions)
    (entry,) = database.query(audit.list_entries, AuditFilter(), 9)
    database.close()
    assert (entry["operation"], entry["changed"], entry["filter"]) == ("revoke_sessions", 1, {"sessions": [ANNAS]})


def test_all_sessions_of_a_user_are_ended(two_sessions: Path) -> None:
    assert run("revoke", "--user", "anna") == (0, "Ended: 2.\n")
    assert "Sessions: 1" in run("sessions")[1]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        ((), 2, "Name sessions, or a user"),
        (("abababab", "--user", "anna"), 2, "Name sessions, or a user"),
        (("ab",), 2, "8 or more of its first digits"),
        (("",), 2, "8 or more of its first digits"),
        (("%" * 9,), 2, "8 or more of its first digits"),
        (("0" * 64,), 1, "There is no session"),
        (("--user", "nobody"), 1, "There is no session of nobody"),
    ],
)
def test_a_session_that_is_not_named_exactly_is_not_ended(
    two_sessions: Path, words: tuple[str, ...], code: int, why: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "receiver", "users", "revoke", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert why in " ".join(done.stderr.replace("│", " ").split())
    assert "Sessions: 2" in run("sessions")[1]
