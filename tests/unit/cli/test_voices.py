"""The table of voices: what there is to know of each, on a terminal of eighty columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from receiver.cli import output
from receiver.cli.lists import Format, print_rows
from receiver.cli.voices import voices_listing
from receiver.model.redact import Redactor
from receiver.providers.types import Voice

CAPABILITIES = {"provider": "google", "tier": "premium", "supports_ssml": True, "supports_multispeaker": True}
CHIRP = Voice("en-US-Chirp3-HD-Achernar", language="en-US", gender="female", details=CAPABILITIES)
ALLOY = Voice("alloy", language="en-US", details={"provider": "openai", "tier": 3, "supports_ssml": "yes"})


def shown(monkeypatch: pytest.MonkeyPatch, source: str, voices: list[Voice]) -> list[str]:
    """The lines on a terminal of eighty columns."""
    screen = io.StringIO()
    monkeypatch.setattr(output, "terminal", lambda: Console(file=screen, width=80))
    print_rows(voices_listing(source, voices, Redactor()), voices, Format.TABLE)
    return screen.getvalue().splitlines()


def test_provider_tier_and_what_a_voice_can_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, "aitts", [CHIRP, ALLOY])
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["id", "language", "gender", "provider", "tier", "can"]
    assert lines[1].split() == ["en-US-Chirp3-HD-Achernar", "en-US", "female", "google", "premium", "ssml,", "multi"]
    assert lines[2].split() == ["alloy", "en-US", "–", "openai", "3", "–"]


@pytest.mark.parametrize("id_", ["a-voice-of-thirty-one-characters", "x" * 150])
def test_an_id_is_whole_however_much_there_is_beside_it(monkeypatch: pytest.MonkeyPatch, id_: str) -> None:
    voice = Voice(id_, "A name of some length", "en-US", "female", "ultra", CAPABILITIES)
    assert shown(monkeypatch, "aitts", [voice])[1].split()[0] == id_


def test_columns_of_which_nothing_is_known_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, "miragic", [Voice("alloy"), Voice("dan")]) == ["id", "alloy", "dan"]


def test_control_characters_of_a_provider_do_not_reach_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = shown(monkeypatch, "aitts", [Voice("a", details={"provider": "\x1b[2Jred", "tier": "[bold]x[/]"})])
    assert "\x1b" not in "".join(lines)
    assert "[bold]x[/]" in lines[1]
