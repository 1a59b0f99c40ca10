"""`receiver.testing` as the author of a handler uses it, and the built-in handlers tested with it."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from handlers.log import log
from handlers.save_audio import save_audio
from receiver import (
    AudioDelayed,
    AudioError,
    AudioGone,
    Context,
    Event,
    JobCompleted,
    JobFailed,
    Origin,
    OtherEvent,
    PluginError,
    Reject,
    RetryLater,
    TestEvent,
    handler,
)
from receiver.testing import STOP_SECONDS, completed, failed, make_event, run_handler, wav
from tests.patience import PATIENCE


class Options(BaseModel):
    bucket: str
    public: bool = False


@handler(on=JobCompleted, options=Options, attempts=3)
async def publish_episode(event: JobCompleted, ctx: Context[Options]) -> dict[str, Any] | None:
    """What a plugin looks like."""
    if "episode" not in event.metadata:
        raise Reject("the job names no episode")
    audio = await ctx.audio()
    answer = await ctx.http.put(
        f"https://podcast.test/{ctx.options.bucket}/{event.metadata['episode']}",
        content=await audio.read(),
        headers={"idempotency-key": ctx.idempotency_key},
    )
    if answer.status_code == 429:
        raise RetryLater("the podcast host is busy", after=float(answer.headers["retry-after"]))
    answer.raise_for_status()
    ctx.log.info("episode.published", episode=event.metadata["episode"], seconds=audio.duration)
    return {"episode": event.metadata["episode"], "sha256": audio.sha256}


class Host:
    """The podcast's host, as an httpx transport."""

    def __init__(self, status: int = 201) -> None:
        self.status = status
        self.requests: list[httpx.Request] = []
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.status, headers={"retry-after": "30"})


EPISODE = completed(metadata={"episode": 7})
TO_X = {"bucket": "x"}


# as an author would


def test_a_handler_is_tested_in_three_lines() -> None:
    outcome = run_handler(publish_episode, EPISODE, audio=wav(seconds=2), options=TO_X, http=Host().transport)
    assert outcome.state == "succeeded"
    assert outcome.result == {"episode": 7, "sha256": hashlib.sha256(wav(seconds=2)).hexdigest()}


def test_an_event_may_have_all_that_the_provider_said() -> None:
    @handler(on=Event)
    def charge(event: Event, ctx: Context[None]) -> Any:
        return event.body["data"]["creditsUsed"] if event.body else None

    body = {"data": {"creditsUsed": 3}}
    for event in (completed(body=body), failed(body=body), make_event("job.paused", body=body)):
        assert run_handler(charge, event).result == 3
    assert run_handler(charge, completed()).result is None


def test_what_the_handler_sent_and_logged_can_be_looked_at() -> None:
    host = Host()
    outcome = run_handler(publish_episode, EPISODE, audio=wav(seconds=2), options=TO_X, http=host.transport)
    [request] = host.requests
    assert (request.method, request.url.path, request.content) == ("PUT", "/x/7", wav(seconds=2))
    assert request.headers["idempotency-key"] == f"{EPISODE.id}:publish_episode"
    [line] = outcome.logs
    assert (line["level"], line["message"], line["episode"], line["seconds"]) == ("info", "episode.published", 7, 2.0)
    assert (line["event"], line["source"], line["job"], line["handler"], line["attempt"]) == (
        EPISODE.id, "test", "job-1", "publish_episode", 1,
    )  # fmt: skip


def test_a_rejected_event_is_dead_at_the_first_attempt() -> None:
    outcome = run_handler(publish_episode, completed(), audio=wav(), options=TO_X)
    assert (outcome.state, str(outcome.error)) == ("dead", "the job names no episode")
    assert isinstance(outcome.error, Reject)


def test_retry_later_says_when() -> None:
    outcome = run_handler(publish_episode, EPISODE, audio=wav(), options=TO_X, http=Host(429).transport)
    assert (outcome.state, outcome.retry_after, outcome.result) == ("retry", 30.0, None)


def test_an_exception_is_tried_again_until_the_last_attempt() -> None:
    host = Host(500)
    states = [
        run_handler(publish_episode, EPISODE, audio=wav(), options=TO_X, http=host.transport, attempt=attempt)
        for attempt in (1, 2, 3)
    ]
    assert [outcome.state for outcome in states] == ["retry", "retry", "dead"]
    assert isinstance(states[0].error, httpx.HTTPStatusError)
    assert states[0].retry_after is None
    assert len({request.headers["idempotency-key"] for request in host.requests}) == 1


