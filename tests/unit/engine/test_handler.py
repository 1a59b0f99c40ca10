"""The decorator: what it takes, what it refuses and in which words, and what a handler is afterwards."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver import Context, Event, Handler, JobCompleted, JobFailed, OtherEvent, PluginError, TestEvent, handler
from receiver.testing import completed, run_handler

Ctx = Context[Any]


async def publish(event: JobCompleted, ctx: Ctx) -> None: ...


def test_a_function_becomes_a_handler_with_the_defaults() -> None:
    made = handler(on=JobCompleted)(publish)
    assert isinstance(made, Handler)
    assert (made.name, made.on, made.attempts, made.timeout) == ("publish", (JobCompleted,), 8, 300.0)
    assert (made.concurrency, made.options, made.is_async) == (None, None, True)


def test_bounds_are_given_in_the_decorator() -> None:
    made = handler(on=JobCompleted, name="other", attempts=2, timeout=1.5, concurrency=3)(publish)
    assert (made.name, made.attempts, made.timeout, made.concurrency) == ("other", 2, 1.5, 3)


def test_a_handler_is_still_callable_as_the_function_it_was() -> None:
    @handler(on=Event)
    def shout(event: Event, ctx: Ctx) -> str:
        return event.type.upper()

    assert shout(completed(), None) == "JOB.COMPLETED"  # type: ignore[arg-type]
    assert not shout.is_async


@pytest.mark.parametrize(
    ("on", "wanted"),
    [
        (JobCompleted, ["job.completed"]),
        (JobFailed, ["job.failed"]),
        (TestEvent, ["test"]),
        (OtherEvent, ["voice.cloned"]),
        ((JobCompleted, JobFailed), ["job.completed", "job.failed"]),
        (Event, ["job.completed", "job.failed", "test", "voice.cloned"]),
    ],
)
def test_a_handler_wants_the_events_of_its_classes(on: Any, wanted: list[str]) -> None:
    made = handler(on=on)(publish)
    assert [
        word for word in ("job.completed", "job.failed", "test", "voice.cloned") if made.subscribes_to(word)
    ] == wanted


@pytest.mark.parametrize(
    "name", ["Publish", "publish-episode", "_publish", "2nd", "a__b", "a_", "", "é", "a" * 64, "a\n"]
)
def test_a_name_that_is_no_name_of_a_table_is_refused(name: str) -> None:
    def function(event: Event, ctx: Ctx) -> None: ...

    function.__name__ = name
    with pytest.raises(PluginError, match="a name is lower-case letters, digits and single underscores"):
        handler(on=Event)(function)


@given(st.from_regex(r"[a-z][a-z0-9]{0,9}(_[a-z0-9]{1,9}){0,4}", fullmatch=True))
def test_every_proper_name_is_taken(name: str) -> None:
    assert handler(on=Event, name=name)(publish).name == name


def test_a_lambda_needs_a_name() -> None:
    with pytest.raises(PluginError, match=r"give name=…"):
        handler(on=Event)(lambda event, ctx: None)
    assert handler(on=Event, name="small")(lambda event, ctx: None).name == "small"


@pytest.mark.parametrize("on", [int, "job.completed", (), (JobCompleted, int), None, [JobCompleted]])
def test_on_takes_event_classes_only(on: Any) -> None:
    with pytest.raises(PluginError, match="on= takes event classes such as JobCompleted") as raised:
        handler(on=on)(publish)
    assert "on=(JobCompleted, JobFailed)" in str(raised.value)


async def generates(event: Event, ctx: Ctx) -> AsyncIterator[str]:
    yield "part"


def generates_plainly(event: Event, ctx: Ctx) -> Iterator[str]:
    yield "part"


async def opens(options: Any) -> AsyncIterator[str]:
    yield "pool"


async def connects(options: Any) -> str:
    return "pool"


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ({"on": "job.completed"}, 'a type as text is a condition: on=Event, where={"type": "job.completed"}'),
        ({"on": [JobCompleted, JobFailed]}, "several of them in parentheses: on=(JobCompleted, JobFailed)."),
        ({"name": 7}, "a name is lower-case letters"),
        ({"name": ["publish"]}, "a name is lower-case letters"),
        ({"attempts": "3"}, "attempts= takes a whole number, not '3'"),
        ({"attempts": 2.5}, "attempts= takes a whole number, not 2.5"),
        ({"attempts": True}, "attempts= takes a whole number, not True"),
        ({"attempts": None}, "attempts= takes a whole number, not None"),
        ({"concurrency": "2"}, "concurrency= takes a whole number, not '2'"),
        ({"concurrency": 2.0}, "concurrency= takes a whole number, not 2.0"),
        ({"timeout": "5m"}, "timeout= takes a number of seconds, not '5m'"),
        ({"timeout": None}, "timeout= takes a number of seconds, not None"),
        ({"timeout": timedelta(minutes=5)}, "timeout= takes a number of seconds, not a timedelta"),
        ({"timeout": float("nan")}, "timeout= takes a number of seconds, not nan"),
        ({"timeout": float("inf")}, "timeout= takes a number of seconds, not inf"),
        ({"options": {"url": "x"}}, "options= takes a pydantic model or dataclass itself, the class"),
        ({"where": "job.completed"}, 'where= takes a dict of conditions, such as {"type": "job.completed"}'),
        ({"where": ["job.completed"]}, "where= takes a dict of conditions"),
        ({"across": ["cluster"], "concurrency": 1}, 'across= is "process" or "cluster"'),
        ({"lifespan": opens}, "decorate one that yields with contextlib.asynccontextmanager"),
        ({"lifespan": connects}, "returns an async context manager"),
    ],
)
def test_an_argument_of_another_type_is_refused_with_what_to_write(arguments: dict[str, Any], what: str) -> None:
    with pytest.raises(PluginError) as raised:
        handler(**{"on": Event, **arguments})(publish)
    assert what in str(raised.value)


@pytest.mark.parametrize("function", [generates, generates_plainly])
def test_a_function_that_yields_is_refused(function: Any) -> None:
    with pytest.raises(PluginError, match="the function must not yield, since nothing would run it"):
        handler(on=Event)(function)


@pytest.mark.parametrize(
    "bounds", [{"attempts": 0}, {"attempts": -1}, {"timeout": 0}, {"timeout": -1.0}, {"concurrency": 0}]
)
def test_bounds_that_would_never_run_it_are_refused(bounds: dict[str, Any]) -> None:
    with pytest.raises(PluginError, match="at least 1, timeout more than 0"):
        handler(on=Event, **bounds)(publish)


def takes_none() -> None: ...
def takes_one(event: Event) -> None: ...
def takes_three(event: Event, ctx: Ctx, more: int) -> None: ...
def takes_names(*, event: Event, ctx: Ctx) -> None: ...


@pytest.mark.parametrize("function", [takes_none, takes_one, takes_three, takes_names])
def test_a_function_that_does_not_take_event_and_context_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(PluginError, match=rf"'{function.__name__}': the function must take \(event, ctx\)"):
        handler(on=Event)(function)


class Publisher:
    async def publish(self, event: Event, ctx: Ctx) -> str:
        return "method"

    async def __call__(self, event: Event, ctx: Ctx) -> str:
        return "object"


async def with_prefix(prefix: str, event: Event, ctx: Ctx) -> str:
    return prefix


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (Publisher().publish, "method"),
        (Publisher(), "object"),
        (partial(with_prefix, "partial"), "partial"),
    ],
    ids=["method", "object", "partial"],
)
def test_whatever_is_called_like_an_async_function_runs_as_one(function: Any, result: str) -> None:
    made = handler(on=Event, name="callable")(function)
    outcome = run_handler(made, completed())
    assert (outcome.state, outcome.result) == ("succeeded", result)


def test_bounds_from_the_configuration_replace_the_handlers_own_where_there_are_any() -> None:
    made = handler(on=Event, attempts=5, timeout=9, concurrency=2)(publish)
    assert made.with_bounds(None, None, None, None) == made
    assert made.with_bounds(1, 0.5, 7, None) == handler(on=Event, attempts=1, timeout=0.5, concurrency=7)(publish)


@pytest.mark.parametrize(
    ("where", "what"),
    [
        ({}, "where: has no condition; remove it to match every event"),
        ({"type": "job.failed"}, "where.type: the handler never gets 'job.failed': it subscribes to JobCompleted"),
        (
            {"cust": 1, "source": 7},
            (
                "where.cust: is not a condition; there is: source, type, metadata; "
                "where.source: must be a text, or a list of texts"
            ),
        ),
    ],
)
def test_conditions_that_cannot_be_used_are_refused(where: dict[str, Any], what: str) -> None:
    with pytest.raises(PluginError) as raised:
        handler(on=JobCompleted, where=where)(publish)
    assert str(raised.value) == f"The handler 'publish': {what}."
