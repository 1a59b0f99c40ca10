"""Tasks of any kind in real processes: `task submit`, and `POST /v1/tasks` of a running receiver."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

from receiver.simulator.documents import TRANSCRIPT_TEXT
from receiver.simulator.finevoice import OUTPUTS
from tests.acceptance.support import Provider, Site, get, sha256_at_the_origin, sha256_of, until
from tests.acceptance.test_speech import configured
from tests.patience import PATIENCE

SEPARATION = "/v1/audio/separation"
TRANSCRIPTION = "/v1/audio/speech-to-text"


def submit(site: Site, path: str, body: dict[str, Any], *more: str, source: str = "finevoice") -> Any:
    (site.folder / "body.json").write_text(json.dumps(body))
    return site.command("task", "submit", "--source", source, "--path", path, "--data", "body.json", *more)


def test_a_task_with_several_outputs_saves_all_of_them(site: Site, provider: Provider) -> None:
    configured(site, provider)
    done = submit(site, SEPARATION, {"url": "https://example.com/song.mp3"}, "-o", "stems.mp3", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["kind"], summary["state"], summary["error"]) == ("task", "completed", None)
    assert summary["request"] == {"path": SEPARATION, "body": {"url": "https://example.com/song.mp3"}}
    assert [file["path"] for file in summary["files"]] == ["stems.mp3", "stems~1.mp3"]
    assert [sha256_of(site.folder / file["path"]) for file in summary["files"]] == [
        file["sha256"] for file in summary["files"]
    ]
    listed = json.loads(site.command("jobs", "list", "--json").stdout)["items"]
    assert [(job["id"], job["kind"]) for job in listed] == [(summary["id"], "task")]
    assert "task" in site.command("jobs", "show", summary["id"]).stdout
    [change] = json.loads(site.command("changes", "list", "--json").stdout)["items"]
    assert (change["operation"], change["filter"]) == ("submit_task", {"source": "finevoice", "path": SEPARATION})


def test_a_transcript_is_printed_and_is_in_the_payload_of_the_event(site: Site, provider: Provider) -> None:
    configured(site, provider)
    done = submit(site, TRANSCRIPTION, {"url": "https://example.com/talk.mp3"}, "--metadata", "episode=7")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"text": TRANSCRIPT_TEXT}
    [row] = site.rows("SELECT event_id FROM jobs")
    event = json.loads(site.command("events", "show", row["event_id"], "--json").stdout)
    assert event["payload"]["result"] == {"text": TRANSCRIPT_TEXT}
    assert event["payload"]["metadata"] == {"episode": "7"}


def test_subtitles_json_and_text_are_files_of_their_kind(site: Site, provider: Provider) -> None:
    configured(site, provider)
    body = {"url": "https://example.com/talk.mp3", "formats": ["srt", "json", "txt"]}
    done = submit(site, TRANSCRIPTION, body, "-o", "talk.srt", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [(file["path"], file["kind"], file["format"]) for file in summary["files"]] == [
        ("talk.srt", "subtitles", "srt"), ("talk~1.json", "json", "json"), ("talk~2.txt", "text", "txt"),
    ]  # fmt: skip
    assert summary["result"] == {"text": TRANSCRIPT_TEXT}
    assert (site.folder / "talk~2.txt").read_text() == TRANSCRIPT_TEXT + "\n"
    [row] = site.rows("SELECT event_id FROM jobs")
    got = site.command("audio", "get", row["event_id"], "-o", "again.srt")
    assert got.returncode == 0, got.stderr
    assert (site.folder / "again~1.json").read_bytes() == (site.folder / "talk~1.json").read_bytes()
    assert "subtitles, srt" in got.stdout
    stored = sorted(path.suffix for path in site.final_files())
    assert stored == [".json", ".srt", ".txt"]
    server = site.start()
    files = artifacts(server.private)
    assert [(file["n"], file["kind"]) for file in files] == [(0, "subtitles"), (1, "json"), (2, "text")]
    with urllib.request.urlopen(server.private + files[2]["audio"], timeout=PATIENCE) as response:
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.headers["Content-Disposition"].endswith('-2.txt"')
        assert response.read().decode() == TRANSCRIPT_TEXT + "\n"


def test_a_failed_task_says_so(site: Site, provider: Provider) -> None:
    configured(site, provider)
    done = submit(site, "/v1/audio/sound-effects", {"text": "[fail]"})
    assert done.returncode == 1
    assert "finevoice failed to do the task" in done.stderr
    assert "--json" not in done.stdout


def test_what_cannot_be_sent_is_refused_before_anything_is_stored(site: Site, provider: Provider) -> None:
    configured(site, provider)
    site.command("db", "upgrade")
    for path in ("https://example.com/v1/x", "//example.com/x", "v1/x", "/v1/../admin", "/v1/%2e%2e/admin", "/v1/a b"):
        done = submit(site, path, {})
        assert (done.returncode, done.stdout) == (1, ""), path
        assert "path" in done.stderr, path
    (site.folder / "list.json").write_text("[1]")
    done = site.command("task", "submit", "--source", "finevoice", "--path", SEPARATION, "--data", "list.json")
    assert done.returncode == 1
    assert "is not a JSON object" in done.stderr
    done = site.command("task", "submit", "--source", "finevoice", "--path", SEPARATION, "--data", "missing.json")
    assert done.returncode == 1
    assert "missing.json cannot be read" in done.stderr
    done = submit(site, SEPARATION, {"text": "x" * 300_000})
    assert done.returncode == 1
    assert "262,144" in done.stderr
    assert site.rows("SELECT * FROM jobs") == []
    assert provider.sim.requests["finevoice.submit"] == 0


def test_a_lost_answer_leaves_a_task_unknown_and_it_is_sent_once(site: Site, provider: Provider) -> None:
    configured(site, provider)
    provider.sim.force("lost_answer", at="finevoice.submit")
    done = submit(site, SEPARATION, {"url": "https://example.com/song.mp3"})
    assert done.returncode == 1
    assert "is unknown" in done.stderr
    assert provider.sim.requests["finevoice.submit"] == 1
    assert site.rows("SELECT state, kind FROM jobs") == [{"state": "unknown", "kind": "task"}]


def test_a_task_that_takes_a_key_is_repeated_under_it(site: Site, provider: Provider) -> None:
    configured(site, provider)
    provider.sim.force("lost_answer", at="aitts.submit")
    body = {"text": "Hello.", "voice_id": "alloy", "output_format": "mp3"}
    done = submit(site, "/api/v1/tts", body, "-o", "hello.mp3", source="aitts")
    assert done.returncode == 0, done.stderr
    assert provider.sim.requests["aitts.submit"] == 2
    [job] = provider.sim.jobs
    assert sha256_of(site.folder / "hello.mp3") == sha256_at_the_origin(job)


def test_a_task_that_was_submitted_elsewhere_is_watched_as_one(site: Site, provider: Provider) -> None:
    configured(site, provider)
    headers = {"Authorization": f"Bearer {provider.sim.api_keys['finevoice']}"}
    body = json.dumps({"formats": ["srt"]}).encode()
    request = urllib.request.Request(provider.sim.base_urls["finevoice"] + TRANSCRIPTION, body, headers)
    with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        task = json.load(response)["taskId"]
    site.command("db", "upgrade")
    watched = site.command("jobs", "watch", "--source", "finevoice", "--task", task, "--json")
    assert watched.returncode == 0, watched.stderr
    [job] = json.loads(watched.stdout)["items"]
    assert (job["kind"], job["request"]) == ("task", None)
    done = site.command("speech", "--job", task, "-o", "talk.srt")
    assert done.returncode == 0, done.stderr
    assert "Good morning." in (site.folder / "talk.srt").read_text()


KINDS = """
from receiver import Context, JobCompleted, NoAudio, handler

