"""`artifact.link`: the address at which the receiver's API serves a stored file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver import Context, JobCompleted, handler
from receiver.engine.links import AudioLinks
from receiver.errors import ConfigError
from receiver.settings import load
from receiver.testing import completed, run_handler, wav


@handler(on=JobCompleted)
async def links(event: JobCompleted, ctx: Context[None]) -> list[str | None]:
    return [file.link for file in await ctx.audio_files()]


def test_a_test_of_a_handler_has_links_at_the_listeners_default_address() -> None:
    event = completed()
    outcome = run_handler(links, event, audio=[wav(), wav()])
    at = f"http://127.0.0.1:8081/v1/events/{event.id}/audio?n="
    assert outcome.result == [f"{at}0", f"{at}1"]


def test_without_a_listener_and_a_setting_there_is_no_link() -> None:
    assert AudioLinks().link("evt_1", 0) is None


def test_the_setting_wins_over_the_listeners_address() -> None:
    links = AudioLinks("https://tts.example/api")
    links.listening_at("http://127.0.0.1:8081")
    assert links.link("evt_1", 2) == "https://tts.example/api/v1/events/evt_1/audio?n=2"


def written(folder: Path, url: str) -> Path:
    file = folder / "receiver.toml"
    file.write_text(
        f'[api]\nurl = "{url}"\n'
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["tts_signing_secret_0123456789"]\n'
    )
    return file


@pytest.mark.parametrize("given", ["http://tts.internal:8081", "https://tts.example/api/", "http://[::1]:8081/tts"])
def test_the_base_address_is_that_of_the_api(tmp_path: Path, given: str) -> None:
    assert load(written(tmp_path, given)).api.url == given.rstrip("/")


@pytest.mark.parametrize(
    "given", ["", "tts.internal:8081", "ftp://x", "http://", "http://a:b@x", "http://x/?", "http://x/#a", "http://x y"]
)
def test_what_is_no_base_address_is_an_error_that_names_the_key(tmp_path: Path, given: Any) -> None:
    with pytest.raises(ConfigError) as raised:
        load(written(tmp_path, given))
    [problem] = raised.value.problems
    assert str(problem).startswith("api.url: must be an absolute http(s) address")
