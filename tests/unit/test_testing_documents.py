"""Files that are not audio in the test of a handler: what `ctx.artifacts()` and `ctx.audio()` make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from receiver import Context, JobCompleted, NoAudio, handler
from receiver.testing import completed, run_handler, wav


@handler(on=JobCompleted)
async def all_kinds(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    files = await ctx.artifacts()
    try:
        audio: int | None = (await ctx.audio()).n
    except NoAudio:
        audio = None
    words = [json.loads(await file.read())["text"] for file in files if file.kind == "json"]
    return {"kinds": [str(file.kind) for file in files], "audio": audio, "words": words}


@pytest.fixture
def transcript(tmp_path: Path) -> list[Path]:
    (tmp_path / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nHi.\n")
    (tmp_path / "talk.json").write_text('{"text": "Hi."}')
    return [tmp_path / "talk.srt", tmp_path / "talk.json"]


def test_documents_are_artifacts_of_their_kind_and_no_audio(transcript: list[Path]) -> None:
    outcome = run_handler(all_kinds, completed(), audio=transcript)
    assert outcome.result == {"kinds": ["subtitles", "json"], "audio": None, "words": ["Hi."]}


def test_of_files_of_several_kinds_the_audio_is_the_first_that_is_audio(transcript: list[Path]) -> None:
    outcome = run_handler(all_kinds, completed(), audio=[*transcript, wav()])
    assert outcome.result == {"kinds": ["subtitles", "json", "audio"], "audio": 2, "words": ["Hi."]}


def test_a_job_without_files_has_no_artifacts() -> None:
    outcome = run_handler(all_kinds, completed(), audio=NoAudio("The job completed without audio."))
    assert outcome.result == {"kinds": [], "audio": None, "words": []}


def test_a_document_that_is_none_is_the_tests_own_mistake(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text("<html>")
    with pytest.raises(ValueError, match="format"):
        run_handler(all_kinds, completed(), audio=tmp_path / "page.json")