@handler(on=JobCompleted)
async def kinds(event: JobCompleted, ctx: Context[None]) -> dict[str, object]:
    files = await ctx.artifacts()
    try:
        audio = (await ctx.audio()).format
    except NoAudio as error:
        audio = str(error)
    return {"kinds": [file.kind for file in files], "audio": audio, "result": event.payload.get("result")}
"""


def test_handlers_reach_files_of_every_kind_and_audio_only_as_audio(site: Site, provider: Provider) -> None:
    configured(site, provider)
    site.plugin("kinds", KINDS)
    site.config.write_text(site.config.read_text() + '\n[plugins]\ndirectory = "plugins"\n[handlers.kinds]\n')
    server = site.start()
    transcript = {"source": "finevoice", "path": TRANSCRIPTION, "body": {"formats": ["vtt", "txt"]}}
    speech = {"source": "finevoice", "path": "/v1/audio/sound-effects", "body": {"text": "Rain."}}
    for body in (transcript, speech):
        assert post(server.private, body)[0] == 202
    done = "SELECT result FROM runs WHERE handler = 'kinds' AND state = 'succeeded'"
    until("both have run", lambda: len(site.rows(done)) == 2)
    results = sorted((row["result"] for row in site.rows(done)), key=lambda result: str(result["kinds"]))
    assert results == [
        {"kinds": ["audio"], "audio": "mp3", "result": None},
        {
            "kinds": ["subtitles", "text"],
            "audio": "The job completed without audio; ctx.artifacts() has its 2 other files.",
            "result": {"text": TRANSCRIPT_TEXT},
        },
    ]


def test_a_running_receiver_takes_tasks_and_stores_their_files(site: Site, provider: Provider) -> None:
    configured(site, provider)
    server = site.start()
    body = {"source": "finevoice", "path": "/v1/audio/podcast", "body": {"text": "Two hosts."}, "metadata": {"n": 1}}
    status, job = post(server.private, body)
    assert (status, job["kind"], job["state"]) == (202, "task", "watching")
    status, first = post(server.private, body, {"Idempotency-Key": "mine"})
    status, again = post(server.private, body, {"Idempotency-Key": "mine"})
    assert (status, again["id"]) == (200, first["id"])
    status, problem = post(server.private, body | {"path": "/v1/../x"})
    assert (status, problem["reason"]) == (422, "provider_invalid")
    until("its files are stored", lambda: len(artifacts(server.private)) == 2 * OUTPUTS["podcast"])
    assert provider.sim.requests["finevoice.submit"] == 2


def test_every_kind_of_task_is_followed_to_its_end(site: Site, provider: Provider) -> None:
    configured(site, provider)
    server = site.start()
    kinds = {}
    for kind in OUTPUTS:
        path = f"/v1/audio/{kind.replace('_', '-')}"
        body = {"source": "finevoice", "path": path, "body": {"text": "Rain on a roof."}}
        status, job = post(server.private, body)
        assert status == 202, job
        kinds[job["job_id"]] = kind
    until("their files are stored", lambda: len(artifacts(server.private)) == sum(OUTPUTS.values()))
    found = Counter(kinds[file["job_id"]] for file in artifacts(server.private))
    assert found == Counter(OUTPUTS)


def artifacts(private: str) -> list[dict[str, Any]]:
    return list(json.loads(get(f"{private}/v1/artifacts")[1])["items"])


def post(private: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(f"{private}/v1/tasks", json.dumps(body).encode(), headers or {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
