"""The last day of a receiver, as rows: events of several customers, runs of several ends, and what was counted."""

from __future__ import annotations

import math
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Table

from receiver.store import schema
from receiver.store.rollups import HOUR, MINUTE, Kind
from tests.stores import Store, insert_rows

CUSTOMERS = ("acme", "northwind", "blue-river-radio", "tidewater", "museum-of-tides")
EVENTS = 260
HOURS = 22
KEY_ID = "key-80196a09"
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Failure:
    """How a run fails for good.

    Attributes:
        every: of how many events one.
        attempts: how many it takes.
    """

    handler: str
    every: int
    kind: str
    reason: str | None
    error: str
    attempts: int


FAILURES = (
    Failure("narrate", 9, "rejected", "no_such_voice", "There is no voice anna.", 1),
    Failure("narrate", 37, "rejected", "no_order", "The job carries no order number.", 1),
    Failure("publish_feed", 23, "ConnectTimeout", None, "feeds.example.com:443 did not answer within 10 s.", 4),
    Failure("publish_feed", 61, "timeout", None, "The attempt took longer than 60 s.", 3),
)


def add_history(store: Store, now: float, seed: int = 7) -> None:
    """Fill an empty store with what came until ten minutes ago."""
    chance = random.Random(seed)
    tables: dict[Table, Rows] = {
        schema.events: [], schema.event_metadata: [], schema.runs: [], schema.attempts: [], schema.artifacts: [],
        schema.jobs: [], schema.rollups: [], schema.audit_entries: [],
    }  # fmt: skip
    begin, step = now - HOURS * 3600, (HOURS * 3600 - 600) / EVENTS
    for number in range(EVENTS):
        _event(tables, chance, number, begin + step * (number + 0.8 * chance.random()))
    _still_open(tables, now)
    tables[schema.rollups] = list(_counted(chance, now))
    tables[schema.audit_entries] = list(_changes(now))
    for table, rows in tables.items():
        insert_rows(store, table, *rows)


def _event(tables: dict[Table, Rows], chance: random.Random, number: int, at: float) -> None:
    failed = number % 29 == 3
    source = ("aitts", "aitts", "studio")[number % 3]
    id = f"evt_{int(at * 1000):012x}{chance.getrandbits(80):020x}"
    job = str(uuid.UUID(int=chance.getrandbits(128), version=4))
    type = "job.failed" if failed else "job.completed"
    customer = chance.choice(CUSTOMERS)
    metadata = {"customer": customer, "episode": str(number % 40 + 1), "order": str(7000 + number)}
    data = {"job_id": job, "status": type[4:], "chars_charged": chance.randrange(200, 9000), "metadata": metadata}
    if failed:
        data["error"] = {"code": "VOICE_UNAVAILABLE", "message": "The voice is not available at the moment."}
    quarantined = number % 120 == 50
    tables[schema.events].append({
        "id": id, "source": source, "type": type, "key": job, "job_id": job, "received_at": at,
        "origin": "poll" if number % 17 == 5 else "webhook", "status": "quarantined" if quarantined else "accepted",
        "key_id": KEY_ID, "skew": round(chance.uniform(0.1, 1.9), 2), "duplicates": int(number % 13 == 0),
        "headers": [["content-type", "application/json"], ["x-tts-event", type]], "payload": data, "body": b"{}",
    })  # fmt: skip
    tables[schema.event_metadata].append({"event_id": id, "key": "customer", "value": customer})
    long = chance.uniform(20, 240)
    times = {"created_at": at - long, "submitted_at": at - long + 0.4, "ended_at": at}
    tables[schema.jobs].append({
        "id": f"job_{int((at - long) * 1000):012x}{chance.getrandbits(80):020x}", "source": source, "job_id": job,
        "state": "failed" if failed else "completed", "due_at": at, "deadline_at": at + 3600, "event_id": id, **times,
        "polls": number % 4, "error": data["error"]["message"] if failed else None,
        "error_code": data["error"]["code"] if failed else None, "submit_key": f"key-{job}", "wait_seconds": 0,
        "request": {"text": f"Episode {number % 40 + 1}.", "voice": "alloy", "metadata": metadata},
    })  # fmt: skip
    if quarantined:
        return
    seconds = chance.uniform(12, 900)
    if not failed and number % 23 != 4:
        tables[schema.artifacts].append({
            "event_id": id, "n": 1, "address": f"/srv/tts/audio/{source}/{job}.mp3", "bytes": int(seconds * 16_000),
            "sha256": f"{chance.getrandbits(256):064x}", "content_type": "audio/mpeg", "format": "mp3",
            "duration": seconds, "sample_rate": 24_000, "channels": 1, "fetched_at": at + 1.2, "fetch_seconds": 0.9,
        })  # fmt: skip
    for handler in ("save_audio", "narrate", "publish_feed")[failed:]:
        failure = next((of for of in FAILURES if of.handler == handler and number % of.every == 4), None)
        _run(tables, chance, id, handler, at, failure)


