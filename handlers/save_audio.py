"""Fetch, verify and store the audio of every completed job. What most users want, and all that many need."""

from __future__ import annotations

from typing import Any

from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def save_audio(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    """Store the audio; the run's result says where and what."""
    audio = await ctx.audio()
    return {"address": audio.address, "bytes": audio.bytes, "sha256": audio.sha256, "duration": audio.duration}
