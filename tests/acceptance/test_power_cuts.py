"""The power is cut: what was acknowledged is on the disk, and no file is half. More of them by `make crash-images`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.power_cuts.disk import Disk, File
from tests.power_cuts.images import try_images
from tests.power_cuts.recording import Recording, is_complete, reason_not_to_record, record
from tests.power_cuts.replay import Replay
from tests.power_cuts.trace import Call, read

SEED = 3


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    if reason := reason_not_to_record():
        pytest.skip(reason)
    return record(tmp_path_factory.mktemp("recording"), 12, SEED)


def test_no_acknowledged_delivery_is_lost_and_no_file_is_half(recording: Recording, tmp_path: Path) -> None:
    report = try_images(recording, tmp_path / "image", 40, 3, SEED)
    assert report.problems == []
    assert report.images > report.moments
    assert report.acknowledged > 0


@pytest.mark.parametrize("number", [812, 9156, 31007])
def test_a_recording_is_complete_once_its_process_exited(number: int) -> None:
    line = f"{number:<5} +++ exited with 0 +++\n"
    assert is_complete(f"77    close(3) = 0\n{line}", number)
    assert not is_complete(f"77    +++ exited with 0 +++\n{number:<5} close(3) = 0\n", number)


class WithoutSync(Replay):
    """A receiver that never waits for the disk."""

    def _fsync(self, call: Call) -> bool:
        return False

    _fdatasync = _fsync


def test_a_receiver_that_does_not_wait_for_the_disk_loses_deliveries(recording: Recording, tmp_path: Path) -> None:
    report = try_images(recording, tmp_path / "image", 10, 1, SEED, WithoutSync)
    assert any("lost" in problem for problem in report.problems)


def test_a_disk_keeps_what_was_synced_and_any_part_of_the_rest() -> None:
    disk, file = Disk(Path("/root")), File()
    disk.rename(1, {"/root/a": file})
    disk.write(2, file, 0, b"one")
    disk.sync(file, 3)
    disk.write(4, file, 3, b"two" + bytes(5000))
    assert disk.image([]) == {}, "its name is not durable"
    assert disk.image(disk.pending[:1]) == {"a": b"one"}
    disk.sync_folder("/root", 5)
    first, second = disk.pending
    assert disk.image([first])["a"] == b"onetwo" + bytes(4090)
    assert disk.image([second])["a"] == b"one" + bytes(5003)
    disk.rename(6, {"/root/b": file, "/root/a": None})
    assert set(disk.image([])) == {"a"}
    assert set(disk.image(disk.pending[-1:])) == {"b"}


def test_calls_of_several_threads_are_read_in_the_order_of_their_ends() -> None:
    lines = [
        "7 fsync(4 <unfinished ...>",
        '8 pwrite64(5, "\\x61\\x62", 2, 8) = 2',
        "7 <... fsync resumed>) = 0",
        "8 fsync(9) = -1 EBADF (Bad file descriptor)",
        "8 +++ exited with 0 +++",
    ]
    write, sync = read(lines)
    assert (write.name, write.number(0), write.number(3), write.ended) == ("pwrite64", 5, 8, 1)
    assert write.data(1) == b"ab"
    assert (sync.name, sync.began, sync.ended) == ("fsync", 0, 2)
