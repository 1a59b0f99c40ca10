"""Fetch, verify and store the audio of every completed job. What most users want, and all that many need."""

from __future__ import annotations

from typing import Any

from receiver import Artifact, Context, JobCompleted, NoAudio, handler


@handler(on=JobCompleted)
async def save_audio(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    """Store all files of the job; the run's result says where and what, of several as a list under `files`.

    A job that completed without audio, such as a transcript, is no failure: the result says "no audio".
    """
    try:
        files = [_said(audio) for audio in await ctx.audio_files()]
    except NoAudio:
        return {"files": [], "detail": "no audio"}
    return files[0] if len(files) == 1 else {"files": files}


def _said(audio: Artifact) -> dict[str, Any]:
    return {"address": audio.address, "bytes": audio.bytes, "sha256": audio.sha256, "duration": audio.duration}
