"""Simulated text-to-speech providers: real HTTP servers on loopback, for tests and development.

Written from the providers' documentation alone. It imports nothing of the receiver but `receiver.clock`, so that the
receiver's view of a provider is tested against an independent one. Each of aitts, audixa, finevoice and miragic is a
module; `Simulator` runs all four.
"""

from .faults import NAMES as FAULT_NAMES
from .faults import Faults
from .generated import GeneratedWav
from .jobs import PROVIDERS, Job, JobState, JobStore
from .library import Audio, Clip, Library
from .server import Simulator
from .settings import DEFAULT_RETRIES, Settings
from .signing import (
    completed_body,
    delivery_headers,
    failed_body,
    flat_body,
    sign,
    test_body,
)
from .state import Account, Delivery
from .voices import VOICES, Voice

__all__ = [
    "DEFAULT_RETRIES",
    "FAULT_NAMES",
    "PROVIDERS",
    "VOICES",
    "Account",
    "Audio",
    "Clip",
    "Delivery",
    "Faults",
    "GeneratedWav",
    "Job",
    "JobState",
    "JobStore",
    "Library",
    "Settings",
    "Simulator",
    "Voice",
    "completed_body",
    "delivery_headers",
    "failed_body",
    "flat_body",
    "sign",
    "test_body",
]
