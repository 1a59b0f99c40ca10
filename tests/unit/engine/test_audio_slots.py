"""Which downloads may begin."""

from __future__ import annotations

import pytest

from receiver.assembly.receiver import max_concurrent_downloads
from receiver.engine.audio_slots import MAX_DOWNLOADS, DownloadSlots
from receiver.errors import AudioPostponed
from receiver.settings import Settings
from tests.clocks import SetClock


def taken(slots: DownloadSlots, source: str) -> int:
    """How many a source can have."""
    for count in range(1000):
        try:
            slots.take(source, 7.0, 0.5)
        except AudioPostponed:
            return count
    raise AssertionError("there is no end")


@pytest.mark.parametrize("limit", [1, 2, 3, 8, 16, 31, 5000])
@pytest.mark.parametrize("others", [1, 2, 3, 20])
def test_whatever_one_source_holds_there_is_room_for_every_other(limit: int, others: int) -> None:
    names = [f"s{n}" for n in range(others)]
    slots = DownloadSlots(limit, ["slow", *names], SetClock())
    assert 1 <= taken(slots, "slow") <= MAX_DOWNLOADS
    assert all(taken(slots, name) >= 1 for name in names)


@pytest.mark.parametrize(("limit", "all_of_them"), [(1, 1), (16, 16), (5000, MAX_DOWNLOADS)])
def test_a_lone_source_may_have_all(limit: int, all_of_them: int) -> None:
    assert taken(DownloadSlots(limit, ["only"], SetClock()), "only") == all_of_them


def test_what_is_given_back_can_be_taken_again() -> None:
    slots = DownloadSlots(2, ["a", "b"], SetClock())
    slots.take("a", 1.0, 0.5)
    slots.release("a")
    slots.take("a", 1.0, 0.5)
    with pytest.raises(AudioPostponed, match="The source a has 1 downloads in progress") as caught:
        slots.take("a", 7.0, 0.5)
    assert (caught.value.reason, caught.value.after, caught.value.counts) == ("downloads_busy", 1.0, False)


@pytest.mark.parametrize(("stalled", "age", "after"), [(0, 50, 1), (5, 50, 5), (5, 2, 2), (3600, 3600, 60)])
def test_the_wait_is_as_long_as_no_download_has_begun_or_ended(stalled: float, age: float, after: float) -> None:
    clock = SetClock()
    slots = DownloadSlots(3, ["a", "b"], clock)
    for _ in range(2):
        slots.take("a", age, 0.5)
    clock.time = 100.0
    slots.release("a")
    slots.take("a", age, 0.5)
    clock.time += stalled
    with pytest.raises(AudioPostponed) as caught:
        slots.take("a", age, 0.5)
    assert caught.value.after == after


@pytest.mark.parametrize("handlers", [["save_audio"], ["save_audio", "log"], [f"h{n}" for n in range(12)]])
def test_one_of_two_sources_cannot_have_all_runs_of_a_handler(handlers: list[str]) -> None:
    downloads = max_concurrent_downloads(Settings(), handlers)
    assert taken(DownloadSlots(downloads, ["slow", "quick"], SetClock()), "slow") < downloads <= 16
