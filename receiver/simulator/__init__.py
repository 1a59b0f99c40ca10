"""Text-to-speech providers played by real HTTP servers on loopback, for tests and for trying out.

Written from the providers' documentation alone; it imports nothing of the receiver, so that what
the receiver believes about a provider is tested against something else. `aitts` is here; others
will be modules beside it.
"""

from .faults import Faults
from .generated import GeneratedWav
from .jobs import Job, JobBook, JobState
from .library import Audio, Clip, Library
from .server import Simulator
from .signing import (
    completed_body,
    delivery_headers,
    failed_body,
    flat_body,
    sign,
    test_body,
)
from .voices import VOICES, Voice
from .world import DEFAULT_RETRIES, Account, Delivery, Settings

__all__ = [
    "DEFAULT_RETRIES",
    "VOICES",
    "Account",
    "Audio",
    "Clip",
    "Delivery",
    "Faults",
    "GeneratedWav",
    "Job",
    "JobBook",
    "JobState",
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
