"""The question before a change: what is said when the answer is no."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys

import pytest
import typer

from receiver.cli.output import confirm


def test_a_declined_question_says_that_nothing_was_changed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    controller, terminal = pty.openpty()
    try:
        os.write(controller, b"n\n")
        with open(terminal) as answers:
            monkeypatch.setattr(sys, "stdin", answers)
            with pytest.raises(typer.Exit) as ended:
                confirm("Replay 3 runs?", yes=False)
    finally:
        os.close(controller)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "Nothing was changed.\n"


ASK = """
import typer
from receiver.cli.output import confirm
try:
    confirm("Replay 3 runs?", yes=False)
except typer.Exit as ended:
    raise SystemExit(ended.exit_code)
"""


def test_an_interrupted_question_says_so_as_well_and_ends_as_other_commands_do() -> None:
    controller, terminal = pty.openpty()
    try:
        asking = subprocess.Popen(
            [sys.executable, "-uc", ASK], stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert asking.stdout is not None
        assert asking.stdout.read(len("Replay 3 runs?")) == "Replay 3 runs?"
        asking.send_signal(signal.SIGINT)
        _, said = asking.communicate(timeout=60)
    finally:
        os.close(controller)
        os.close(terminal)
    assert asking.returncode == 130
    assert said == "\nNothing was changed.\n"
