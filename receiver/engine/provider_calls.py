"""Calls of provider modules, which may be plugins: whatever one raises becomes a `ProviderError`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import structlog

from receiver.providers.types import ModuleFailed, ProviderError

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger("receiver.providers")


def call_provider(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a method of a provider module that builds a request or reads a response.

    Raises:
        ProviderError: the method's own.
        ModuleFailed: the method raised something else. The traceback is in the log.
    """
    try:
        return method(*args, **kwargs)
    except ProviderError:
        raise
    except Exception as error:
        inner = method.func if isinstance(method, partial) else method
        name = f"{getattr(inner, '__module__', '?')}.{getattr(inner, '__qualname__', inner)}"
        log.exception("provider.failed", call=name)
        raise ModuleFailed(f"A bug in the provider module: {name} raised {type(error).__name__}: {error}") from error
