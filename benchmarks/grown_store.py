"""Build a large store: many finished events with their runs, attempts and jobs, and a few unfinished ones.

Run it as `python -P benchmarks/grown_store.py FILE EVENTS` with the checkout to measure as `PYTHONPATH`: its code and
schema create the store. So this file imports only `receiver`, and only names that earlier releases have too.

Events and jobs are stored as in a receiver, by `inbox.accept`. Runs are ended by one statement per transaction:
claiming each would read every body again, which takes longer than everything else.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Text, insert, literal, select, update

from receiver.model.delivery import Delivery
from receiver.model.ids import event_id, new_job_id, new_submit_key
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.inbox import accept
from receiver.store.migrate import migrate
from receiver.store.schema import attempts, jobs, runs

SOURCES = ("aitts", "studio", "archive", "voices")
HANDLERS = ("note_start", "publish")
DAYS = 20
"""The events were received during this number of days, until now."""
UNFINISHED = {"open": 100, "dead": 100, "quarantined": 50}
"""Unfinished events of each kind, the same number in every store."""
UNKNOWN_JOBS, WATCHED_JOBS = 20, 200

_TRANSACTION = 20_000
_BATCH = 2_000
"""Deliveries in one call of `accept`: SQLite allows 32,766 values in a statement."""
_DAY_SECONDS = 86_400.0
_CACHE_KIB = 200_000


@dataclass(frozen=True)
class _New:
    """An event to store, and the watched job that it ends, if any."""

    delivery: Delivery
    kind: str
    job: dict[str, Any] | None


def build(path: Path, count: int) -> None:
    """Build the store at `path` with `count` events."""
    rng = random.Random(9)  # so that each store is the same
    database = Database(backend_of(f"sqlite:///{path}", path.parent))
    migrate(database)
    now = time.time()
    events = _events(rng, count, now)
    while batch := list(islice(events, _TRANSACTION)):
        database.transact(_store, batch, now)
    database.transact(_open_jobs, rng, now)
    database.close()


def _events(rng: random.Random, count: int, now: float) -> Iterator[_New]:
    unfinished = [kind for kind, number in UNFINISHED.items() for _ in range(number)]
    rng.shuffle(unfinished)
    kinds = {number * count // len(unfinished): kind for number, kind in enumerate(unfinished)}
    begin = now - DAYS * _DAY_SECONDS
    for number in range(count):
        at = begin + (now - 60 - begin) * number / count
        yield _event(rng, at, SOURCES[number % len(SOURCES)], kinds.get(number, "done"))


def _event(rng: random.Random, at: float, source: str, kind: str) -> _New:
    draw = rng.random()
    type_ = "job.completed" if draw < 0.9 else "job.failed" if draw < 0.98 else "voice.ready"
    job = str(new_submit_key(rng.getrandbits(128)))
    payload = {
        "status": type_.partition(".")[2],
        "audio_endpoint": f"/api/v1/tts/{job}/audio",
        "audio_url": f"https://storage.example/{job}.wav?X-Goog-Expires=86400&X-Goog-Signature={rng.randbytes(32).hex()}",
        "audio_url_expires_at": "2026-11-22T09:00:00.000Z",
        "chars_charged": rng.randrange(1000),
        "metadata": {"episode": str(rng.randrange(100)), "user": "benchmark"},
    }
    body = json.dumps({"event": type_, "created_at": at, "data": {"job_id": job, **payload}}).encode()
    signature = rng.randbytes(32).hex()
    delivery = Delivery(
        event_id=event_id(at, rng.getrandbits(74)),
        source=source,
        type=type_,
        key=hashlib.sha256(body).hexdigest() if type_ == "voice.ready" else job,
        job_id=job,
        origin="webhook",
        payload=json.dumps(payload),
        body=body,
        headers=json.dumps(
            [
                ["content-type", "application/json"],
                ["user-agent", "AI-TTS-Webhooks/1.0 (+https://example.com/webhooks)"],
                ["x-tts-event", type_],
                ["x-tts-delivery-id", job],
                ["x-tts-signature", f"t={int(at)},v1={signature}"],
            ]
        ),
        key_id="first",
        skew=0.5,
        received_at=at,
        handlers=HANDLERS if draw < 0.3 else HANDLERS[:1],
        quarantined=kind == "quarantined",
    )
    delivery = Delivery(*delivery[:-1], False)  # records no use of the key; earlier releases name this field otherwise
    watched = _job(rng, at - 60, source, job) if draw < 0.2 and kind != "quarantined" else None
    return _New(delivery, kind, watched)


def _job(rng: random.Random, at: float, source: str, job_id: str | None) -> dict[str, Any]:
    """A watched job. Half of them were submitted through the receiver."""
    submitted = job_id is None or rng.random() < 0.5
    return {
        "id": new_job_id(at, rng.getrandbits(74)),
        "source": source,
        "job_id": job_id,
        "state": "watching",
        "created_at": at,
        "due_at": at + _DAY_SECONDS,
        "deadline_at": at + 30 * _DAY_SECONDS,
        "wait_seconds": _DAY_SECONDS,
        "request": {"text": "A story. " * 20, "voice": "narrator", "output_format": "wav"} if submitted else None,
        "submit_key": new_submit_key(rng.getrandbits(128)) if submitted else None,
        "polls": 3,
    }


def _store(connection: Connection, batch: list[_New], now: float) -> None:
    connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KIB}")
    watched = [new.job for new in batch if new.job is not None]
    if watched:
        connection.execute(insert(jobs), watched)
    for start in range(0, len(batch), _BATCH):
        accept(connection, [new.delivery for new in batch[start : start + _BATCH]])
    _end_runs(connection, batch, now)


def _end_runs(connection: Connection, batch: list[_New], now: float) -> None:
    ids = {kind: [new.delivery.event_id for new in batch if new.kind == kind] for kind in UNFINISHED}
    in_batch = runs.c.event_id.between(batch[0].delivery.event_id, batch[-1].delivery.event_id)
    later = {"due_at": now + 2 * _DAY_SECONDS, "wait_seconds": 2 * _DAY_SECONDS}
    connection.execute(update(runs).where(in_batch, runs.c.event_id.in_(ids["open"])).values(attempt=1, **later))
    worked = {"attempt": 1, "started_at": runs.c.due_at + 0.01, "finished_at": runs.c.due_at + 1}
    connection.execute(
        update(runs)
        .where(in_batch, runs.c.event_id.in_(ids["dead"]))
        .values(state="dead", error="publish: 500 Internal Server Error", **worked)
    )
    result = {"path": "/srv/audio/a-long-story.wav", "sha256": "0a" * 32, "bytes": 1_234_567, "seconds": 25.7}
    connection.execute(
        update(runs)
        .where(in_batch, runs.c.state == "pending", runs.c.event_id.not_in(ids["open"]))
        .values(state="succeeded", result=result, **worked)
    )
    columns = [
        runs.c.event_id, runs.c.handler, runs.c.attempt, runs.c.started_at, runs.c.finished_at,
        literal("succeeded", Text), runs.c.error,
    ]  # fmt: skip
    ended = select(*columns).where(in_batch, runs.c.finished_at.is_not(None))
    connection.execute(
        insert(attempts).from_select(
            ["event_id", "handler", "number", "started", "ended", "outcome", "error"], ended
        )
    )  # fmt: skip


def _open_jobs(connection: Connection, rng: random.Random, now: float) -> None:
    """Add jobs that are watched, and some that are unknown."""
    for number in range(WATCHED_JOBS):
        job = _job(rng, now - number, SOURCES[number % len(SOURCES)], f"watched-{number}")
        connection.execute(insert(jobs).values(job))
    for number in range(UNKNOWN_JOBS):
        job = _job(rng, now - number * _DAY_SECONDS / 2, SOURCES[number % len(SOURCES)], None)
        connection.execute(insert(jobs).values(job | {"state": "unknown", "submits": 1, "ended_at": now}))


if __name__ == "__main__":
    build(Path(sys.argv[1]), int(sys.argv[2]))
