"""Converts validation errors to problems that name the key, the fault and a suggestion; removes faulty keys."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence, Set
from typing import Any

from pydantic import ValidationError

from receiver.errors import ConfigProblem, PluginError
from receiver.settings.api import ApiToken
from receiver.settings.base import Table, suggestion
from receiver.settings.generic import GenericTable
from receiver.settings.signature import SignatureTable
from receiver.settings.source import NO_CHANNEL, Poll, SigningSecret, Source
from receiver.settings.tables import TABLES, HandlerSettings, Settings
from receiver.settings.tls import HandlerTls
from receiver.settings.users import ConsoleUser


def without_keys(given: dict[str, Any], locations: list[tuple[Any, ...]]) -> dict[str, Any]:
    """The configuration without the keys at these locations, or without the whole table if a key is missing in it."""
    given = copy.deepcopy(given)
    for location in locations:
        table: Any = given
        # A generic source without its table would be reported to lack it.
        key = location[:2] if _is_whole_source(location) else location
        *parents, last = key or ("sources",)
        for part in parents:
            table = table.get(part) if isinstance(table, dict) else None
        if isinstance(table, dict) and last in table:
            del table[last]
        elif key:
            given.get(key[0], {}).pop(key[1], None) if len(key) > 1 else given.pop(key[0], None)
    return given


def is_consequence(problem: ConfigProblem, reported: Set[str]) -> bool:
    """Whether a problem exists only because a key was removed whose own problem is reported.

    Args:
        reported: the keys of the problems so far.
    """
    key = f"{problem.where.removesuffix('signing_secrets')}api_key"
    if any(reported_key.startswith(f"{problem.where}.") for reported_key in reported):
        return True  # the table as a whole, without a key that was removed from it
    return problem.where in reported or (key in reported and problem.what.startswith(NO_CHANNEL))


def problem_of(item: Any, table: Sequence[str] = ()) -> ConfigProblem:
    """Convert a validation error: the key as in the file, what is wrong, and what to write instead.

    Args:
        table: the key of the table that was validated, if not the whole configuration.
    """
    location = [*table, *(str(part) for part in item["loc"])]
    where = ".".join(location) or "configuration"
    if item["type"] == "extra_forbidden":
        if tuple(location[2:]) in _REMOVED and location[0] == "sources":
            return ConfigProblem(where, f"is no longer a key: {_REMOVED[tuple(location[2:])]}")
        return ConfigProblem(where, f"is not a known key{suggestion(location[-1], _known_keys(location[:-1]))}")
    if item["type"] == "missing":
        return ConfigProblem(where, "is missing")
    if item["type"] in ("tuple_type", "list_type"):
        return ConfigProblem(where, 'must be a list, such as ["…"]')
    if item["type"] in ("model_type", "dict_type", "model_attributes_type"):
        in_list = bool(location) and location[-1].isdigit()
        return ConfigProblem(
            where, 'must be a text, or a table such as {id = "…"}' if in_list else "must be a table of keys"
        )
    message = str(item["msg"]).removeprefix("Value error, ")
    if not location and message.startswith(("sources.", "server.")):
        where, _, message = message.partition(": ")  # a check across tables names its key first
    if _is_whole_source(location) and ":" in message:
        key, _, message = message.partition(": ")  # a check of a whole table names its key
        where, message = f"{where}.{key}", message.replace("[sources.NAME.", f"[sources.{location[1]}.")
    return ConfigProblem(where, message[:1].lower() + message[1:])


def read_handler_table(options: Mapping[str, Any]) -> HandlerSettings:
    """The table of a handler, from the keys of `[handlers.NAME]`.

    Raises:
        PluginError: a key is not valid; the message has all problems.
    """
    try:
        return HandlerSettings(**options)
    except ValidationError as error:
        found = (problem_of(item, ("handlers", "")) for item in error.errors(include_url=False, include_input=False))
        raise PluginError("; ".join(str(problem).removeprefix("handlers..") for problem in found)) from None


def _is_whole_source(location: Sequence[Any]) -> bool:
    """Whether the location is a source as a whole, or one of its tables that describe another service."""
    inner = tuple(location[2:])
    return (
        bool(location) and location[0] == "sources" and (len(location) == 2 or inner in (("generic",), ("signature",)))
    )


def _known_keys(location: list[str]) -> list[str]:
    """The valid keys at a location: those of its innermost table."""
    if not location:
        return list(TABLES)
    outer: Any = {"sources": Source, "handlers": HandlerSettings}.get(
        location[0], Settings.model_fields[location[0]].annotation
    )
    depth = 2 if location[0] in ("sources", "handlers") else 1  # a source may be named like a key
    inner = next((_INNER[part] for part in location[depth:] if part in _INNER), outer)
    return [of.alias or name for name, of in inner.model_fields.items()]


_REMOVED: dict[tuple[str, ...], str] = {
    ("generic", "delivery_id_header"): (
        "an unsigned header does not identify events. Delete it: an event without a job has an id in its body "
        "(event_id), else its signed message id, else its body, as its identity"
    ),
}
"""Keys of a source that earlier releases had, and what replaces them."""

_INNER: dict[str, type[Table]] = {
    "signing_secrets": SigningSecret,
    "poll": Poll,
    "signature": SignatureTable,
    "generic": GenericTable,
    "tokens": ApiToken,
    "tls": HandlerTls,
    "users": ConsoleUser,
}
"""The tables within a table, by their key."""
