"""The question before a change: what is said when the answer is no."""

from __future__ import annotations

import os
import pty
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
