"""The configuration: TOML file, environment, secrets directory; read once, checked whole.

Every key of the file can be overridden by `TTS_RECEIVER_<TABLE>__<KEY>`; a file of that name's lower-case rest in the
secrets directory (`sources__aitts__api_key`) gives a secret without an environment variable. The environment wins
over the secrets directory, which wins over the file. Unknown keys are errors that name the nearest known one.
"""

from __future__ import annotations

from receiver.settings.api import Api, ApiToken
from receiver.settings.base import suggestion
from receiver.settings.generic import GenericTable
from receiver.settings.loading import load, load_partial
from receiver.settings.source import WEBHOOK_SECONDS, Poll, SigningSecret, Source
from receiver.settings.tables import (
    TABLES,
    Audio,
    Dispatch,
    HandlerSettings,
    Logs,
    Plugins,
    Server,
    Settings,
    Store,
)

__all__ = [
    "TABLES", "WEBHOOK_SECONDS", "Api", "ApiToken", "Audio", "Dispatch", "GenericTable", "HandlerSettings", "Logs",
    "Plugins", "Poll", "Server", "Settings", "SigningSecret", "Source", "Store", "load", "load_partial", "suggestion",
]  # fmt: skip
