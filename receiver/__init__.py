"""A webhook receiver and event processor for text-to-speech services.

This is the public API for authors of handlers and for applications that mount the receiver. Other public modules are
`receiver.signing`, `receiver.testing`, `receiver.providers` and `receiver.contract`; everything else is internal.
Names are imported when they are first used, so that `import receiver` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from receiver.asgi import create_app
    from receiver.engine.context import Artifact, Context
    from receiver.engine.handler import Handler, handler
    from receiver.errors import (
        AudioDelayed,
        AudioError,
        AudioGone,
        AudioRefused,
        BlockedAddress,
        ConfigError,
        NoAudio,
        PluginError,
        ReceiverError,
        Reject,
        RetryLater,
    )
    from receiver.model.event import Event, JobCompleted, JobFailed, Origin, OtherEvent, TestEvent
    from receiver.outbound.retry_after import retry_after
    from receiver.settings import Settings, load

__version__ = "0.1.0"

_EXPORTS = {
    "receiver.asgi": ("create_app",),
    "receiver.engine.context": ("Artifact", "Context"),
    "receiver.engine.handler": ("Handler", "handler"),
    "receiver.errors": (
        "AudioDelayed", "AudioError", "AudioGone", "AudioRefused", "BlockedAddress", "ConfigError", "NoAudio",
        "PluginError", "ReceiverError", "Reject", "RetryLater",
    ),
    "receiver.model.event": ("Event", "JobCompleted", "JobFailed", "Origin", "OtherEvent", "TestEvent"),
    "receiver.outbound.retry_after": ("retry_after",),
    "receiver.settings": ("Settings", "load"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

__all__ = [
    "Artifact", "AudioDelayed", "AudioError", "AudioGone", "AudioRefused", "BlockedAddress", "ConfigError",
    "Context", "Event", "Handler", "JobCompleted", "JobFailed", "NoAudio", "Origin", "OtherEvent", "PluginError",
    "ReceiverError", "Reject", "RetryLater", "Settings", "TestEvent", "create_app", "handler", "load",
    "retry_after",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(module), name)
