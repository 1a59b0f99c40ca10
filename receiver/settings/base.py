"""What every table of the configuration is made of: the base class, the types of its values, lists of secrets."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from receiver.model.secret_text import secret_lines, secret_problem

NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")


def _name(value: str) -> str:
    if not NAME.match(value) or len(value) > 63:
        raise ValueError("must be lower-case letters, digits and single underscores, starting with a letter")
    return value


Name = Annotated[str, AfterValidator(_name)]
Port = Annotated[int, Field(ge=0, le=65535)]
SecretId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
"""What names a secret in rows and logs."""


class Table(BaseModel):
    """A table of the configuration: frozen, and no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def suggestion(word: str, known: Any) -> str:
    """`; did you mean …?` for a word that is not known, or the list of what there is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
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
    """A validator for a list of tables that each hold one secret.

    It accepts plain strings in the list, JSON, or a lone string (one secret a line, as a secrets file has it, with
    blank lines and comments). A blank one is an error: the file or variable should hold a secret. Write `[]` for none.

    Args:
        key: the table's key that the secret stands under.
    """

    def read(value: Any) -> Any:
        if isinstance(value, str):
            if value.lstrip().startswith("["):
                try:
                    return read(json.loads(value))
                except (ValueError, RecursionError):
                    raise ValueError("looks like JSON, but is not") from None
            value = secret_lines(value)
            if not value:
                raise ValueError("is empty; it needs one secret a line. Remove it if there is no secret")
        if isinstance(value, list):
            return [{key: item} if isinstance(item, str) else item for item in value]
        return value

    return read


def hashed_id(kind: str, secret: str) -> str:
    """A short name for a secret that has none. 32 bits of a hash: enough to tell secrets apart, too little to guess by.

    Args:
        kind: what the name begins with; the same secret has another hash as another kind.
    """
    prefix = f"tts-receiver {kind} id\0".encode()
    return f"{kind}-{hashlib.sha256(prefix + secret.encode()).hexdigest()[:8]}"
