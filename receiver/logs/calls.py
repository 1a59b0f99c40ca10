"""structlog's logger, with calls that never raise: arguments that do not match the message become a field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog

_METHODS = ("debug", "info", "warning", "warn", "error", "critical", "fatal", "exception")


def bound_logger(threshold: int) -> type[structlog.typing.FilteringBoundLogger]:
    """The class of loggers that drop lines below a level of the standard library's logging."""
    base = structlog.make_filtering_bound_logger(threshold)
    methods = {name: _without_raising(getattr(base, name)) for name in _METHODS}
    return type("BoundLogger", (base,), {"threshold": threshold, **methods})


def _without_raising(method: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, event: Any, *arguments: Any, **fields: Any) -> Any:
        if arguments:
            try:
                event %= arguments[0] if len(arguments) == 1 and isinstance(arguments[0], dict) else arguments
            except Exception:  # noqa: BLE001 - a wrong number of them, or one that cannot be formatted
                fields["arguments"] = arguments
        return method(self, event, **fields)

    call.__name__ = method.__name__
    return call
