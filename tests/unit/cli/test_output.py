"""Tables on terminals of any width: what an operator copies from them is whole."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from receiver.cli import output

EVENT = "evt_01a1fd82be9571b48465d61c9dfeac4f"
PATH = "/srv/tts/data/audio/aitts/f3973de3-fe89-4035-8929-7ef13c77281d.wav"
COLUMNS = ["event", "handler", "state", "result", "error"]
ROWS = [
    (EVENT, "save_audio", "succeeded", {"address": PATH}, None),
    (EVENT, "hand_over", "dead", None, "The job carries no [bold] order number."),
]


def printed(width: int, monkeypatch: pytest.MonkeyPatch) -> str:
    screen = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=screen, width=width, highlight=False))
    output.print_table("Runs: 2", COLUMNS, ROWS)
    return screen.getvalue()


def test_a_terminal_too_narrow_for_the_table_shows_the_fields_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed(80, monkeypatch).splitlines() == [
        "Runs: 2",
        "",
        f"event   {EVENT}",
        "handler save_audio",
        "state   succeeded",
        f'result  {{"address": "{PATH}"}}',
        "error   –",
        "",
        f"event   {EVENT}",
        "handler hand_over",
        "state   dead",
        "result  –",
        "error   The job carries no [bold] order number.",
    ]


@pytest.mark.parametrize("width", [130, 160, 10_000])
def test_a_table_breaks_no_word(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(width, monkeypatch).splitlines()
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for word in (EVENT, "save_audio", "succeeded", "hand_over", "handler", "number."):
        assert f" {word} " in text


def test_where_there_is_room_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = printed(10_000, monkeypatch)
    assert f'{{"address": "{PATH}"}}' in shown
    assert "The job carries no [bold] order number." in shown
