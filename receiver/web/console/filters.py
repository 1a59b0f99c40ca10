"""The filters of lists: in the address, by the words of the API's operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from receiver.model.timestamps import utc
from receiver.web.console.operations import Query
from receiver.web.console.pages import Page

_AGE = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
TIMES = ("since", "until")
FORM = "form"
"""A field of every filter's form, which distinguishes its empty fields from filters by an empty text."""

AGES = (("15m", "15 minutes"), ("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))


@dataclass(frozen=True, slots=True)
class Field:
    """One filter.

    Attributes:
        name: the operation's parameter.
        choices: its values, if it has few, each with its label.
        hint: an example of a value.
    """

    name: str
    label: str
    choices: Callable[[Page], Iterable[tuple[str, str]]] | None = None
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ShownField:
    """A filter as a page shows it."""

    name: str
    label: str
    value: str
    hint: str
    choices: Sequence[tuple[str, str]] = field(default_factory=tuple)
    error: str = ""


def without_empty(query: Query) -> list[tuple[str, str]]:
    """What a form sent, without the fields that were left empty."""
    return [(name, value) for name, value in query if value.strip() and name != FORM]


def api_query(query: Query, now: float) -> list[tuple[str, str]]:
    """The query for the operation: an age such as `2h` becomes a time."""
    return [(name, _time(value, now) if name in TIMES else value) for name, value in query]


def _time(value: str, now: float) -> str:
    match = _AGE.fullmatch(value.strip())
    return utc(now - int(match[1]) * _UNITS[match[2]]).isoformat() if match else value


def shown_fields(fields: Sequence[Field], page: Page, query: Query, errors: dict[str, str]) -> list[ShownField]:
    """The filters with their values in a query."""
    values: dict[str, str] = {}
    for name, value in query:
        values[name] = f"{values[name]}, {value}" if name in values else value
    found = []
    for of in fields:
        value = values.get(of.name, "")
        choices = [] if of.choices is None else list(of.choices(page))
        if choices and value and value not in dict(choices):
            choices.append((value, value))
        found.append(ShownField(of.name, of.label, value, of.hint, choices, errors.get(of.name, "")))
    return found


def sources(page: Page) -> Iterable[tuple[str, str]]:
    """The configured sources."""
    return ((name, name) for name in page.console.context.settings.sources)


def handlers(page: Page) -> Iterable[tuple[str, str]]:
    """The active handlers."""
    return ((name, name) for name in sorted(page.console.context.registry.active))


def ages(page: Page) -> Iterable[tuple[str, str]]:
    """Times before now."""
    return AGES
