"""Fetch, verify and store the files of every completed job."""

from __future__ import annotations

from typing import Any

from receiver import Artifact, Context, JobCompleted, handler


@handler(on=JobCompleted)
async def save_audio(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    """Store all files of the job: its audio, and of a task also subtitles, JSON and text.

    The run's result is the file's address, size, SHA-256 and duration; of several files, a list of these under `files`.

    A job that completed without files, such as a transcript, is not a failure: its result says "no audio".
    """
    files = [_summary(file) for file in await ctx.artifacts()]
    if not files:
        return {"files": [], "detail": "no audio"}
    return files[0] if len(files) == 1 else {"files": files}


def _summary(file: Artifact) -> dict[str, Any]:
    return {"address": file.address, "bytes": file.bytes, "sha256": file.sha256, "duration": file.duration}
