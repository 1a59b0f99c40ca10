"""The voices of a source: the command and the API answer alike, and refuse with the same words."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from receiver.cli.commands import build
from receiver.errors import ReceiverError
from receiver.settings import load
from receiver.simulator import Simulator
from tests.integration.api_support import Api, api

pytestmark = pytest.mark.anyio

SOURCE = """
[sources.{name}]
provider = "{name}"
base_url = "{url}"
allow_private_addresses = true
poll.requests_per_second = 1000
"""


def write_config(folder: Path, sim: Simulator) -> Path:
    text = "[handlers.log]\n"
    for name in ("audixa", "finevoice", "miragic"):
        text += SOURCE.format(name=name, url=sim.base_urls[name]) + f'api_key = "{sim.api_keys[name]}"\n'
    text += SOURCE.format(name="finevoice", url=sim.base_urls["finevoice"]).replace(".finevoice]", ".listed]")
    text += f'api_key = "{sim.api_keys["finevoice"]}"\nvoices = {{ path = "/v1/voices", list = "result.voices" }}\n'
    text += f'[sources.keyless]\nprovider = "aitts"\nbase_url = "{sim.base_urls["aitts"]}"\n'
    file = folder / "receiver.toml"
    file.write_text(f'{text}allow_private_addresses = true\nsigning_secrets = ["{sim.signing_secret}"]\n')
    return file


async def answers(client: Api, config: Path, source: str, filters: dict[str, str]) -> tuple[Any, Any]:
    """What the command and the API answer: the voices, or why there are none."""
    options = [word for name, value in filters.items() for word in (f"--{name}", value)]
    words = ["voices", "--source", source, *options, "--json", "--config", str(config)]
    done = await asyncio.to_thread(CliRunner().invoke, build(), words)
    if isinstance(done.exception, ReceiverError):
        printed: Any = str(done.exception).removeprefix(f"Source {source}: ")
    else:
        assert done.exception is None, done.exception
        printed = json.loads(done.stdout)["items"]
    response = await client.client.get("/v1/voices", params={"source": source} | filters)
    body = response.json()
    return printed, body["items"] if response.status_code == 200 else body["detail"]


async def test_the_command_and_the_api_answer_and_refuse_alike(tmp_path: Path) -> None:
    async with Simulator(job_seconds=None) as sim:
        config = write_config(tmp_path, sim)
        async with api(load(config)) as client:
            for source, filters, expected in [
                ("audixa", {"model": "base"}, None),
                ("audixa", {"gender": "Male"}, "not by language, gender or provider"),
                ("miragic", {}, None),
                ("miragic", {"language": "de"}, "miragic has no list of voices; known voices: alloy, "),
                ("finevoice", {}, "finevoice has no list of voices; see the service's own pages."),
                ("listed", {}, None),
                ("listed", {"language": "FR-fr"}, None),
                ("keyless", {}, "aitts lists its voices only with an API key, and the source keyless has no api_key."),
            ]:
                printed, answered = await answers(client, config, source, filters)
                assert printed == answered
                assert len(answered) > 0
                assert (expected is None and isinstance(answered, list)) or expected in answered
