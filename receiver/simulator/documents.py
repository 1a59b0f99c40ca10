"""The files of tasks that are not audio: a transcript as text, subtitles and JSON."""

from __future__ import annotations

import json

from .library import Clip

TRANSCRIPT_TEXT = "Good morning. This is what was said."
_CUES = (("00:00:00,000", "00:00:01,200", "Good morning."), ("00:00:01,200", "00:00:03,000", "This is what was said."))
SUFFIXES = ("srt", "vtt", "json", "txt")
"""The formats in which a transcript can be requested."""


def transcript_file(suffix: str) -> Clip:
    """Return the transcript in one of `SUFFIXES`."""
    return Clip(f"transcript.{suffix}", _texts()[suffix].encode())


def _texts() -> dict[str, str]:
    srt = "\n".join(f"{n}\n{start} --> {end}\n{text}\n" for n, (start, end, text) in enumerate(_CUES, 1))
    segments = [{"start": start, "end": end, "text": text} for start, end, text in _CUES]
    return {
        "srt": srt,
        "vtt": "WEBVTT\n\n" + srt.replace(",", "."),
        "json": json.dumps({"text": TRANSCRIPT_TEXT, "segments": segments}, indent=1),
        "txt": TRANSCRIPT_TEXT + "\n",
    }
