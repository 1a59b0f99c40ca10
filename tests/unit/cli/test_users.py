"""`users hash`: what it prints can be used, and a password that cannot is refused before."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Sequence

import pytest

from receiver.model.password_hash import hash_problem, verify_password
from tests.patience import PATIENCE

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
