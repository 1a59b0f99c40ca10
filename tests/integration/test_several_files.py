"""A job with several files: each is fetched once, what is there stays, and expired addresses are renewed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from handlers.save_audio import save_audio
from receiver import (
    Artifact,
    AudioDelayed,
    AudioError,
    AudioGone,
    AudioRefused,
    JobCompleted,
    NoAudio,
    Reject,
    Settings,
)
from receiver.assembly.receiver import build_receiver
from receiver.clock import SystemClock
from receiver.engine.audio import MAX_CONCURRENT_FILES, MAX_FILES, AudioService
from receiver.engine.audio_refresh import AudioUrlRefresher
from receiver.engine.audio_source import AudioSource
from receiver.engine.throttle import MARGIN, Throttle
from receiver.metrics import Metrics
from receiver.model.delivery import Delivery
from receiver.outbound.audio import AudioFetcher
from receiver.outbound.storage import open_storage
from receiver.providers import PROVIDERS
from receiver.providers.types import Account
from receiver.simulator import Job, Simulator
from receiver.store import inbox, throttle_state
from receiver.telemetry.hooks import Telemetry, combine
from receiver.telemetry.log import LogTelemetry
from receiver.telemetry.metrics import MetricsTelemetry
from receiver.testing import completed, make_event
from tests.clocks import CallbackClock, FixedRandom
from tests.integration.engine_support import NOW, Signal, fresh_store, metric, registry
from tests.integration.intake_support import Lines, configured, logged
from tests.integration.outbound_support import ReceivedRequest, Say, Server, make_wav, serving
from tests.integration.telemetry_support import Recorder
from tests.patience import PATIENCE
from tests.stores import open_store, query

pytestmark = pytest.mark.anyio

KEY = "finevoice-key-0123456789"
STEMS = [make_wav(seconds=0.1 * (n + 1)) for n in range(6)]


@pytest.fixture
def lines() -> Iterator[Lines]:
    with logged(secrets=(KEY,)) as lines:
        yield lines


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def of(files: Iterable[Artifact]) -> list[tuple[int, str]]:
    return [(file.n, file.sha256) for file in files]


ALL = [(n, sha256(stem)) for n, stem in enumerate(STEMS)]


class BenchClock:
    """The bench's clock, which its waits move."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def now(self) -> float:
        return self._bench.now

    def monotonic(self) -> float:
        return self._bench.now

    async def wait(self, wake: asyncio.Event, seconds: float) -> None:
        await self._bench.sleep(seconds)


