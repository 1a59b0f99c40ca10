"""`events show` prints what is stored about an event."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.store import artifacts
from receiver.store.artifacts import ArtifactRow
from tests.stores import open_store
from tests.unit.cli.conftest import NOW, add_events


def test_audio_is_shown_with_the_time_that_its_fetch_took(store: Path) -> None:
    [event_id] = add_events(store, 1)
    row = ArtifactRow(
        event_id=event_id, n=0, address="a.wav", bytes=44, sha256="ab", content_type="audio/wav", format="wav",
        duration=1.5, sample_rate=24_000, channels=1, fetched_at=NOW, fetch_seconds=7.25,
    )  # fmt: skip
    database = open_store(store)
    database.transact(artifacts.put_all, [row])
    database.close()
    shown = CliRunner().invoke(build(), ["events", "show", event_id], terminal_width=200)
    assert shown.exit_code == 0, shown.output
    assert "fetch s" in shown.output
    assert "7.250" in shown.output
