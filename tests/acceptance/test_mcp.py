"""`mcp` over standard input and output: the official SDK's client starts the command and uses its tools."""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.mcp_support import (
    OPERATOR,
    TOKENS,
    VIEWER,
    Client,
    StdioServerParameters,
    failure,
    over_stdio,
    run,
    speaking,
    started,
    success,
    text_of,
)
from tests.acceptance.support import GeneratedWav, Provider, Site, sha256_at_the_origin, until
from tests.patience import PATIENCE

ROOT = Path(__file__).parents[2]
NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def quick() -> Iterator[Provider]:
    """A provider that ends jobs by itself."""
    provider = Provider(job_seconds=0.3)
    yield provider
    provider.close()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_assistant_finds_a_voice_speaks_and_hears_the_audio(mode: str, site: Site, quick: Provider) -> None:
    server = speaking(site, quick)

    async def use() -> None:
        async with over_stdio(site, server.private, mode=mode) as client:
            voices = await success(client, "search_voices", query="en-us", limit=1)
            assert voices["source"] == "aitts"
            assert len(voices["voices"]) == 1
            assert voices["matching"] > 1
            reports: list[tuple[float, float | None, str | None]] = []

            async def report(progress: float, total: float | None, message: str | None) -> None:
                reports.append((progress, total, message))

            arguments = {"text": "Hello.", "voice": voices["voices"][0]["id"], "wait_seconds": PATIENCE}
            result = await client.call_tool("generate_speech", arguments, progress_callback=report)
            job = result.structured_content
            assert job is not None, text_of(result)
            assert (job["state"], job["source"]) == ("completed", "aitts")
            assert job["chars_charged"] == len("Hello.")
            assert job["next_step"] == f"Call get_audio with {job['id']}."
            assert reports == sorted(reports)
            assert reports[0][1:] == (PATIENCE, f"{job['id']} is watching")

            assert await success(client, "job_status", job_id=job["id"]) == job
            assert await success(client, "job_status", job_id=job["provider_job_id"]) == job
            for id in (job["id"], job["provider_job_id"], job["event_id"]):
                result = await client.call_tool("get_audio", {"job_id": id})
                [audio] = [block for block in result.content if block.type == "audio"]
                assert hashlib.sha256(base64.b64decode(audio.data)).hexdigest() == job["audio"][0]["sha256"]
                assert audio.mime_type == "audio/wav"
                assert result.structured_content == {**job["audio"][0], "inline": True}
            events = await success(client, "recent_events", type="job.completed")
            assert [event["id"] for event in events["events"]] == [job["event_id"]]
            assert events["next"] is None

    run(use())
    [job] = quick.sim.jobs
    assert hashlib.sha256(site.final_files()[0].read_bytes()).hexdigest() == sha256_at_the_origin(job)


def test_a_job_that_the_service_failed_says_why(site: Site, quick: Provider) -> None:
    server = speaking(site, quick)
    why = "The audio could not be generated."

    async def use() -> None:
        async with over_stdio(site, server.private) as client:
            job = await success(client, "generate_speech", text="[fail]", voice="alloy", wait_seconds=PATIENCE)
            assert (job["state"], job["error_code"], job["error"]) == ("failed", "GENERATION_FAILED", why)
            assert job["next_step"] == f"It is failed: {why} Repair the cause before you call generate_speech again."
            assert await success(client, "job_status", job_id=job["id"]) == job
            said = await failure(client, "get_audio", job_id=job["id"])
            assert said == f"The job {job['id']} has no audio. {job['next_step']}"

    run(use())


def test_large_audio_is_a_link_that_works(site: Site, provider: Provider) -> None:
    server = speaking(site, provider)

    async def use() -> None:
        async with over_stdio(site, server.private) as client:
            job = await success(client, "generate_speech", text="Long.", voice="alloy")
            assert job["state"] == "watching"
            assert "again in some seconds" in await failure(client, "get_audio", job_id=job["id"])
            provider.finish(provider.sim.jobs[job["provider_job_id"]], GeneratedWav(bytes=600_000))
            until("the audio is recorded", lambda: site.rows("SELECT n FROM artifacts"))
            result = await client.call_tool("get_audio", {"job_id": job["id"]})
            [link] = [block for block in result.content if block.type == "resource_link"]
            assert not [block for block in result.content if block.type == "audio"]
            assert result.structured_content is not None
            assert result.structured_content["inline"] is False
            with urllib.request.urlopen(link.uri, timeout=PATIENCE) as response:
                content = response.read()
            assert len(content) == link.size == 600_000
            assert hashlib.sha256(content).hexdigest() == result.structured_content["sha256"]
            assert "has 1 file, numbered from 0: there is no file 1" in await failure(
                client, "get_audio", job_id=job["id"], n=1
            )

    run(use())