def _run(
    tables: dict[Table, Rows], chance: random.Random, id: str, handler: str, at: float, failure: Failure | None
) -> None:
    attempts = failure.attempts if failure else 2 if chance.random() < 0.08 else 1
    started = at + chance.uniform(0.02, 0.4)
    for number in range(1, attempts + 1):
        fails = failure is not None or number < attempts
        kind = failure.kind if failure else "ReadTimeout"
        error = failure.error if failure else "No answer within 10 s."
        lasted = 10.0 if "Timeout" in kind and fails else chance.lognormvariate(-1.2, 0.9)
        outcome = "succeeded" if not fails else kind if kind in ("rejected", "timeout") else "failed"
        why = {"error": error, "error_kind": kind, "reason": failure.reason if failure else None} if fails else {}
        tables[schema.attempts].append({
            "event_id": id, "handler": handler, "number": number, "started": started, "ended": started + lasted,
            "outcome": outcome, **dict.fromkeys(("error", "error_kind", "reason")), **why,
        })  # fmt: skip
        ended, started = started + lasted, started + lasted + 8.0 * 3**number
    why = {"error": failure.error, "error_kind": failure.kind, "reason": failure.reason} if failure else {}
    tables[schema.runs].append({
        "event_id": id, "handler": handler, "state": "dead" if failure else "succeeded", "attempt": attempts,
        "due_at": ended, "started_at": ended, "finished_at": ended,
        **dict.fromkeys(("error", "error_kind", "reason")), **why,
    })  # fmt: skip


def _still_open(tables: dict[Table, Rows], now: float) -> None:
    """A job that no answer came for, and one of a source that has been silent for hours."""
    columns = dict.fromkeys(tables[schema.jobs][0])
    for number, (source, state, age) in enumerate((("studio", "unknown", 5000), ("archive", "watching", 5 * 3600))):
        at = now - age
        later = at + 86_400
        tables[schema.jobs].append({
            **columns, "id": f"job_{int(at * 1000):012x}{number:020x}", "source": source, "state": state,
            "job_id": "a1d3c5f7-episode-12" if state == "watching" else None, "created_at": at, "submitted_at": at,
            "due_at": later, "deadline_at": later, "wait_seconds": 86_400, "submit_key": f"key-{number}", "polls": 0,
            "request": {"text": "Episode 12.", "voice": "alloy", "metadata": {"customer": "tidewater"}},
        })  # fmt: skip


def _counted(chance: random.Random, now: float) -> Iterator[dict[str, Any]]:
    """What processes had counted in each minute, and in each hour."""
    sums: Counter[tuple[int, float, str, str, str]] = Counter()

    def count(at: float, kind: Kind, name: str, label: str, amount: int) -> None:
        for seconds in (MINUTE, HOUR):
            sums[seconds, at // seconds * seconds, str(kind), name, label] += amount

    for minute in range(-24 * 60, 0):
        at = (now // MINUTE + minute) * MINUTE
        busy = 1.2 + math.sin((minute + 300) / 1440 * 2 * math.pi)
        for source, share in (("aitts", 9.0), ("studio", 4.0)):
            arrived = max(0, round(chance.gauss(share * busy, 1.6)))
            count(at, Kind.DELIVERIES, source, "accepted", arrived)
            if chance.random() < 0.1:
                count(at, Kind.DELIVERIES, source, "duplicate", 1)
            for handler in ("save_audio", "narrate", "publish_feed"):
                count(at, Kind.RUNS, handler, "succeeded", arrived)
                for _ in range(arrived):
                    lasted = chance.choice(("0.05", "0.1", "0.25", "0.5", "0.5", "1.0", "2.5"))
                    count(at, Kind.RUN_SECONDS, handler, lasted, 1)
        if chance.random() < 0.3 or -220 < minute < -170:
            count(at, Kind.RUNS, "publish_feed", "failed", chance.randrange(1, 6))
        if chance.random() < 0.06:
            count(at, Kind.RUNS, "narrate", "rejected", 1)
        if -460 < minute < -430:
            count(at, Kind.DELIVERIES, "studio", "bad_signature", chance.randrange(1, 5))
        if chance.random() < 0.05:
            count(at, Kind.POLLS, "aitts", "ended", 1)
    for (seconds, at, kind, name, label), amount in sums.items():
        if amount:
            yield {"seconds": seconds, "at": at, "kind": kind, "name": name, "label": label, "count": amount}


def _changes(now: float) -> Iterator[dict[str, Any]]:
    entries: list[tuple[float, str, str, str, int, dict[str, Any]]] = [
        (70_000, "night-shift", "cli", "replay_runs", 214, {"handler": "publish_feed", "error_kind": "ConnectTimeout"}),
        (52_000, "anna", "console", "replay", 3, {"event": "evt_019a3f21c7d4"}),
        (31_000, "anna", "console", "cancel_job", 1, {"job": "job_019a3f4411ab"}),
        (9_000, "deploy", "api", "release", 12, {"source": "studio"}),
        (2_400, "anna", "console", "replay_runs", 41, {"reason": "no_such_voice"}),
    ]
    for number, (age, actor, via, operation, changed, filter) in enumerate(entries):
        at = now - age
        yield {
            "id": f"chg_{int(at * 1000):012x}{number:020x}", "at": at, "actor": actor, "via": via,
            "operation": operation, "changed": changed, "state": "completed", "updated_at": at, "filter": filter,
        }  # fmt: skip
