"""Reads a list of voices. No service documents its rows in full, so each field is looked up under several names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.providers.base import usable_word
from receiver.providers.types import Voice

_ID = ("voice_id", "voiceId", "id", "voice", "name")
_NAME = ("name", "display_name", "displayName")
_LANGUAGE = ("language", "language_code", "languageCode", "locale")
_GENDER = ("gender",)
_MODEL = ("model", "model_type", "modelType")


def parse_voices(rows: Iterable[object]) -> list[Voice]:
    """Return the voices in these rows, in order and each id once; rows without a usable id are skipped.

    A row is an object, or an id alone.
    """
    found: dict[str, Voice] = {}
    for row in rows:
        voice = _voice(row if isinstance(row, Mapping) else {"id": row})
        if voice is not None:
            found.setdefault(voice.id, voice)
    return list(found.values())


def _voice(row: Mapping[str, Any]) -> Voice | None:
    rest = dict(row)
    id = _take(rest, _ID)
    if id is None:
        return None
    name, language, gender, model = (_take(rest, names) for names in (_NAME, _LANGUAGE, _GENDER, _MODEL))
    return Voice(id, name, language, gender, model, rest)


def _take(row: dict[str, Any], names: tuple[str, ...]) -> str | None:
    """Remove the first of these fields that is a usable word from the row and return it."""
    for name in names:
        word = usable_word(row.get(name))
        if word is not None:
            del row[name]
            return word
    return None
