"""The table of voices: what there is to know of each, on a terminal of eighty columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from receiver.cli import output
from receiver.cli.voices import print_voices
from receiver.providers.types import Voice

CAPABILITIES = {"provider": "google", "tier": "premium", "supports_ssml": True, "supports_multispeaker": True}
CHIRP = Voice("en-US-Chirp3-HD-Achernar", language="en-US", gender="female", details=CAPABILITIES)
ALLOY = Voice("alloy", language="en-US", details={"provider": "openai", "tier": 3, "supports_ssml": "yes"})


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is shown on a terminal of eighty columns."""
    screen = io.StringIO()
    monkeypatch.setattr(output, "console", lambda: Console(file=screen, width=80, highlight=False))
    return screen


def table(screen: io.StringIO) -> list[list[str]]:
    lines = screen.getvalue().splitlines()
    assert max(len(line) for line in lines) <= 80
    return [[cell.strip() for cell in line[1:-1].replace("┃", "│").split("│")] for line in lines if line[0] in "┃│"]


def test_provider_tier_and_what_a_voice_can_are_shown(screen: io.StringIO) -> None:
    print_voices("aitts", [CHIRP, ALLOY])
    head, *rows = table(screen)
    assert head == ["id", "language", "gender", "provider", "tier", "can"]
    assert rows == [
        ["en-US-Chirp3-HD-Achernar", "en-US", "female", "google", "premium", "ssml,"],
        ["", "", "", "", "", "multi"],
        ["alloy", "en-US", "–", "openai", "3", "–"],
    ]


def test_an_id_is_whole_however_much_there_is_beside_it(screen: io.StringIO) -> None:
    voice = Voice("a-voice-of-thirty-one-characters", "A name of some length", "en-US", "female", "ultra", CAPABILITIES)
    print_voices("aitts", [voice])
    assert f"id       {voice.id}" in screen.getvalue().splitlines()


def test_an_id_that_is_very_long_is_folded_and_not_cut(screen: io.StringIO) -> None:
    voice = Voice("x" * 150, language="en-US")
    print_voices("aitts", [voice])
    assert "".join(row[0] for row in table(screen)[1:]) == voice.id


def test_columns_of_which_nothing_is_known_are_left_out(screen: io.StringIO) -> None:
    print_voices("miragic", [Voice("alloy"), Voice("dan")])
    assert table(screen) == [["id"], ["alloy"], ["dan"]]


def test_control_characters_of_a_provider_do_not_reach_the_terminal(screen: io.StringIO) -> None:
    print_voices("aitts", [Voice("a", details={"provider": "\x1b[2Jred", "tier": "[bold]x[/]"})])
    assert "\x1b" not in screen.getvalue()
    assert "[bold]x[/]" in screen.getvalue()
