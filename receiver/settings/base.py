"""The parts of all tables of the configuration: the base class, types of values, lists of secrets."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from receiver.model.secret_text import secret_lines, secret_problem

MIN_SIMILARITY = 0.6
"""How similar two words must be, from 0 to 1, for one to be suggested. At 0.57 `retries` suggests `secrets`."""
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


def _name(value: str) -> str:
    if not NAME.match(value) or len(value) > 63:
        raise ValueError("must be lower-case letters, digits and single underscores, starting with a letter")
    return value


Name = Annotated[str, AfterValidator(_name)]
Port = Annotated[int, Field(ge=0, le=65535)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
SecretId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""The name of a secret in rows and logs."""


class Table(BaseModel):
    """A table of the configuration: frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def suggestion(word: str, known: Any) -> str:
    """`; did you mean …?` for an unknown word, or the list of known words."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=MIN_SIMILARITY)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there is: {', '.join(sorted(known))}" if known else ""


def _usable(value: SecretStr) -> SecretStr:
    fault = secret_problem(value.get_secret_value())
    if fault is not None:
        raise ValueError(fault)
    return value


Secret = Annotated[SecretStr, AfterValidator(_usable)]
"""A key or secret: one line of printable ASCII, without white space around it."""


def list_of_secrets(key: str) -> Callable[[Any], Any]:
    """A validator for a list of tables with one secret each.

    It accepts plain strings in the list, JSON, or one string (one secret per line, as in a secrets file, with blank
    lines and comments). A blank string is an error: the file or variable should contain a secret. Use `[]` for none.

    Args:
        key: the table's key for the secret.
    """

    def read(value: Any) -> Any:
        if isinstance(value, str):
            value = text_items(value)
        if isinstance(value, list):
            return [{key: item} if isinstance(item, str) else item for item in value]
        return value

    return read


def text_items(text: str) -> Any:
    """The items of a list that is given as a text: JSON, or one item a line, with blank lines and comments.

    Raises:
        ValueError: it is empty, it looks like JSON and is not, or a line cannot be a key or secret.
    """
    if text.lstrip().startswith("["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("looks like JSON, but is not") from None
    items = secret_lines(text)
    if not items:
        raise ValueError("is empty; it needs one secret per line. Remove it if there is no secret")
    return items


def hashed_id(kind: str, secret: str) -> str:
    """A short name for a secret without a name: 32 bits of a hash, enough to distinguish secrets, too few to guess one.

    Args:
        kind: the prefix of the name; the hash of a secret depends on it.
    """
    prefix = f"tts-receiver {kind} id\0".encode()
    return f"{kind}-{hashlib.sha256(prefix + secret.encode()).hexdigest()[:8]}"
