"""Types of values in requests and responses, each with its exact JSON Schema."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from receiver.model.ids import CLIENT_KEY_PATTERN, MAX_CLIENT_KEY
from receiver.model.metadata import MAX_PAIRS
from receiver.model.printable import storable
from receiver.model.timestamps import utc
from receiver.store.searches import Order

MAX_ITEMS = 200


class RequestModel(BaseModel):
    """Part of a request: frozen, without unknown names; only text that stands for a number is converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class StrictRequestModel(RequestModel):
    """A JSON body: nothing is converted."""

    model_config = ConfigDict(strict=True)


class ResponseModel(BaseModel):
    """A response body: exactly as documented."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _digits(value: Any) -> Any:
    """A number in a query is digits; pydantic alone would also accept ` 5`, `5.0` and `5_0`."""
    if isinstance(value, str):
        if not re.fullmatch(r"-?[0-9]{1,9}", value):
            raise ValueError("must be a whole number")
        return int(value)
    return value


_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,12})?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def only_rfc3339(value: Any) -> Any:
    """A time is a date-time of RFC 3339; pydantic alone would also accept a number of seconds."""
    if isinstance(value, str) and not _RFC3339.fullmatch(value):
        raise ValueError("must be a time such as 2026-11-26T08:00:00Z")
    return value


def only_text(value: Any) -> Any:
    """A time in JSON is text; pydantic alone would also accept a number of seconds."""
    if not isinstance(value, str):
        raise ValueError("must be a text, such as 2026-11-26T08:00:00Z")  # noqa: TRY004 - pydantic reports it
    return value


def _integer(value: Any) -> Any:
    """JSON has one type of number: 24000.0 is an integer."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# To be placed after the bounds of a field: the JSON Schema omits bounds that come after a validator.
DIGITS = BeforeValidator(_digits)
INTEGER = BeforeValidator(_integer)
ShortText = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""Such as a provider's id or event type."""
Printable = Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,254}[!-~])?$")]
"""Up to 256 printable ASCII characters without a space at either end."""
ErrorWord = Annotated[str, StringConstraints(max_length=64)]
"""A kind or a reason of errors; the empty text stands for none."""
IdempotencyKey = Annotated[str, StringConstraints(pattern=CLIENT_KEY_PATTERN, max_length=MAX_CLIENT_KEY)]
HandlerName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
MetadataPair = Annotated[str, StringConstraints(pattern=r"^[^=\x00]{1,64}=[^\x00]{0,256}$")]
MetadataPairs = Annotated[
    tuple[MetadataPair, ...],
    Field(
        max_length=MAX_PAIRS,
        description="Only with this value in the metadata, as `KEY=VALUE`; several must all match. The receiver's "
        "setting `search.metadata` names the keys.",
    ),
]
Time = Annotated[AwareDatetime, BeforeValidator(only_rfc3339)]
BodyTime = Annotated[AwareDatetime, Field(strict=False), BeforeValidator(only_text), BeforeValidator(only_rfc3339)]
"""A time in a JSON body, where it must be text."""
SafeText = Annotated[str, BeforeValidator(storable)]
"""Of a response: text from outside, or a path, whose unpaired surrogates are escaped: JSON has none."""
SourceName = Annotated[str, StringConstraints(min_length=1, max_length=63)]
EventId = Annotated[str, StringConstraints(pattern=r"^evt_[0-9a-f]{32}$")]
ChangeId = Annotated[str, StringConstraints(pattern=r"^chg_[0-9a-f]{32}$")]
JobId = Annotated[str, StringConstraints(pattern=r"^job_[0-9a-f]{32}$")]
Cursor = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{22}$")]
"""The position after an item: its id in a shorter form. Every text of this form is valid."""


class Paging(RequestModel):
    """The parameters of every list, without its filters."""

    limit: Annotated[int, Field(ge=1, le=MAX_ITEMS, description="Items on a page."), DIGITS] = 50
    cursor: Annotated[
        Cursor | None, Field(description="The `next` of the previous page; without it, the first page.")
    ] = None

    def last_id(self, prefix: str) -> str | None:
        """The id that ends the previous page; None for the first page."""
        if self.cursor is None:
            return None
        return prefix + base64.urlsafe_b64decode(self.cursor + "==").hex()


class OrderedPaging(Paging):
    """The parameters of a list that can begin with the oldest."""

    order: Annotated[
        Literal["newest", "oldest"], Field(description="Which come first; give it with each `cursor`, too.")
    ] = "newest"

    @property
    def of_store(self) -> Order:
        """The order, as the store has it."""
        return Order.OLDEST_FIRST if self.order == "oldest" else Order.NEWEST_FIRST

    def from_cursor(self, prefix: str) -> dict[str, Any]:
        """The end of the previous page as the filter of the store has it."""
        return self.of_store.beyond(self.last_id(prefix))


def cursor_after(id: str) -> str:
    """The cursor of the items after this id, which is a prefix and 32 hex digits."""
    return base64.urlsafe_b64encode(bytes.fromhex(id.rpartition("_")[2])).decode().rstrip("=")


def optional_seconds(at: datetime | None) -> float | None:
    """A time as unix seconds; None stays None."""
    return None if at is None else at.timestamp()


def optional_utc(seconds: float | None) -> datetime | None:
    """Unix seconds as a UTC time; None stays None."""
    return None if seconds is None else utc(seconds)


def is_event_id(text: str) -> bool:
    """Whether it has the form of an event id."""
    return re.fullmatch(r"evt_[0-9a-f]{32}", text) is not None
