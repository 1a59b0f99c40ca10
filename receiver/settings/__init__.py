"""The configuration: TOML file, environment and secrets directory, read and validated once.

The variable `TTS_RECEIVER_<TABLE>__<KEY>` overrides a key of the file. A file in the secrets directory, named like the
rest of the variable in lower case (`sources__aitts__api_key`), sets a key without an environment variable. The
environment has precedence over the secrets directory, and that over the file. Unknown keys are errors that name the
nearest known one.
"""

from __future__ import annotations

from receiver.settings.api import Api, ApiToken
from receiver.settings.base import suggestion
from receiver.settings.generic import GenericTable
from receiver.settings.loading import load, load_partial
from receiver.settings.signature import SignatureTable
from receiver.settings.source import WEBHOOK_SECONDS, Poll, SigningSecret, Source
from receiver.settings.tables import (
    TABLES,
    Audio,
    Console,
    Dispatch,
    HandlerSettings,
    Logs,
    Plugins,
    Search,
    Server,
    Settings,
    Store,
)
from receiver.settings.tls import HandlerTls
from receiver.settings.users import ConsoleUser

__all__ = [
    "TABLES", "WEBHOOK_SECONDS", "Api", "ApiToken", "Audio", "Console", "ConsoleUser", "Dispatch", "GenericTable",
    "HandlerSettings", "HandlerTls", "Logs", "Plugins", "Poll", "Search", "Server", "Settings", "SignatureTable",
    "SigningSecret", "Source", "Store", "load", "load_partial", "suggestion",
]  # fmt: skip
