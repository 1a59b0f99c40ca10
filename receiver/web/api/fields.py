"""Kinds of values that come in and go out, each with the JSON Schema that is true of it."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from receiver.model.timestamps import utc

MAX_ITEMS = 200


class Incoming(BaseModel):
    """What is read from a request: frozen, no unknown names, nothing converted but what has to be."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StrictIncoming(Incoming):
    """A JSON body: a number is a number and a text is a text."""

    model_config = ConfigDict(strict=True)


class Outgoing(BaseModel):
    """What is answered: exactly what the document says."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _whole(value: Any) -> Any:
    """A number in a query is digits; pydantic alone would also take ` 5`, `5.0` and `5_0`."""
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            raise ValueError("must be a whole number")
        return int(value)
    return value


def _integer(value: Any) -> Any:
    """JSON has one kind of number: 24000.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# These stand behind the bounds of a field: what stands before them, the JSON Schema does not know.
DIGITS = BeforeValidator(_whole)
INTEGER = BeforeValidator(_integer)
Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A provider's word or id."""
Printable = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,254}[!-~])?$")]
"""Up to 256 printable ASCII characters without a space at either end."""
SourceName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
EventId = Annotated[str, StringConstraints(pattern=r"^evt_[0-9a-f]{32}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^job_[0-9a-f]{32}$")]
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")]
"""The place behind an item: its id in a shorter form. Every text of this form is a place."""


class Paging(Incoming):
    """What every list takes."""

    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS, description="Items on a page."), DIGITS] = 50
    cursor: Annotated[Cursor | None, Field(description="The `next` of the page before; the first page without it.")] = (
        None
    )

    def before(self, prefix: str) -> str | None:
        """The id that the page's items sort before; None for the first page."""
        if self.cursor is None:
            return None
        return prefix + base64.urlsafe_b64decode(self.cursor + "==").hex()


def cursor_after(id: str) -> str:
    """The cursor of what comes behind this id, which is a prefix and 32 hex digits."""
    return base64.urlsafe_b64encode(bytes.fromhex(id.rpartition("_")[2])).decode().rstrip("=")


def moment(seconds: float | None) -> datetime | None:
    """Unix seconds as a time (UTC)."""
    return None if seconds is None else utc(seconds)


def is_event_id(text: str) -> bool:
    """Whether it looks like one of our event ids."""
    return re.fullmatch(r"evt_[0-9a-f]{32}", text) is not None
