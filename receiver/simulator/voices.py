"""The voices that the providers list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

FILTERS = ("language", "provider", "model_type", "gender")


@dataclass(frozen=True, slots=True)
class Voice:
    """A voice of aitts: the four fields that can be filtered by, and the others that its documentation names.

    Fields that are None are left out: which fields each voice has is not documented.
    """

    voice_id: str
    language: str
    provider: str
    model_type: str
    gender: str
    tier: str | None = None
    supports_ssml: bool | None = None
    supports_multispeaker: bool | None = None


VOICES = (
    Voice("en-US-Standard-A", "en-US", "google", "standard", "female", "standard", True, False),
    Voice("en-US-Neural2-D", "en-US", "google", "neural", "male", "premium", True, True),
    Voice("en-GB-Neural2-A", "en-GB", "google", "neural", "female"),
    Voice("de-DE-Neural2-B", "de-DE", "google", "neural", "male"),
    Voice("alloy", "en-US", "openai", "neural", "female", "premium", False, False),
)
"""Voices of aitts. The ids are made up; only the filters are documented."""


def filter_voices(voices: Sequence[Voice], wanted: Mapping[str, str]) -> list[dict[str, object]]:
    """Return the voices that match every filter in `wanted`, without regard to case.

    Provider's documentation: `?language=&provider=&model_type=&gender=`. An empty filter is ignored.
    """
    rows = [{name: value for name, value in asdict(voice).items() if value is not None} for voice in voices]
    for name in FILTERS:
        value = wanted.get(name, "").lower()
        rows = [row for row in rows if not value or str(row[name]).lower() == value]
    return rows


AUDIXA_VOICES = (
    {"voice_id": "emma", "name": "Emma", "model": "base", "gender": "Female", "accent": "American",
     "free": True, "is_custom": False, "description": "Warm and even."},
    {"voice_id": "am_ethan", "name": "Ethan", "model": "base", "gender": "Male", "accent": "American",
     "free": True, "is_custom": False, "description": "Calm and low."},
    {"voice_id": "bf_clara", "name": "Clara", "model": "advanced", "gender": "Female", "accent": "British",
     "free": False, "is_custom": False, "description": "Bright and quick."},
)  # fmt: skip
"""Voices of audixa. The fields are those that its official SDK documents; `emma` and `am_ethan` are names from the
examples of its documentation. A submit accepts any name: accounts have voices of their own."""

FINEVOICE_VOICES = (
    {"id": "james", "name": "James", "language": "en-US", "gender": "male"},
    {"id": "amelie", "name": "Amélie", "language": "fr-FR", "gender": "female"},
)
"""Voices of finevoice. Its list of voices is not documented to us: address, form and fields are made up."""
