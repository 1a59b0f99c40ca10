"""Reading a list of voices. Its rows' form is documented nowhere in full, so each field is looked for under many names.

Apart from the provider modules because nothing in it is one service's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from receiver.providers.base import usable_word
from receiver.providers.wire import Voice

_ID = ("voice_id", "voiceId", "id", "voice", "name")
_NAME = ("name", "display_name", "displayName")
_LANGUAGE = ("language", "language_code", "languageCode", "locale")
_GENDER = ("gender",)
_MODEL = ("model", "model_type", "modelType")


def voices_of(rows: Iterable[object]) -> list[Voice]:
    """The voices in these rows, in order and each id once; a row without a usable id is left out.

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
    """The first of these fields that is a text of one line; it leaves the row."""
    for name in names:
        word = usable_word(row.get(name))
        if word is not None:
            del row[name]
            return word
    return None
