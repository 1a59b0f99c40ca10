"""Detects secrets that the redaction of the log does not hide.

A secret is redacted wherever it appears, also in a name that contains it. Who knows the name then reads the secret
in the gap, and lines about it name nothing. This is a warning, not an error, because a database on the same machine is
often configured so, and no message says which secret it is like: the log is read by more than the configuration.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from receiver.errors import ConfigProblem
from receiver.settings.tables import Settings

MIN_CHARACTERS = 8
_WHAT = (
    f"can be guessed: it has fewer than {MIN_CHARACTERS} characters, or is part of a name. The log redacts it wherever "
    "it appears, so names lack it, too, and show it to everyone who knows them. Replace it by a random one"
)


def guessable_secrets(settings: Settings) -> list[ConfigProblem]:
    """Warnings about secrets that are short, or part of a name that the log shows; one for each key."""
    names = list(_names(settings))
    found = {
        key: None
        for key, secret in settings.secrets_by_key()
        if len(secret) < MIN_CHARACTERS or any(secret in name for name in names)
    }
    return [ConfigProblem(key, _WHAT) for key in found]


def _names(settings: Settings) -> Iterator[str]:
    """The names that lines of the log have."""
    yield "tts-receiver"
    yield from settings.sources
    yield from settings.handlers
    try:
        store = urlsplit(settings.store.url)
    except ValueError:  # opening the store reports it
        return
    yield from (unquote(name) for name in (store.username, store.hostname, store.path) if name)
