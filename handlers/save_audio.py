"""Fetch, verify and store the audio of every completed job."""

from __future__ import annotations

from typing import Any

from receiver import Artifact, Context, JobCompleted, NoAudio, handler


@handler(on=JobCompleted)
async def save_audio(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    """Store all files of the job.

    The run's result is the file's address, size, SHA-256 and duration; of several files, a list of these under `files`.

    A job that completed without audio, such as a transcript, is not a failure: its result says "no audio".
    """
    try:
        files = [_summary(audio) for audio in await ctx.audio_files()]
    except NoAudio:
        return {"files": [], "detail": "no audio"}
    return files[0] if len(files) == 1 else {"files": files}


def _summary(audio: Artifact) -> dict[str, Any]:
    return {"address": audio.address, "bytes": audio.bytes, "sha256": audio.sha256, "duration": audio.duration}