def test_errors_say_what_happened_and_what_to_do(site: Site, provider: Provider) -> None:
    server = speaking(site, provider, TOKENS)
    file = site.folder / "token"
    file.write_text(VIEWER)

    async def use() -> None:
        async with over_stdio(site, server.private, TTS_MCP_TOKEN=OPERATOR) as client:
            assert "did you mean 'aitts'?" in await failure(
                client, "generate_speech", text="Hello.", voice="alloy", source="aits"
            )
            assert "recent_events" in await failure(client, "job_status", job_id="nope")
            assert await failure(client, "job_status", jobid="x") == (
                "job_status was not called: job_id: Field required; jobid: Extra inputs are not permitted."
            )
            assert "there are generate_speech, " in await failure(client, "delete_everything")
            own = {"text": "twice"}
            assert "text" in await failure(client, "generate_speech", text="Hello.", voice="alloy", options=own)
            text = await failure(client, "generate_speech", text="Hello.", voice="alloy", format="flac")
            assert "flac" in text
        async with over_stdio(site, server.private, "--token-file", str(file)) as client:
            assert (await success(client, "recent_events"))["events"] == []
            assert "operator" in await failure(client, "generate_speech", text="Hello.", voice="alloy")
        async with over_stdio(site, server.private, TTS_MCP_TOKEN="wrong-0123456789") as client:
            text = await failure(client, "recent_events")
            assert "--token-file or in $TTS_MCP_TOKEN" in text
            assert "wrong-0123456789" not in text
        async with over_stdio(site, NOBODY) as client:
            assert "Is `tts-receiver serve` running there?" in await failure(client, "recent_events")
        async with over_stdio(site, provider.sim.base_url) as client:
            assert "is not the API of a receiver" in await failure(client, "recent_events")

    run(use())
    assert len(provider.sim.jobs) == 0


def test_a_submit_whose_answer_was_lost_is_repeated_by_its_key_and_charged_once(site: Site, provider: Provider) -> None:
    server = speaking(site, provider)
    arguments = {"text": "Hello.", "voice": "alloy", "source": "aitts"}

    async def use() -> None:
        async with over_stdio(site, NOBODY) as client:
            text = await failure(client, "generate_speech", **arguments)
        key = text.partition('idempotency_key "')[2].partition('"')[0]
        async with over_stdio(site, server.private) as client:
            jobs = [await success(client, "generate_speech", **arguments, idempotency_key=key) for _ in range(2)]
            assert jobs[0]["id"] == jobs[1]["id"]
            assert (await success(client, "generate_speech", **arguments))["id"] != jobs[0]["id"]

    run(use())


def test_its_changes_are_in_the_audit_log_under_the_token(site: Site, provider: Provider) -> None:
    server = speaking(site, provider, TOKENS)

    async def use() -> None:
        async with over_stdio(site, server.private, TTS_MCP_TOKEN=OPERATOR) as client:
            await success(client, "generate_speech", text="Hello.", voice="alloy")

    run(use())
    [change] = json.loads(site.command("changes", "list", "--json").stdout)["items"]
    assert (change["actor"], change["via"], change["operation"]) == ("assistant", "api", "speak")


def test_standard_output_has_the_protocol_only_and_its_end_ends_the_command(site: Site) -> None:
    with started(site, "--api", NOBODY) as command:
        answer = command.initialize()
        assert answer["result"]["serverInfo"]["name"] == "tts-receiver"
        command.process.stdin.write(b"no JSON\n")
        command.send(id=2, method="tools/call", params={"name": "recent_events", "arguments": {}})
        assert json.loads(command.read_line())["result"]["isError"] is True
        command.process.stdin.close()
        code, rest, errors = command.end()
        assert code == 0
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
        assert "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_also_while_a_call_waits(number: signal.Signals, site: Site, provider: Provider) -> None:
    server = speaking(site, provider)
    with started(site, "--api", server.private) as command:
        command.initialize()
        arguments = {"text": "Hello.", "voice": "alloy", "wait_seconds": 600}
        command.send(id=2, method="tools/call", params={"name": "generate_speech", "arguments": arguments})
        until("it is submitted", lambda: site.rows("SELECT id FROM jobs WHERE state = 'watching'"))
        command.process.send_signal(number)
        assert command.end() == (0, "", "")
    [job] = site.rows("SELECT state FROM jobs")
    assert job["state"] == "watching"


def test_a_client_that_closes_our_output_ends_it_without_a_traceback(site: Site) -> None:
    with started(site, "--api", NOBODY) as command:
        command.initialize()
        command.process.stdout.close()
        command.send(id=2, method="ping")
        assert command.process.wait(PATIENCE) == 0
        assert command.errors.read_text() == ""


def test_the_configuration_of_the_how_to_can_be_used(site: Site) -> None:
    server = site.configure(TOKENS).start()
    page = (ROOT / "docs" / "how-to" / "use-with-an-assistant.md").read_text()
    shown = json.loads(page.partition("```json\n")[2].partition("```")[0])["mcpServers"]["speech"]
    token = site.folder / "token"
    token.write_text(VIEWER)
    mine = {"http://127.0.0.1:8081": server.private, "/home/me/.tts-token": str(token)}
    assert mine.keys() <= {*shown["args"]}

    async def use() -> None:
        words = [mine.get(word, word) for word in shown["args"]]
        parameters = StdioServerParameters(command=sys.executable, args=["-m", "receiver", *words])
        async with Client(parameters) as client:
            listed = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
            for name, hints in listed.items():
                assert f"| `{name}` |" in page
                assert hints is not None
                assert hints.read_only_hint is (name != "generate_speech")
            assert (await success(client, "recent_events"))["events"] == []

    run(use())


def test_a_refusal_that_is_known_does_not_ask_to_repeat_the_call(site: Site, provider: Provider) -> None:
    server = speaking(site, provider, "[sources.aitts.budget]\ncharacters_per_day = 8")

    async def use() -> None:
        async with over_stdio(site, server.private) as client:
            await success(client, "generate_speech", text="Hello.", voice="alloy")
            refused = await failure(client, "generate_speech", text="Hello.", voice="alloy")
            assert "Try again in " in refused
            assert "idempotency_key" not in refused

    run(use())
    assert len(provider.sim.jobs) == 1
