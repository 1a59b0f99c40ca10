"""What the tests of the configuration share: a source that is right, and the problems of a file that is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from receiver.errors import ConfigError
from receiver.settings import Source, load

SECRET = "tts_signing_secret_0123456789"

GOOD = f"""
[sources.aitts]
provider = "aitts"
api_key = "tts_live_key"
signing_secrets = ["{SECRET}"]
"""

Write = Callable[[str], Path]


def problems(file: Path | None = None) -> dict[str, str]:
    """What is wrong, by place. No secret is in it."""
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.problems)
    return {problem.where: problem.what for problem in caught.value.problems}


def secrets_of(source: Source) -> list[str]:
    """The texts of a source's signing secrets."""
    made = source.signing_keys()
    return [key.secret.decode() for key in made]
