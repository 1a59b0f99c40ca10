"""The decorator that makes a function a handler: small and typed, because plugin authors use it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from receiver.engine.routing import stated_where
from receiver.errors import ConfigError, ConfigProblem, PluginError
from receiver.model.event import Event, subscribes
from receiver.model.routing import Mismatch, Where, first_mismatch

if TYPE_CHECKING:
    from receiver.engine.context import Context

E = TypeVar("E", bound=Event)
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")

Result = Any
"""What a handler may return: JSON values, stored with the run; usually a dict or None."""

Across = Literal["process", "cluster"]

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""Gets the handler's checked options. Its value is `ctx.state`."""


@dataclass(frozen=True, slots=True)
class Handler:
    """A function that subscribes to event types, and its bounds.

    It can still be called like the function: `await publish(event, ctx)`.

    Attributes:
        name: unique; used in the runs, the log lines and the `[handlers.NAME]` table.
        on: event classes it subscribes to.
        attempts: executions before the run is dead.
        timeout: seconds one attempt may take.
        concurrency: how many of its runs may execute at once; None: only the dispatcher's bound.
        across: whether `concurrency` bounds the runs of each process, or those of all processes on the store together.
        options: a pydantic model or dataclass that validates the table's other keys.
        where: the conditions that an event must meet, the handler's own and those of the configuration.
        lifespan: opens what its runs share, `ctx.state`.
    """

    name: str
    function: Callable[..., Any]
    on: tuple[type[Event], ...]
    attempts: int = 8
    timeout: float = 300.0
    concurrency: int | None = None
    options: type[Any] | None = None
    where: Where = ()
    lifespan: Lifespan | None = None
    across: Across = "process"
    is_async: bool = field(init=False, repr=False, compare=False)
    """Whether it runs on the handlers' loop; a plain function runs in a thread."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_async", inspect.iscoroutinefunction(self.function))

    def __call__(self, event: Event, ctx: Context[Any, Any]) -> Any:
        """Call the function itself."""
        return self.function(event, ctx)

    def subscribes_to(self, event_type: str) -> bool:
        """Whether it subscribes to this event word."""
        return subscribes(self.on, event_type)

    def mismatch(self, type: str, source: str, payload: Mapping[str, Any]) -> Mismatch | None:
        """Why it gets no event of this type, source and normalised payload; None if it gets it."""
        if not self.subscribes_to(type):
            return Mismatch("on", tuple(cls.__name__ for cls in self.on), type)
        return first_mismatch(self.where, type, source, payload)

    def with_bounds(
        self, attempts: int | None, timeout: float | None, concurrency: int | None, across: Across | None
    ) -> Handler:
        """Return a copy with the bounds that the configuration sets.

        Raises:
            ConfigError: `across` says what a `concurrency` holds for, and there is none.
        """
        bounded = replace(
            self,
            attempts=attempts or self.attempts,
            timeout=timeout or self.timeout,
            concurrency=concurrency or self.concurrency,
            across=across or self.across,
        )
        if across is not None and bounded.concurrency is None:
            raise ConfigError([ConfigProblem("across", "has no effect without concurrency")])
        return bounded

    def narrowed(self, where: Where) -> Handler:
        """Return a copy whose events must meet these conditions as well."""
        return replace(self, where=self.where + where)


def handler(
    *,
    on: type[E] | tuple[type[Event], ...],
    name: str | None = None,
    attempts: int = 8,
    timeout: float = 300.0,
    concurrency: int | None = None,
    options: type[Any] | None = None,
    where: Mapping[str, Any] | None = None,
    lifespan: Lifespan | None = None,
    across: Across = "process",
) -> Callable[[Callable[[E, Context[Any, Any]], Awaitable[Result] | Result]], Handler]:
    """Make a function `(event, ctx)` a handler.

    An async function runs on the handlers' event loop, a plain one in a thread of its own. Its return value is stored
    with the run. An exception means another attempt, with exponential backoff; `Reject` ends the run as a dead letter,
    `RetryLater` says when to try again.

    Args:
        on: an event class or several: `JobCompleted`, `JobFailed`, `TestEvent`, `OtherEvent`, or `Event` for all.
        name: the function's name if not given; lower-case letters, digits and underscores.
        attempts: executions before the run is dead; at least 1.
        timeout: seconds one attempt may take.
        concurrency: how many of its runs may execute at once.
        options: a pydantic model or dataclass for the keys of `[handlers.NAME]`; given as `ctx.options`.
        where: conditions on `source`, `type` and `metadata` that an event must meet; those of the configuration apply
            as well. A value is a text, a number, true or false, a text with `*`, `?` or `[` (a glob), or a list of
            these, any of which matches.
        lifespan: a function of the options that returns an async context manager, such as one made with
            `@asynccontextmanager`. It is entered once for each table, before the first run, and exited when the
            receiver stops; its value is `ctx.state`. If entering fails, so does the attempt, and the next one enters
            it again.
        across: `"cluster"`: `concurrency` bounds the runs of all processes on the store together, not of each one.

    Raises:
        PluginError: an argument does not fit; the message names the function.
    """

    def decorate(function: Callable[[E, Context[Any, Any]], Awaitable[Result] | Result]) -> Handler:
        handler_name = name or str(getattr(function, "__name__", ""))
        stated = f"The handler {handler_name!r}"
        if not isinstance(handler_name, str) or not NAME.match(handler_name) or len(handler_name) > 63:
            raise PluginError(f"{stated}: a name is lower-case letters, digits and single underscores; give name=….")
        types = on if isinstance(on, tuple) else (on,)
        if not types or not all(map(_is_event_class, types)):
            raise PluginError(
                f"{stated}: on= takes event classes such as JobCompleted, several of them in parentheses: "
                f"on=(JobCompleted, JobFailed){_instead_of_classes(types)}."
            )
        _check_bounds(stated, attempts, timeout, concurrency)
        if across not in get_args(Across) or (across == "cluster" and concurrency is None):
            raise PluginError(f'{stated}: across= is "process" or "cluster", and "cluster" needs concurrency=.')
        if isinstance(options, str | Mapping) or (is_dataclass(options) and not isinstance(options, type)):
            raise PluginError(f"{stated}: options= takes a pydantic model or dataclass itself, the class.")
        if where is not None and not isinstance(where, Mapping):
            raise PluginError(f'{stated}: where= takes a dict of conditions, such as {{"type": "job.completed"}}.')
        try:
            conditions = () if where is None else stated_where(where, types)
        except ConfigError as error:
            raise PluginError(f"{stated}: {'; '.join(map(str, error.problems))}.") from None
        try:
            inspect.signature(function).bind(None, None)
        except TypeError:
            raise PluginError(f"{stated}: the function must take (event, ctx).") from None
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise PluginError(f"{stated}: the function must not yield, since nothing would run it; return the result.")
        if lifespan is not None and not _takes_options(lifespan):
            raise PluginError(
                f"{stated}: lifespan= takes a function of the options; it returns an async context manager."
            )
        if inspect.isasyncgenfunction(lifespan) or inspect.iscoroutinefunction(lifespan):
            raise PluginError(
                f"{stated}: lifespan= takes a function that returns an async context manager: decorate one that yields "
                "with contextlib.asynccontextmanager."
            )
        return Handler(
            handler_name, function, types, attempts, timeout, concurrency, options, conditions, lifespan, across
        )

    return decorate


def _is_event_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Event)


def _instead_of_classes(given: tuple[Any, ...]) -> str:
    """What to write instead of what is not a class."""
    if any(isinstance(value, str) for value in given):
        return '; a type as text is a condition: on=Event, where={"type": "job.completed"}'
    return ""


def _check_bounds(stated: str, attempts: Any, timeout: Any, concurrency: Any) -> None:
    """Refuse bounds that are no numbers, or with which it would never run.

    Raises:
        PluginError: says which.
    """
    for name, value in (("attempts", attempts), ("concurrency", concurrency)):
        if value is None and name == "concurrency":
            continue
        if not isinstance(value, int) or isinstance(value, bool):
            raise PluginError(f"{stated}: {name}= takes a whole number, not {_shown(value)}.")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not math.isfinite(timeout):
        raise PluginError(f"{stated}: timeout= takes a number of seconds, not {_shown(timeout)}.")
    if attempts < 1 or timeout <= 0 or (concurrency is not None and concurrency < 1):
        raise PluginError(f"{stated}: attempts and concurrency are at least 1, timeout more than 0 seconds.")


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float | None) else f"a {type(value).__name__}"


def _takes_options(lifespan: Any) -> bool:
    try:
        inspect.signature(lifespan).bind(None)
    except TypeError:  # not callable, or with other parameters
        return False
    except ValueError:  # a callable without a signature, written in C
        return True
    return True
