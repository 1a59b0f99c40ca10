"""Checks the conditions (`where`) of a handler against the events it subscribes to, and the configured sources.

A condition that no event can meet is an error at the start: otherwise a mistyped name would look like a quiet day.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from receiver.errors import ConfigError, ConfigProblem
from receiver.model.event import OUR_TYPES, Event, subscribes
from receiver.model.routing import Condition, Where, is_glob, parse_where
from receiver.settings import suggestion

_LIKE_A_JOBS = re.compile(r"jobs?(?![a-z0-9])", re.IGNORECASE)


def stated_where(table: Mapping[str, Any], on: tuple[type[Event], ...]) -> Where:
    """The conditions of a `where` table, for a handler of these event classes.

    Raises:
        ConfigError: a condition is not valid, or names an event type that the handler never gets. Each problem names
            its key, such as `where.type`.
    """
    where = parse_where(table)
    classes = ", ".join(cls.__name__ for cls in on)
    problems = [
        ConfigProblem("where.type", f"the handler never gets {value!r}: it subscribes to {classes}")
        for condition in where
        if condition.path == ("type",)
        for value in condition.values
        if isinstance(value, str) and not is_glob(value) and not subscribes(on, value)
    ]
    if problems:
        raise ConfigError(problems)
    return where


def configured_where(table: Mapping[str, Any], on: tuple[type[Event], ...], sources: Collection[str]) -> Where:
    """As `stated_where`, for a table of the configuration, whose conditions on sources must fit configured ones.

    Raises:
        ConfigError: as `stated_where`, or a value of `source` matches no configured source.
    """
    where = stated_where(table, on)
    problems = [
        ConfigProblem("where.source", f"{_what(value)}{suggestion(value, sources)}")
        for condition in where
        if condition.path == ("source",)
        for value in condition.values
        if isinstance(value, str) and not any(map(Condition(("source",), (value,)).accepts, sources))
    ]
    if problems:
        raise ConfigError(problems)
    return where


def doubtful_types(where: Where) -> list[str]:
    """The values of `type` that look like the types of jobs and match none of them, such as `job.done` or `jobs.*`.

    A service may send other types, so they are no errors.
    """
    return [
        value
        for condition in where
        if condition.path == ("type",)
        for value in condition.values
        if isinstance(value, str)
        and _LIKE_A_JOBS.match(value)
        and not any(map(Condition(("type",), (value,)).accepts, OUR_TYPES))
    ]


def _what(source: str) -> str:
    return f"no source matches {source!r}" if is_glob(source) else f"there is no source {source!r}"