@pytest.mark.parametrize(
    ("error", "state", "after"),
    [
        (AudioGone("it is gone"), "dead", None),
        (AudioError("the connection broke"), "retry", None),
        (AudioDelayed("wait", after=300), "retry", 300.0),
    ],
)
def test_audio_that_cannot_be_had_is_an_exception_to_give(error: AudioError, state: str, after: float | None) -> None:
    outcome = run_handler(publish_episode, EPISODE, audio=error, options=TO_X)
    assert (outcome.state, outcome.error, outcome.retry_after) == (state, error, after)


def test_a_handler_that_asks_for_audio_which_the_test_did_not_give_is_told_so() -> None:
    outcome = run_handler(publish_episode, EPISODE, options=TO_X)
    assert (outcome.state, str(outcome.error)) == ("dead", "This test has no audio: pass audio= to run_handler.")


async def _from_inside_a_loop() -> None:
    outcome = run_handler(publish_episode, EPISODE, audio=wav(), options=TO_X, http=Host().transport)
    assert outcome.state == "succeeded"


def test_it_works_in_an_async_test_as_well() -> None:
    asyncio.run(_from_inside_a_loop())


# options


def test_options_are_checked_as_those_of_the_configuration() -> None:
    with pytest.raises(PluginError, match=r"^bucket: Field required$"):
        run_handler(publish_episode, EPISODE, audio=wav())
    with pytest.raises(PluginError, match="bukket is not an option of it; did you mean 'bucket'"):
        run_handler(publish_episode, EPISODE, options={"bukket": "x"})
    with pytest.raises(PluginError, match="takes no options"):
        run_handler(save_audio, EPISODE, options={"folder": "x"})


def test_bounds_among_the_options_hold_as_in_the_handlers_table() -> None:
    options = {"bucket": "x", "attempts": 1}
    assert run_handler(publish_episode, EPISODE, audio=AudioError("no"), options=options).state == "dead"


def test_a_dataclass_is_an_options_class_too() -> None:
    @dataclass
    class Folder:
        path: Path

    @handler(on=Event, options=Folder)
    def note(event: Event, ctx: Context[Folder]) -> str:
        return ctx.options.path.name

    assert run_handler(note, failed(), options={"path": "/srv/notes"}).result == "notes"


# audio


