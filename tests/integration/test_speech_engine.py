"""Speech as a library: data and errors, and nothing printed; a command is only one way to show it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver.assembly.sources import job_source
from receiver.durable_files import OverwritePolicy
from receiver.providers.types import Speech
from receiver.settings import Settings
from receiver.simulator import Simulator
from receiver.speech.batch import open_batch
from receiver.speech.client import SpeechClient
from receiver.speech.errors import SpeechError
from receiver.speech.input_format import InputFormat
from receiver.speech.lines import SpeechDefaults
from receiver.speech.options import BatchOptions, RetryOptions
from receiver.speech.preflight import Preflight
from receiver.speech.progress import BatchStats
from receiver.speech.report import LineResult
from receiver.speech.task import SpeechTask, run_task
from tests.integration.api_support import path_of
from tests.integration.intake_support import configured, logged
from tests.patience import PATIENCE
from tests.stores import query

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def log_lines_apart() -> Iterator[None]:
    with logged():
        yield


class Recorded:
    """Takes the progress of tasks and batches."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.states: list[str] = []
        self.lines: list[tuple[int, bool]] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stalled(self, reason: str) -> None:
        assert "Ctrl-C" not in reason
        self.notes.append(reason)

    def state(self, name: str, *, percent: int | None = None, fetched_bytes: int = 0) -> None:
        self.states.append(name)

    def line_finished(self, result: LineResult, stats: BatchStats) -> None:
        self.lines.append((result.line, result.saved))

    def line_skipped(self, number: int, stats: BatchStats) -> None:
        raise AssertionError("no line failed before")


def settings_for(folder: Path, sim: Simulator) -> Settings:
    source = {
        "base_url": sim.base_urls["aitts"], "api_key": sim.api_key, "allow_private_addresses": True,
        "signing_secrets": [], "poll": {"first_seconds": 0.1, "requests_per_second": 100},
    }  # fmt: skip
    return configured(folder, source=source)


def options_for(folder: Path, text: str, **changed: object) -> BatchOptions:
    known = {
        "input": io.BytesIO(text.encode()), "input_format": InputFormat.TEXT, "folder": folder / "out",
        "report": folder / "out" / "report.jsonl", "defaults": SpeechDefaults(voice="alloy"), "concurrency": 2,
        "retry": RetryOptions(), "overwrite": OverwritePolicy.REFUSE, "skip_invalid": False, "timeout": PATIENCE,
    }  # fmt: skip
    return BatchOptions(**(known | changed))  # type: ignore[arg-type]


async def run(settings: Settings, options: BatchOptions) -> tuple[Preflight, BatchStats, Recorded]:
    progress = Recorded()
    with open_batch(options, job_source(settings, "aitts")) as batch:
        batch.begin()
        client = SpeechClient(settings, "aitts")
        await client.start()
        try:
            return batch.preflight, await batch.run(client, progress), progress
        finally:
            await client.stop()


def entries(settings: Settings) -> list[dict[str, Any]]:
    """The audit log."""
    return query(path_of(settings), "SELECT * FROM audit_entries ORDER BY id")


async def test_a_batch_returns_its_counts_is_resumed_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Simulator(job_seconds=0.0) as sim:
        settings = settings_for(tmp_path, sim)
        found, stats, progress = await run(settings, options_for(tmp_path, "One.\n\nTwo.\n"))
        assert (found.total, found.done) == (2, 0)
        assert (stats.total, stats.done, stats.failed, stats.remaining, stats.halted) == (2, 2, 0, 0, None)
        assert sorted(progress.lines) == [(1, True), (3, True)]
        found, stats, progress = await run(settings, options_for(tmp_path, "One.\n\nTwo.\nThree.\n"))
        assert (found.total, found.done) == (3, 2)
        assert (stats.done, progress.lines) == (3, [(4, True)])
    assert len(list((tmp_path / "out").glob("000?.*"))) == 3
    first, second = entries(settings)
    assert (first["operation"], first["state"], first["changed"]) == ("speak", "completed", 2)
    assert (second["state"], second["changed"], second["via"]) == ("completed", 1, "cli")
    assert first["filter"].keys() == {"source", "batch", "lines"}
    assert first["filter"]["batch"] == second["filter"]["batch"]
    assert capfd.readouterr().out == ""


async def test_lines_that_cannot_be_used_are_data_and_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Simulator(job_seconds=0.0) as sim:
        settings = settings_for(tmp_path, sim)
        options = options_for(tmp_path, '{"text": 1}\n', input_format=InputFormat.JSONL)
        with open_batch(options, job_source(settings, "aitts")) as batch:
            assert [line.number for line in batch.preflight.invalid] == [1]
            with pytest.raises(SpeechError, match="1 line is invalid; nothing was submitted"):
                batch.begin()
    assert not (tmp_path / "out").exists()
    assert capfd.readouterr() == ("", "")


async def test_a_task_returns_its_result_and_streams_where_it_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with Simulator(job_seconds=0.0) as sim:
        settings = settings_for(tmp_path, sim)
        client = SpeechClient(settings, "aitts")
        stream, progress = io.BytesIO(), Recorded()
        await client.start()
        try:
            task = SpeechTask(request=Speech(text="Hello.", voice="alloy"), output=stream, timeout=PATIENCE)
            result = await run_task(client, task, progress)
        finally:
            await client.stop()
    assert result.error is None
    [entry] = entries(settings)
    assert (entry["detail"], entry["changed"], entry["state"]) == (result.row["id"], 1, "completed")
    assert entry["filter"] == {"source": "aitts", "voice": "alloy", "characters": 6}
    assert len(stream.getvalue()) == result.files[0].bytes
    assert progress.states[0] == "submitting"
    assert progress.states[-1] == "saved"
    assert capfd.readouterr().out == ""


async def test_a_key_of_metadata_is_complete_only_while_speech_indexes_by_it(tmp_path: Path) -> None:
    async with Simulator(job_seconds=0.0) as sim:
        settings = settings_for(tmp_path, sim)
        for keys in (("customer",), ()):
            search = settings.search.model_copy(update={"metadata": keys})
            client = SpeechClient(settings.model_copy(update={"search": search}), "aitts")
            await client.start()
            await client.stop()
            complete = "SELECT key FROM metadata_keys WHERE completed_at IS NOT NULL"
            assert [row["key"] for row in query(path_of(settings), complete)] == list(keys)
