"""A night on call: the page's commands on a store with planted trouble print what the page shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.night import AUDIO, REPLAY, STATUS, run, tasks
from benchmarks.night_store import DEAD, Night, night

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "work-a-night-on-call.md"
EVENTS = 5_000


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    with night(folder / "site", f"sqlite:///{folder}/receiver.db", EVENTS) as it:
        yield it


def shown() -> list[tuple[list[str], str]]:
    """The words of each command on the page, and the pattern of what it prints; `…` stands for what differs."""
    blocks = re.findall(r"^```text\n\$ tts-receiver (.*?)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [(words.split(), re.escape(text.strip()).replace("…", ".*")) for words, text in blocks]


def test_each_task_is_one_command_that_fits_80_columns_and_prints_what_the_page_shows(found: Night) -> None:
    done = tasks(found)
    assert [line for one in done for line in one.wide] == []
    assert [words for words, _ in shown()] == [STATUS, AUDIO, REPLAY]
    for one, (_, pattern) in zip(done, shown(), strict=False):
        assert re.fullmatch(pattern, one.text.strip()), one.text


def test_a_replay_that_waits_says_which_runs_failed_again(found: Night) -> None:
    failed = run(found.site.folder, ["runs", "replay", "--reason", "no_order", "--wait", "--yes"])
    assert failed.code == 1
    assert f"\nRuns: {DEAD['no_order']} dead.\nWhy: tts-receiver runs errors --state dead\n" in failed.text


def test_a_replay_does_not_wait_for_a_receiver_that_does_not_run(found: Night) -> None:
    found.site.servers[-1].stop()
    failed = run(found.site.folder, ["runs", "replay", "--reason", "no_order", "--wait", "--yes"])
    assert failed.code == 1
    assert "\nRuns: none ended.\nNo receiver is running; the next one starts the others.\n" in failed.text