@handler(on=JobCompleted)
async def describe(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    audio = await ctx.audio()
    assert audio.path is not None
    return {
        "format": audio.format, "type": audio.content_type, "bytes": audio.bytes, "duration": audio.duration,
        "rate": audio.sample_rate, "channels": audio.channels, "sha256": audio.sha256, "path": str(audio.path),
        "same": await audio.read() == audio.path.read_bytes() == b"".join([piece async for piece in audio.stream()]),
    }  # fmt: skip


def test_audio_from_bytes_is_a_real_file_whose_facts_are_read_from_it() -> None:
    data = wav(seconds=1.5, sample_rate=16_000)
    result = run_handler(describe, completed("a/b"), audio=data).result
    path = Path(result.pop("path"))
    assert result == {
        "format": "wav", "type": "audio/wav", "bytes": len(data), "duration": 1.5, "rate": 16_000, "channels": 1,
        "sha256": hashlib.sha256(data).hexdigest(), "same": True,
    }  # fmt: skip
    assert path.suffix == ".wav"
    assert not path.parent.exists()  # nothing is left behind


def test_audio_from_a_path_lies_where_it_lies(tmp_path: Path) -> None:
    file = tmp_path / "speech.flac"  # the name is not asked
    file.write_bytes(wav())
    result = run_handler(describe, completed(), audio=file).result
    assert (result["path"], result["format"], result["same"]) == (str(file), "wav", True)
    assert file.read_bytes() == wav()


@pytest.mark.parametrize("data", [b"RIFF...", b"", b"<html>404</html>"])
def test_bytes_that_are_no_audio_are_the_tests_own_mistake(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "audio").write_bytes(data)
    for audio in (data, tmp_path / "audio"):
        with pytest.raises(ValueError, match="not in a supported audio format"):
            run_handler(describe, completed(), audio=audio)


@handler(on=JobCompleted)
async def count_files(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
    files = await ctx.audio_files()
    return {
        "first": files[0] == await ctx.audio(),
        "n": [file.n for file in files],
        "seconds": [file.duration for file in files],
        "apart": len({file.address for file in files}),
        "same": all([hashlib.sha256(await file.read()).hexdigest() == file.sha256 for file in files]),
    }


def test_several_files_are_given_as_a_list_and_each_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(wav(seconds=3))
    result = run_handler(count_files, completed(), audio=[wav(seconds=1), wav(seconds=2), path]).result
    assert result == {"first": True, "n": [0, 1, 2], "seconds": [1.0, 2.0, 3.0], "apart": 3, "same": True}


def test_a_handler_of_several_files_is_given_one_as_well() -> None:
    result = run_handler(count_files, completed(), audio=wav()).result
    assert result == {"first": True, "n": [0], "seconds": [1.0], "apart": 1, "same": True}


def test_one_file_of_several_that_cannot_be_had_ends_the_attempt_but_not_for_who_asks_for_the_first() -> None:
    delayed = [wav(), AudioDelayed("wait", after=5), AudioError("it broke"), AudioDelayed("wait longer", after=60)]
    outcome = run_handler(count_files, completed(), audio=delayed)
    assert (outcome.state, outcome.retry_after) == ("retry", 60.0)
    gone = [wav(), AudioError("it broke"), AudioGone("it is gone")]
    outcome = run_handler(count_files, completed(), audio=gone)
    assert (outcome.state, str(outcome.error)) == ("dead", "it is gone")
    assert run_handler(describe, completed(), audio=gone).state == "succeeded"


def test_no_file_at_all_is_the_tests_own_mistake() -> None:
    with pytest.raises(ValueError, match="an empty list"):
        run_handler(count_files, completed(), audio=[])
    assert run_handler(count_files, completed()).state == "dead"


def test_a_failed_jobs_event_has_no_audio_as_in_the_receiver() -> None:
    @handler(on=Event)
    async def curious(event: Event, ctx: Context[None]) -> None:
        await ctx.audio()

    outcome = run_handler(curious, failed(), audio=wav())
    assert (outcome.state, str(outcome.error)) == (
        "dead",
        "job.failed has no audio; subscribe with on=JobCompleted.",
    )


# kinds of handlers


def test_a_plain_handler_runs_in_a_thread_and_waits_for_audio_with_ctx_wait() -> None:
    @handler(on=JobCompleted)
    def plain(event: JobCompleted, ctx: Context[None]) -> dict[str, Any]:
        return {"thread": threading.current_thread().name, "format": ctx.wait(ctx.audio()).format}

    assert run_handler(plain, completed(), audio=wav()).result == {"thread": "handler-plain", "format": "wav"}


def test_a_handler_that_never_returns_is_timed_out() -> None:
    @handler(on=Event, timeout=0.05)
    async def stuck(event: Event, ctx: Context[None]) -> None:
        await asyncio.Event().wait()

    outcome = run_handler(stuck, failed())
    assert (outcome.state, repr(outcome.error)) == ("retry", "TimeoutError('not done after 0.05 s')")


def test_a_plain_handler_that_never_returns_is_timed_out() -> None:
    release = threading.Event()

    @handler(on=Event, timeout=0.05, attempts=1)
    def stuck(event: Event, ctx: Context[None]) -> None:
        release.wait(PATIENCE)

    outcome = run_handler(stuck, failed())
    release.set()
    assert (outcome.state, type(outcome.error)) == ("dead", TimeoutError)


def test_a_handlers_own_timeout_error_is_its_error() -> None:
    @handler(on=Event)
    async def slow(event: Event, ctx: Context[None]) -> None:
        raise TimeoutError("the database")

    assert str(run_handler(slow, failed()).error) == "the database"


def test_the_result_is_what_would_be_kept_with_the_run() -> None:
    @handler(on=Event)
    async def odd(event: Event, ctx: Context[None]) -> Any:
        return {"when": event.received_at, "path": Path("/a"), "far": float("inf")}

    assert run_handler(odd, failed()).result == {
        "when": "2026-01-02T03:04:05Z",
        "path": "/a",
        "far": "Infinity",
    }


def test_an_event_the_handler_does_not_subscribe_to_is_the_tests_own_mistake() -> None:
    with pytest.raises(ValueError, match=r"'save_audio' does not get the event: its type is .job\.failed"):
        run_handler(save_audio, failed())


def test_no_thread_and_no_time_is_left_over() -> None:
    started, before = time.monotonic(), set(threading.enumerate())
    for _ in range(20):
        run_handler(log, failed())
    assert set(threading.enumerate()) <= before  # one of another test may end meanwhile
    assert time.monotonic() - started < 20 * STOP_SECONDS


# events


def test_completed_makes_the_event_that_a_delivery_makes() -> None:
    event = completed("job-9", metadata={"episode": 7}, chars_charged=42, audio_url="https://a.test/x")
    assert isinstance(event, JobCompleted)
    assert (event.job_id, event.type, event.chars_charged, event.metadata) == (
        "job-9", "job.completed", 42, {"episode": 7},
    )  # fmt: skip
    assert event.payload["audio_url"] == "https://a.test/x"
    assert event.id.startswith("evt_")
    assert len(event.id) == 36


def test_failed_has_the_providers_code_and_words() -> None:
    event = failed(code="VOICE_NOT_FOUND", message="no such voice", metadata={"a": 1})
    assert isinstance(event, JobFailed)
    assert (event.code, event.message, event.metadata) == ("VOICE_NOT_FOUND", "no such voice", {"a": 1})
    assert failed().code == "GENERATION_FAILED"


def test_make_event_makes_every_other_kind() -> None:
    assert isinstance(make_event("test", None), TestEvent)
    other = make_event("voice.cloned", None, source="studio", origin=Origin.POLL, payload={"voice": "v"})
    assert isinstance(other, OtherEvent)
    assert (other.type, other.job_id, other.source, other.origin) == ("voice.cloned", None, "studio", Origin.POLL)
    assert other.payload == {"voice": "v"}
    at = datetime(2025, 5, 5, tzinfo=UTC)
    assert make_event("test", received_at=at).received_at == at


def test_the_same_arguments_make_the_same_event_and_another_job_another_id() -> None:
    assert completed(metadata={"a": 1}) == completed(metadata={"a": 1})
    assert len({completed().id, completed("job-2").id, failed().id, make_event("job.failed", source="b").id}) == 4


# the built-in handlers


def test_save_audio_says_where_and_what(tmp_path: Path) -> None:
    file = tmp_path / "job-1.wav"
    file.write_bytes(wav(seconds=2))
    outcome = run_handler(save_audio, completed(), audio=file)
    assert outcome.state == "succeeded"
    assert outcome.result == {
        "address": str(file),
        "bytes": file.stat().st_size,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "duration": 2.0,
    }


def test_save_audio_lists_the_files_of_a_job_that_has_several(tmp_path: Path) -> None:
    paths = [tmp_path / "job-1.wav", tmp_path / "job-1~1.wav"]
    for seconds, path in enumerate(paths, start=1):
        path.write_bytes(wav(seconds=seconds))
    outcome = run_handler(save_audio, completed(), audio=paths)
    assert outcome.state == "succeeded"
    assert [(file["address"], file["duration"]) for file in outcome.result["files"]] == [
        (str(paths[0]), 1.0), (str(paths[1]), 2.0),
    ]  # fmt: skip
    assert set(outcome.result["files"][0]) == {"address", "bytes", "sha256", "duration"}


def test_save_audio_subscribes_to_completed_jobs_alone() -> None:
    wanted = {word: save_audio.subscribes_to(word) for word in ("job.completed", "job.failed", "test", "voice.cloned")}
    assert wanted == {"job.completed": True, "job.failed": False, "test": False, "voice.cloned": False}


def test_log_writes_one_line_for_every_kind_of_event() -> None:
    for event in (completed(), make_event("test", None), make_event("voice.cloned", None)):
        outcome = run_handler(log, event)
        [line] = outcome.logs
        assert (outcome.state, outcome.result) == ("succeeded", None)
        assert (line["level"], line["message"], line["origin"]) == ("info", event.type, "webhook")
        assert line["event"] == event.id


def test_log_warns_of_a_failed_job_with_the_providers_words() -> None:
    [line] = run_handler(log, failed(code="GENERATION_FAILED", message="no voice")).logs
    assert (line["level"], line["message"], line["code"], line["detail"]) == (
        "warning", "job.failed", "GENERATION_FAILED", "no voice",
    )  # fmt: skip


@handler(on=JobCompleted, where={"metadata": {"kind": "episode"}})
def only_episodes(event: JobCompleted, ctx: Context[Any]) -> str:
    return event.job_id


def test_an_event_that_the_conditions_exclude_is_an_error_of_the_test() -> None:
    episode = completed(metadata={"kind": "episode", "customer": "acme"})
    assert run_handler(only_episodes, episode).result == "job-1"
    with pytest.raises(
        ValueError, match=r"'only_episodes' does not get the event: its metadata.kind is missing or null"
    ):
        run_handler(only_episodes, completed())
    where = {"source": "test", "metadata": {"customer": ["acme", "globex"]}}
    assert run_handler(only_episodes, episode, options={"where": where}).state == "succeeded"
    with pytest.raises(ValueError, match=r'its source is "test", not "aitts"'):
        run_handler(only_episodes, episode, options={"where": {"source": "aitts"}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"where": {"sorce": "aitts"}}, r"where.sorce: is not a condition"),
        ({"where": "aitts"}, r"where: must be a table of keys"),
        ({"tls": {"certificate": "no.pem"}}, r"tls.certificate: .*no.pem does not exist"),
        ({"tls": {"verify": False}}, r"tls.verify: is not a known key"),
        ({"attempts": 0}, r"attempts: input should be greater than or equal to 1"),
    ],
)
def test_whatever_is_invalid_in_the_options_is_one_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(PluginError, match=f"^{message}"):
        run_handler(only_episodes, completed(metadata={"kind": "episode"}), options=options)
