"""Disks after a power cut: rebuilt from a recording, opened, and checked.

At a moment the disk may have any subset of what was not synced. With few changes all subsets are tried; with more,
nothing and everything, all but one, one alone, everything up to one, and others at random. A last page may be torn.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from receiver.outbound.part import PartialDownload
from receiver.store.database import Database
from receiver.store.migrate import migrate
from tests.power_cuts.disk import SECTOR, Change
from tests.power_cuts.recording import Recording
from tests.power_cuts.replay import Replay
from tests.stores import open_store, query, require_sound

STORE, AUDIO = Path("data/receiver.db"), Path("data/audio")
SPOOL = AUDIO / ".spool"
ALL_SUBSETS = 4
"""With so many changes at the most, all subsets are tried."""


@dataclass
class Report:
    """What was tried, and what was wrong: sentences."""

    moments: int = 0
    images: int = 0
    torn: int = 0
    acknowledged: int = 0
    files: int = 0
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.images} disks after a power cut at {self.moments} moments, {self.torn} with a torn page, up to "
            f"{self.acknowledged} acknowledged deliveries, {self.files} audio files; {len(self.problems)} problems"
        )


def subsets(pending: Sequence[Change], rng: random.Random) -> Iterator[list[Change]]:
    """Which of the pending changes may be on the disk: without an end, but for few changes."""
    if len(pending) <= ALL_SUBSETS:
        for size in range(len(pending) + 1):
            yield from map(list, itertools.combinations(pending, size))
        yield from _torn(pending)
        return
    yield []
    yield list(pending)
    yield from _torn(pending)
    while True:
        at = rng.randrange(len(pending))
        yield [change for change in pending if change is not pending[at]]
        yield list(pending[:at])
        yield [pending[at]]
        yield [change for change in pending if rng.random() < 0.5]


def _torn(pending: Sequence[Change]) -> Iterator[list[Change]]:
    """All changes, the last write with its first sectors only."""
    for index in range(len(pending) - 1, -1, -1):
        sectors = len(pending[index].data or b"") // SECTOR
        if sectors:
            yield [*pending[:index], pending[index].torn(sectors // 2), *pending[index + 1 :]]
            return


def try_images(
    recording: Recording, folder: Path, moments: int, for_each: int, seed: int, kind: type[Replay] = Replay
) -> Report:
    """Check up to `for_each` disks at each of so many moments, spread over the run.

    Args:
        folder: for the disks, one at a time.
    """
    rng = random.Random(seed)
    steps = sum(1 for _ in kind(recording.root).steps(recording.calls()))
    chosen = set(range(steps)) if steps <= moments else set(rng.sample(range(steps), moments))
    replay, report = kind(recording.root), Report()
    for number, call in enumerate(replay.steps(recording.calls())):
        if number not in chosen:
            continue
        report.moments += 1
        for kept in itertools.islice(subsets(replay.disk.pending, rng), for_each):
            report.images += 1
            report.torn += any(change not in replay.disk.pending for change in kept)
            image = _build(replay.disk.image(kept), folder)
            where = f"after {call.name} at {call.ended}, {len(kept)} of {len(replay.disk.pending)} changes kept"
            try:
                found = check(image, recording, replay.acknowledged)
            except Exception as error:  # noqa: BLE001 - whatever a broken disk causes is what is searched for
                found = [f"{type(error).__name__}: {error}"]
            report.problems += [f"{where}: {problem}" for problem in found]
        report.acknowledged = len(replay.acknowledged)
        report.files = len(recording.audio)
    return report


def _build(files: dict[str, bytes], folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        if not name.endswith("-shm"):  # mapped, never synced, and made anew by the process that opens the store first
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


def check(image: Path, recording: Recording, acknowledged: set[str]) -> list[str]:
    """What is wrong on this disk."""
    problems = check_files(image, recording)
    if not (image / STORE).exists():
        return [*problems, *(f"{id} is lost with the store" for id in acknowledged)]
    database = open_store(image / STORE)
    try:
        migrate(database)  # as at the next start
        return [*problems, *check_store(database, image, recording, acknowledged)]
    finally:
        database.close()


def check_store(database: Database, image: Path, recording: Recording, acknowledged: set[str]) -> list[str]:
    """Every acknowledged delivery is there with its runs, and every file that a row names is."""
    require_sound(image / STORE)
    runs = {row["event_id"] for row in query(database, "SELECT event_id FROM runs")}
    stored = {row["id"]: row["job_id"] for row in query(database, "SELECT id, job_id FROM events")}
    problems = [f"{id} was acknowledged and is lost" for id in sorted(acknowledged - stored.keys())]
    problems += [f"{id} has no run" for id in sorted(stored.keys() - runs)]
    for row in query(database, "SELECT event_id, address, sha256 FROM artifacts"):
        path = image / Path(row["address"]).relative_to(recording.root)
        if not path.exists() or _sha256(path) != row["sha256"]:
            problems.append(f"{row['address']} is not the whole file, though its row is there")
        if row["sha256"] != recording.audio[stored[row["event_id"]]]:
            problems.append(f"{row['address']} has another checksum than the provider's file")
    return problems


def check_files(image: Path, recording: Recording) -> list[str]:
    """No file has a final name and not its whole content; no part counts bytes that it does not have."""
    problems = []
    for path in sorted((image / AUDIO).rglob("*")):
        final = path.is_file() and image / SPOOL not in path.parents
        if final and _sha256(path) not in recording.audio.values():
            problems.append(f"{path.relative_to(image)} is not whole")
    for path in sorted((image / SPOOL).glob("*.part")):
        part = PartialDownload.open(path)
        try:
            if part.complete and _sha256(path) not in recording.audio.values():
                problems.append(f"{path.name} counts as complete, and is not")
        finally:
            part.close()
    return problems


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