class Bench:
    """A service with a status and files at temporary addresses, and a desk with a clock that only sleeps move.

    An address is `/VERSION/N`. The version that is good is `version`; a status answer gives addresses of that one.
    """

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.version, self.files, self.known = "v1", len(STEMS), True
        self.now, self.slept = NOW, list[float]()
        self.metrics = Metrics()
        self.database = open_store(folder / "receiver.db")
        self.database.start()
        self.storage = open_storage(str(folder / "audio"), Path("/"))
        self.fetcher = AudioFetcher(
            self.storage,
            folder / ".spool",
            1 << 24,
            clock=CallbackClock(now=lambda: self.now, sleep=self.sleep),
            rng=FixedRandom(0.5),
        )
        self.sources = {
            "finevoice": AudioSource(PROVIDERS["finevoice"], Account(server.url("").rstrip("/"), KEY), True)
        }
        throttle = Throttle(self.database, "finevoice", 0.5, BenchClock(self), Telemetry())
        renew = AudioUrlRefresher(self.fetcher, self.sources, {"finevoice": throttle})
        self.recorder = Recorder()
        telemetry = combine(MetricsTelemetry(self.metrics, ()), LogTelemetry(), self.recorder)
        self.audio_service = AudioService(
            self.database,
            self.fetcher,
            self.storage,
            self.sources,
            telemetry,
            renew,
            clock=SystemClock(),
            rng=FixedRandom(0.5),
        )
        server.behave = self.answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def answer(self, request: ReceivedRequest) -> Say:
        if request.path.startswith("/v1/task/"):
            return self.status()
        version, n = request.path[1:].split("/")
        if version != self.version:
            return Say(403)
        return Say(200, {"ETag": f'"{n}"', "Content-Type": "audio/wav"}, STEMS[int(n)])

    def status(self) -> Say:
        if not self.known:
            return Say(404, {}, json.dumps({"status": 404, "error": {"message": "no such task"}}).encode())
        body = {"status": 200, "taskId": "job-1", "urls": self.addresses(self.version, self.files)}
        return Say(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def addresses(self, version: str = "v1", count: int | None = None) -> list[str]:
        """At a storage, which is another origin than the API."""
        return [
            self.server.url(f"/{version}/{n}", host="localhost") for n in range(len(STEMS) if count is None else count)
        ]

    def event(self, *, version: str = "v1", count: int | None = None, **payload: Any) -> JobCompleted:
        """An event that is in the store."""
        urls = self.addresses(version, count)
        event = completed(**({"audio_url": urls[0], "audio_urls": urls} | payload))
        event = make_event(event.type, event.job_id, source="finevoice", payload=event.payload)
        assert isinstance(event, JobCompleted)
        self.database.transact(inbox.accept, [delivery(event)])
        return event

    @property
    def requested(self) -> list[str]:
        """Files that were requested, by their path."""
        return [request.path for request in self.server.requests if not request.path.startswith("/v1/task/")]

    @property
    def statuses(self) -> int:
        return len(self.server.requests) - len(self.requested)

    def rows(self) -> list[dict[str, Any]]:
        return query(self.database, "SELECT * FROM artifacts ORDER BY n")

    def there(self) -> list[int]:
        return [row["n"] for row in self.rows()]


def delivery(event: JobCompleted, *handlers: str) -> Delivery:
    return Delivery(
        event_id=event.id,
        source=event.source,
        type=event.type,
        key=event.job_id,
        job_id=event.job_id,
        origin="poll",
        payload=json.dumps(dict(event.payload)),
        body=b"{}",
        headers="[]",
        key_id=None,
        skew=None,
        received_at=event.received_at.timestamp(),
        handlers=handlers,
    )


@asynccontextmanager
async def bench_over(folder: Path, server: Server) -> AsyncIterator[Bench]:
    made = Bench(folder, server)
    try:
        yield made
    finally:
        await made.fetcher.aclose()
        made.database.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    fresh_store(tmp_path / "receiver.db")
    async with serving() as server, bench_over(tmp_path, server) as made:
        yield made


# all of them


async def test_all_files_come_in_order_each_with_its_row_its_metric_and_its_log_line(
    bench: Bench, lines: Lines
) -> None:
    event = bench.event()
    files = await bench.audio_service.get_all(event)
    assert of(files) == ALL == [(row["n"], row["sha256"]) for row in bench.rows()]
    assert [Path(file.address).name for file in files] == ["job-1.wav", *(f"job-1~{n}.wav" for n in range(1, 6))]
    assert [Path(file.address).read_bytes() for file in files] == STEMS
    assert [await file.read() for file in files] == STEMS
    assert sorted(line["n"] for line in lines.of("audio.stored")) == list(range(6))
    count = 'tts_receiver_audio_seconds_count{outcome="fetched",source="finevoice"}'
    assert metric(bench.metrics, count) == 6
    assert metric(bench.metrics, 'tts_receiver_audio_bytes_total{source="finevoice"}') == sum(map(len, STEMS))


async def test_who_asks_for_the_audio_is_given_the_first_file_and_no_other_is_fetched(bench: Bench) -> None:
    first = await bench.audio_service.get(bench.event())
    assert of([first]) == ALL[:1]
    assert (bench.requested, bench.there()) == (["/v1/0"], [0])
    assert Path(first.address).name == "job-1.wav"


async def test_a_job_with_one_file_has_a_list_of_one(bench: Bench) -> None:
    event = bench.event(count=1)
    assert of(await bench.audio_service.get_all(event)) == ALL[:1]
    assert bench.requested == ["/v1/0"]


async def test_no_more_than_two_are_on_their_way_at_one_time(bench: Bench) -> None:
    inside, highest = 0, 0
    two = asyncio.Condition()

    async def in_pairs(request: ReceivedRequest) -> Say:
        nonlocal inside, highest
        async with two:
            inside += 1
            highest = max(highest, inside)
            two.notify_all()
            await two.wait_for(lambda: highest == MAX_CONCURRENT_FILES)
            inside -= 1
        return bench.answer(request)

    bench.server.behave = in_pairs
    assert of(await bench.audio_service.get_all(bench.event())) == ALL
    assert highest == MAX_CONCURRENT_FILES == 2


async def test_those_who_ask_at_the_same_time_share_one_fetch_for_each_file(bench: Bench) -> None:
    event = bench.event()
    first, *lists = await asyncio.gather(
        bench.audio_service.get(event), *(bench.audio_service.get_all(event) for _ in range(3))
    )
    assert sorted(bench.requested) == [f"/v1/{n}" for n in range(6)]
    assert lists[0] == lists[1] == lists[2]
    assert lists[0][0] == first


async def test_one_who_gives_up_does_not_break_the_fetches_that_another_waits_for(bench: Bench) -> None:
    event, begun, release = bench.event(), asyncio.Event(), asyncio.Event()

    async def held(request: ReceivedRequest) -> Say:
        begun.set()
        await release.wait()
        return bench.answer(request)

    bench.server.behave = held
    hasty, patient = (asyncio.create_task(bench.audio_service.get_all(event)) for _ in range(2))
    await begun.wait()
    hasty.cancel()
    with pytest.raises(asyncio.CancelledError):
        await hasty
    release.set()
    assert of(await patient) == ALL
    assert sorted(bench.requested) == [f"/v1/{n}" for n in range(6)]


async def test_after_an_end_in_the_middle_only_the_missing_files_are_fetched(bench: Bench, tmp_path: Path) -> None:
    event, stuck, release = bench.event(), asyncio.Event(), asyncio.Event()

    async def up_to_two(request: ReceivedRequest) -> Say:
        if request.path in ("/v1/2", "/v1/3"):
            if len(bench.requested) == 4:
                stuck.set()
            await release.wait()
        return bench.answer(request)

    bench.server.behave = up_to_two
    asking = asyncio.create_task(bench.audio_service.get_all(event))
    await stuck.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    release.set()
    assert bench.there() == [0, 1]
    before = len(bench.requested)
    async with bench_over(tmp_path, bench.server) as restarted:
        assert of(await restarted.audio_service.get_all(event)) == ALL
        assert sorted(bench.requested[before:]) == ["/v1/2", "/v1/3", "/v1/4", "/v1/5"]
        Path(restarted.rows()[4]["address"]).unlink()
        assert of(await restarted.audio_service.get_all(event)) == ALL
        assert bench.requested[before + 4 :] == ["/v1/4"]


# when one fails


async def test_a_file_that_is_gone_fails_the_attempt_and_leaves_the_others(bench: Bench, lines: Lines) -> None:
    bench.known = False
    bench.server.behave = lambda request: Say(404) if request.path in ("/v1/1", "/v1/4") else bench.answer(request)
    with pytest.raises(AudioGone, match="/v1/1"):
        await bench.audio_service.get_all(bench.event())
    assert bench.there() == [0, 2, 3, 5]
    assert {line["n"]: line["reason"] for line in lines.of("audio.not_fetched")} == {1: "audio_gone", 4: "audio_gone"}


async def test_a_file_that_fails_for_now_is_all_that_the_next_attempt_fetches(bench: Bench) -> None:
    event = bench.event()
    bench.server.behave = lambda request: Say(500) if request.path == "/v1/2" else bench.answer(request)
    with pytest.raises(AudioError) as caught:
        await bench.audio_service.get_all(event)
    assert (caught.value.reason, isinstance(caught.value, Reject)) == ("server_error", False)
    assert bench.there() == [0, 1, 3, 4, 5]
    bench.server.behave, before = bench.answer, len(bench.requested)
    assert of(await bench.audio_service.get_all(event)) == ALL
    assert bench.requested[before:] == ["/v1/2"]


async def test_a_storage_that_tells_us_to_wait_is_not_asked_for_the_next_file(bench: Bench) -> None:
    bench.server.behave = lambda request: Say(503, {"Retry-After": "17"})
    with pytest.raises(AudioDelayed) as caught:
        await bench.audio_service.get_all(bench.event())
    assert caught.value.after == 17
    assert sorted(bench.requested) == ["/v1/0", "/v1/1"]


async def test_a_job_with_too_many_files_is_refused_in_words_and_its_first_is_to_be_had(bench: Bench) -> None:
    event = bench.event(count=MAX_FILES + 1)
    with pytest.raises(AudioRefused, match=f"The job has {MAX_FILES + 1} files; at most {MAX_FILES}") as no:
        await bench.audio_service.get_all(event)
    assert (no.value.reason, bench.requested) == ("too_many_files", [])
    assert of([await bench.audio_service.get(event)]) == ALL[:1]


async def test_without_the_source_in_the_configuration_what_is_there_can_still_be_had(bench: Bench) -> None:
    event = bench.event()
    files = await bench.audio_service.get_all(event)
    bench.sources.clear()
    assert await bench.audio_service.get_all(event) == files
    Path(files[3].address).unlink()
    with pytest.raises(AudioRefused, match="is no longer configured"):
        await bench.audio_service.get_all(event)


# addresses that have expired


async def test_expired_addresses_are_renewed_by_asking_once_for_all_files(bench: Bench, lines: Lines) -> None:
    bench.version = "v2"
    assert of(await bench.audio_service.get_all(bench.event(version="v1"))) == ALL
    assert bench.statuses == 1
    assert sorted(path for path in bench.requested if "v2" in path) == [f"/v2/{n}" for n in range(6)]
    assert len([path for path in bench.requested if "v1" in path]) <= MAX_CONCURRENT_FILES
    assert len(lines.of("audio.addresses_refreshed")) == 1
    assert KEY not in lines.text
    carried = {request.path for request in bench.server.requests if KEY in str(request.headers)}
    assert carried == {"/v1/task/job-1"}


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_the_first_file_is_renewed_whichever_way_its_address_has_expired(bench: Bench, status: int) -> None:
    bench.version = "v2"
    bench.server.behave = lambda request: Say(status) if request.path == "/v1/0" else bench.answer(request)
    assert of([await bench.audio_service.get(bench.event())]) == ALL[:1]
    assert (bench.requested, bench.statuses) == (["/v1/0", "/v2/0"], 1)


async def test_addresses_that_expire_while_files_are_fetched_are_renewed_again(bench: Bench) -> None:
    bench.version = "v2"

    def short_lived(request: ReceivedRequest) -> Say:
        if request.path == "/v2/3":
            bench.version = "v3"
        return bench.answer(request)

    bench.server.behave = short_lived
    assert of(await bench.audio_service.get_all(bench.event())) == ALL
    assert bench.statuses == 2


async def test_a_job_that_is_gone_at_the_provider_is_asked_about_once_and_its_audio_is_gone(bench: Bench) -> None:
    bench.version, bench.known = "v2", False
    with pytest.raises(AudioGone, match="the temporary address of the audio has expired"):
        await bench.audio_service.get_all(bench.event())
    assert (bench.statuses, bench.there()) == (1, [])


async def test_fresh_addresses_of_another_number_of_files_are_not_used(bench: Bench) -> None:
    bench.version, bench.files = "v2", 5
    with pytest.raises(AudioGone):
        await bench.audio_service.get_all(bench.event())
    assert [path for path in bench.requested if "v2" in path] == []


async def test_fresh_addresses_that_are_not_good_either_are_the_end(bench: Bench) -> None:
    bench.version = "v2"
    bench.server.behave = lambda request: Say(404) if request.path == "/v2/0" else bench.answer(request)
    with pytest.raises(AudioGone):
        await bench.audio_service.get(bench.event())
    assert (bench.requested, bench.statuses) == (["/v1/0", "/v2/0"], 1)


async def test_a_source_that_tells_us_to_wait_is_left_alone_by_everybody_until_then(bench: Bench) -> None:
    bench.version, event = "v2", bench.event()
    reported = Say(429, {"Retry-After": "90"}, b"{}")
    bench.server.behave = lambda request: reported if "task" in request.path else bench.answer(request)
    with pytest.raises(AudioDelayed) as caught:
        await bench.audio_service.get(event)
    assert (caught.value.reason, caught.value.after) == ("url_refresh_failed", 90)
    assert bench.database.transact(throttle_state.get, "finevoice").pause_until == NOW + 90
    bench.now += 30
    with pytest.raises(AudioDelayed) as caught:
        await bench.audio_service.get(event)
    assert (caught.value.reason, caught.value.after, bench.statuses) == ("source_paused", 60, 1)
    bench.server.behave = bench.answer
    bench.now += 60
    assert of([await bench.audio_service.get(event)]) == ALL[:1]


@pytest.mark.parametrize(
    ("say", "final"),
    [
        (Say(500), False),
        (Say(200, {}, b"<html>"), False),
        (Say(401, {}, b"{}"), True),
        (Say(402, {}, b"{}"), True),
        (Say(422, {}, b"{}"), True),
        (Say(200, {}, b'{"status": 202}'), True),
        (Say(200, {}, b'{"status": 500, "error": {"code": "FAILED"}}'), True),
    ],
)
async def test_what_the_source_says_instead_decides_whether_it_is_tried_again(
    bench: Bench, say: Say, *, final: bool
) -> None:
    bench.version = "v2"
    bench.server.behave = lambda request: say if "task" in request.path else bench.answer(request)
    with pytest.raises(AudioError) as caught:
        await bench.audio_service.get(bench.event())
    assert isinstance(caught.value, Reject) is final
    assert bench.statuses == 1


async def test_a_renewal_keeps_the_sources_pace(bench: Bench) -> None:
    bench.version = "v2"
    bench.database.transact(throttle_state.reserve_times, "finevoice", 3, NOW, 2.0)
    await bench.audio_service.get(bench.event())
    assert bench.slept == [6.0]
    assert bench.database.transact(throttle_state.get, "finevoice").next_request_at == NOW + 6 + 2 * MARGIN


async def test_a_durable_endpoint_is_not_refreshed(bench: Bench) -> None:
    url = bench.server.url("").rstrip("/")
    bench.sources["finevoice"] = AudioSource(PROVIDERS["aitts"], Account(url, KEY), True)
    bench.server.behave = lambda request: Say(404)
    with pytest.raises(AudioGone):
        await bench.audio_service.get(bench.event(audio_url=None, audio_urls=None))
    assert [request.path for request in bench.server.requests] == ["/api/v1/tts/job-1/audio"]


async def test_without_an_api_key_nobody_is_asked(bench: Bench) -> None:
    bench.version = "v2"
    url = bench.server.url("").rstrip("/")
    bench.sources["finevoice"] = AudioSource(PROVIDERS["finevoice"], Account(url, None), True)
    with pytest.raises(AudioGone):
        await bench.audio_service.get(bench.event())
    assert bench.statuses == 0


@pytest.mark.parametrize("key", [KEY, None])
async def test_a_job_without_audio_is_said_to_have_none_whether_there_is_a_key_or_not(
    bench: Bench, key: str | None
) -> None:
    url = bench.server.url("").rstrip("/")
    bench.sources["finevoice"] = AudioSource(PROVIDERS["finevoice"], Account(url, key), True)
    event = bench.event(audio_url=None, audio_urls=None)
    for ask in (bench.audio_service.get, bench.audio_service.get_all):
        with pytest.raises(NoAudio, match=r"^The job completed without audio\.$"):
            await ask(event)
    assert bench.server.requests == []


# from end to end


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(job_seconds=None) as sim:
        yield sim
    assert sim.leaks == []


async def reported(sim: Simulator, job: Job) -> JobCompleted:
    """The event that a poll of the job makes."""
    async with httpx.AsyncClient(timeout=PATIENCE) as client:
        answer = await client.get(
            f"{sim.base_urls['finevoice']}/v1/task/{job.id}",
            headers={"Authorization": f"Bearer {sim.api_keys['finevoice']}"},
        )
    said = answer.json()
    urls = said.get("urls") or [said["url"]]
    event = make_event("job.completed", job.id, source="finevoice", payload={"audio_url": urls[0], "audio_urls": urls})
    assert isinstance(event, JobCompleted)
    return event


def settings_for(sim: Simulator, folder: Path) -> Settings:
    source = {
        "provider": "finevoice",
        "base_url": sim.base_urls["finevoice"],
        "api_key": sim.api_keys["finevoice"],
        "allow_private_addresses": True,
    }
    return configured(folder, sources={"finevoice": source})


@pytest.mark.parametrize("expired", [False, True])
async def test_the_stems_of_a_separation_are_all_saved_by_the_built_in_handler(
    sim: Simulator, tmp_path: Path, lines: Lines, signal: Signal, *, expired: bool
) -> None:
    job = sim.finish(sim.create_task("separation", outputs=3))
    if expired:
        sim.force("expired_url", at="finevoice.status")
    event = await reported(sim, job)
    (tmp_path / "data").mkdir()
    database = open_store(fresh_store(tmp_path / "data" / "receiver.db"))
    database.transact(inbox.accept, [delivery(event, "save_audio")])
    database.close()
    receiver = build_receiver(settings_for(sim, tmp_path), registry(save_audio))
    async with receiver.public.router.lifespan_context(receiver.public):
        await signal.until(lambda: lines.of("run.succeeded"))
    rows = query(database, "SELECT * FROM artifacts ORDER BY n")
    at_the_origin = [sha256(b"".join(audio.chunks(0, audio.size))) for audio in job.objects.values()]
    assert [(row["n"], row["sha256"]) for row in rows] == list(enumerate(at_the_origin))
    assert [sha256(Path(row["address"]).read_bytes()) for row in rows] == at_the_origin
    [run] = query(database, "SELECT * FROM runs")
    assert [file["address"] for file in run["result"]["files"]] == [row["address"] for row in rows]
    assert sim.requests["finevoice.status"] == 1 + expired
    assert len(lines.of("audio.addresses_refreshed")) == int(expired)
