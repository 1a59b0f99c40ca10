"""A part file whose bytes are partly in memory: nothing is lost at its end, and what it counts is true."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from receiver.outbound.part import PartialDownload, ResumeMetadata

KNOWN = ResumeMetadata('"v1"', 100)


def part_at(folder: Path) -> PartialDownload:
    return PartialDownload.open(folder / "spool" / "aitts-j-0.part")


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_is_held_in_memory_counts_and_is_kept_when_the_part_is_closed(tmp_path: Path) -> None:
    part = part_at(tmp_path)
    part.set_metadata(KNOWN)
    part.write(b"one")
    part.buffer(b"two")
    assert (part.size, part.buffered, part.path.read_bytes()) == (6, 3, b"one")
    part.close()
    again = part_at(tmp_path)
    assert (again.size, again.buffered, again.metadata, again.path.read_bytes()) == (6, 0, KNOWN, b"onetwo")
    again.close()


@pytest.mark.parametrize("step", [lambda part: part.flush(), lambda part: part.write(b""), lambda part: part.save()])
def test_what_is_held_is_written_before_anything_else_is_done_with_the_file(tmp_path: Path, step: object) -> None:
    part = part_at(tmp_path)
    part.buffer(b"held")
    assert callable(step)
    step(part)
    assert (part.buffered, part.path.read_bytes(), part.head(9)) == (0, b"held", b"held")
    part.close()


def test_a_part_that_begins_again_has_nothing_of_what_was_held(tmp_path: Path) -> None:
    part = part_at(tmp_path)
    part.buffer(b"old")
    part.reset(KNOWN)
    part.buffer(b"new!")
    part.flush()
    assert (part.size, part.path.read_bytes()) == (4, b"new!")
    part.finish()
    assert part.closed
    assert not part.path.exists()


def test_bytes_that_the_disk_does_not_take_are_not_counted(tmp_path: Path) -> None:
    part = part_at(tmp_path)
    part.set_metadata(KNOWN)
    part.write(b"1234")
    with no_file_larger_than(6):
        part.buffer(b"5678")
        with pytest.raises(OSError, match="too large"):
            part.flush()
    assert (part.size, part.buffered, part.path.read_bytes()) == (6, 0, b"123456")
    part.close()
    again = part_at(tmp_path)
    assert again.size == 6
    again.close()
