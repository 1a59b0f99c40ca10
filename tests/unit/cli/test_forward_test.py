"""Which handler `forward-test` takes the place of."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.errors import ReceiverError


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("forward-test --handler lgo", "There is no handler 'lgo'; did you mean 'log'?"),
        ("forward-test --handler log", "The handler log does not use forward (none does; without --handler"),
    ],
)
def test_a_handler_that_does_not_forward_is_refused(store: Path, line: str, said: str) -> None:
    answered = CliRunner().invoke(build(), line.split())
    assert isinstance(answered.exception, ReceiverError)
    assert said in str(answered.exception)
