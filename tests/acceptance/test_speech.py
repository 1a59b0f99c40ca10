"""`speech` in real processes: alone and beside a running server, one and many, killed and begun again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from receiver.simulator import Job
from tests.acceptance.support import (
    SOURCE,
    Provider,
    Site,
    clean_environment,
    sha256_at_the_origin,
    sha256_of,
    until,
)
from tests.patience import PATIENCE
from tests.stores import execute

QUICK = "poll = { requests_per_second = 1000 }"
VOICES = {"aitts": "alloy", "audixa": "am_ethan", "finevoice": "james", "miragic": "alloy"}
CHARGED = {"aitts": "Charged: 12 characters.", "miragic": "Charged: 1 credit."}
"""The last line of `speech` for the text "Hello world."; of the others no charge is documented."""
NOBODY = "http://127.0.0.1:9"


def configured(site: Site, provider: Provider, *, aitts: str | None = None, wrong_key: bool = False) -> Site:
    """All four providers as sources of their names; jobs end soon by themselves."""
    sim = provider.sim
    sim.settings = replace(sim.settings, job_seconds=0.05, audixa_poll_seconds=None)
    others = "\n".join(
        f'[sources.{name}]\nprovider = "{name}"\nbase_url = "{url}"\nallow_private_addresses = true\n'
        f'api_key = "{"nobody-knows-this-key" if wrong_key else sim.api_keys[name]}"\n{QUICK}'
        for name, url in sim.base_urls.items()
        if name != SOURCE
    )
    base_url = sim.base_urls[SOURCE] if aitts is None else aitts
    return site.configure(others, base_url=base_url, handlers="[handlers.save_audio]", source=QUICK)


def words(source: str, *more: str) -> list[str]:
    return ["speech", *more, "--source", source, "--voice", VOICES[source]]


class SpeechProcess:
    """A `speech` that was started and is not waited for."""

    def __init__(self, site: Site, *arguments: str) -> None:
        self.out = site.folder / f"speech-{len(site.printed)}.out"
        self.err = self.out.with_suffix(".err")
        self._site = site
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "receiver", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=site.folder,
                env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
            )

    def wait_for(self, text: str) -> None:
        until(f"it says {text!r}: {self.err.read_text()}", lambda: text in self.err.read_text())

    def end(self, number: signal.Signals) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self._site.printed += [self.out.read_text(), self.err.read_text()]
        return code


@contextmanager
def speech_process(site: Site, *arguments: str) -> Iterator[SpeechProcess]:
    it = SpeechProcess(site, *arguments)
    try:
        yield it
    finally:
        if it.process.poll() is None:
            it.end(signal.SIGKILL)


def jobs_of(site: Site) -> list[dict[str, Any]]:
    """The rows so far; none while the store is still being made."""
    try:
        return site.rows("SELECT * FROM jobs ORDER BY id")
    except OperationalError:
        return []


def texts(provider: Provider) -> Counter[str]:
    """What was submitted: each of these was charged for."""
    return Counter(job.submission.text for job in provider.sim.jobs)


def the_job(provider: Provider, text: str) -> Job:
    [job] = [job for job in provider.sim.jobs if job.submission.text == text]
    return job


def records(folder: Path) -> list[dict[str, Any]]:
    """The report without its first line."""
    return [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()[1:]]


# one


@pytest.mark.parametrize("source", VOICES)
def test_a_text_becomes_a_file_without_a_running_server_and_its_handlers_run_later(
    site: Site, provider: Provider, source: str
) -> None:
    configured(site, provider)
    done = site.command(*words(source, "Hello world."), "-o", "hello.wav", "--metadata", "order=7")
    assert (done.returncode, done.stdout) == (0, "hello.wav\n"), done.stderr
    assert done.stderr.splitlines()[0] == "submitting"
    assert done.stderr.splitlines()[-1] == CHARGED.get(source, "saved")
    job = the_job(provider, "Hello world.")
    assert sha256_of(site.folder / "hello.wav") == sha256_at_the_origin(job)
    assert not list(site.folder.glob(".tts-*"))
    [row] = jobs_of(site)
    assert (row["state"], row["job_id"]) == ("completed", job.id)
    [event] = site.rows("SELECT * FROM events")
    assert event["payload"]["metadata"] == {"order": "7"}
    assert site.run_of(row["event_id"], "save_audio")["state"] == "pending"
    server = site.start()
    site.wait_for_state(row["event_id"], "save_audio", "succeeded")
    assert server.stop() == 0


def test_beside_a_running_server_it_is_one_job_one_event_and_one_file(site: Site, provider: Provider) -> None:
    server = configured(site, provider).start()
    provider.sim.webhook_url = f"{server.public}/webhooks/{SOURCE}"
    finished, left = site.together(
        [*words(SOURCE, "With a webhook."), "-o", "hello.ogg", "--json"],
        [*words("audixa", "Without."), "--no-wait"],
    )
    result = json.loads(finished.stdout)
    [file] = result["files"]
    row = next(row for row in jobs_of(site) if row["id"] == result["id"])
    job = the_job(provider, "With a webhook.")
    assert result["job_id"] == job.id == row["job_id"]
    assert (result["state"], file["path"], file["format"]) == ("completed", "hello.ogg", "ogg")
    assert file["sha256"] == sha256_at_the_origin(job) == sha256_of(site.folder / "hello.ogg")
    assert file["bytes"] == (site.folder / "hello.ogg").stat().st_size
    assert job.submission.output_format == "ogg_opus"
    site.wait_for_state(row["event_id"], "save_audio", "succeeded")
    begun = left.stdout.strip()
    until("the server has done the other", lambda: any(r["id"] == begun and r["event_id"] for r in jobs_of(site)))
    other = next(row for row in jobs_of(site) if row["id"] == begun)
    site.wait_for_state(other["event_id"], "save_audio", "succeeded")
    assert server.stop() == 0
    assert texts(provider) == {"With a webhook.": 1, "Without.": 1}
    assert len(site.rows("SELECT * FROM events")) == 2
    assert len(site.final_files()) == 2


def test_the_bytes_go_to_standard_output_and_nothing_else_does(site: Site, provider: Provider) -> None:
    configured(site, provider)
    done = subprocess.run(
        [sys.executable, "-m", "receiver", *words(SOURCE, "-"), "-o", "-"],
        input=b"From standard input.\n",
        capture_output=True,
        timeout=PATIENCE,
        cwd=site.folder,
        env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config)),
        check=True,
    )
    job = the_job(provider, "From standard input.")
    assert done.stdout == b"".join(job.audio.chunks(0, job.audio.size))
    plain = site.command(*words(SOURCE, "Where is it?"))
    assert Path(plain.stdout.strip()) in site.final_files()


def test_on_a_terminal_there_is_a_bar_and_standard_output_has_the_result_alone(site: Site, provider: Provider) -> None:
    configured(site, provider)
    sim = provider.sim
    soon = sim.settings
    (site.folder / "lines.txt").write_text("One.\nTwo [fail] two.\n")
    ours, theirs = os.openpty()
    seen: list[bytes] = []

    def read() -> None:
        with suppress(OSError):  # the terminal is gone when nobody has it open any more
            while piece := os.read(ours, 4096):
                seen.append(piece)

    reading = threading.Thread(target=read)
    reading.start()

    def begin(*command: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "receiver", *words("miragic", *command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
            cwd=site.folder,
            env=clean_environment(TTS_RECEIVER_CONFIG=str(site.config), TERM="xterm"),
        )

    try:
        sim.settings = replace(soon, job_seconds=None)
        with begin("Hello.", "-o", "hello.mp3") as one:
            until("the bar says what is waited for", lambda: b"watching" in b"".join(seen))
            provider.finish(the_job(provider, "Hello."))
            printed = one.communicate(timeout=PATIENCE)[0]
        sim.settings = soon
        with begin("--file", "lines.txt") as many:
            summary = many.communicate(timeout=PATIENCE)[0]
    finally:
        os.close(theirs)
        reading.join(PATIENCE)
        os.close(ours)
    assert (one.returncode, printed) == (0, b"hello.mp3\n")
    assert (many.returncode, summary.splitlines()) == (
        1,
        [b"1 of 2 lines are saved in speech-lines, 1 failed. Report: speech-lines/report.jsonl"],
    )
    shown = b"".join(seen).decode()
    assert "1 failed" in shown
    assert "2/2" in shown
    assert "line 2: miragic failed to make the audio" in shown
    assert "line 1: saved" not in shown  # the bar says it


def test_what_cannot_be_is_refused_before_anything_is_stored_or_sent(site: Site, provider: Provider) -> None:
    configured(site, provider)
    (site.folder / "there.wav").write_text("mine")
    (site.folder / "broken.csv").write_text("text,voice\n")
    there, format, rate, voiceless, source, nothing, folder, both = site.together(
        [*words(SOURCE, "Hello."), "-o", "there.wav"],
        [*words("audixa", "Hello."), "--format", "flac"],
        [*words(SOURCE, "Hello."), "--sample-rate", "1"],
        ["speech", "Hello.", "--source", SOURCE],
        ["speech", "Hello.", "--voice", "alloy"],
        ["speech", "--source", SOURCE],
        [*words(SOURCE, "Hello."), "-o", "no/such/folder.wav"],
        [*words(SOURCE, "Hello."), "--file", "broken.csv"],
    )
    assert "there.wav already exists" in there.stderr
    assert "audixa has no format 'flac'" in format.stderr
    assert "does not accept sample_rate 1" in rate.stderr
    assert "--voice" in voiceless.stderr
    assert "Name a source with --source" in source.stderr
    assert "Give TEXT, --file or --job" in nothing.stderr
    assert "create it first" in folder.stderr
    assert "both TEXT and --file" in both.stderr
    assert (site.folder / "there.wav").read_text() == "mine"
    assert not site.store.exists()
    assert not provider.sim.requests
    forced = site.command(*words(SOURCE, "Hello."), "-o", "there.wav", "--force")
    assert forced.returncode == 0, forced.stderr
    assert sha256_of(site.folder / "there.wav") == sha256_at_the_origin(the_job(provider, "Hello."))


def test_what_goes_wrong_at_the_provider_is_said_in_sentences(site: Site, provider: Provider) -> None:
    configured(site, provider)
    provider.sim.account.credits = 20
    voice, failed, credits = (
        site.command("speech", "Hello.", "--source", SOURCE, "--voice", "nobody"),
        site.command(*words("miragic", "[fail] This one."), "--json"),
        site.command(*words(SOURCE, "This is longer than there are credits for.")),
    )
    provider.sim.force("lost_answer", at="audixa.submit")
    unknown = site.command(*words("audixa", "Was it?"), "-o", "never.wav")
    provider.sim.force("audio_gone", 50, at="aitts.audio", value=410)
    provider.sim.force("object_gone", 50, value=410)
    gone = site.command(*words(SOURCE, "Gone."))
    assert [done.returncode for done in (voice, failed, credits, unknown, gone)] == [1] * 5
    assert "the voice does not exist" in voice.stderr
    assert "tts-receiver voices" in voice.stderr
    assert "miragic failed to make the audio" in failed.stderr
    assert json.loads(failed.stdout)["state"] == "failed"
    assert json.loads(failed.stdout)["files"] == []
    assert "402" in credits.stderr
    assert "It is unknown whether audixa accepted and charged for the job." in unknown.stderr
    assert "its audio could not be fetched" in gone.stderr
    assert not (site.folder / "never.wav").exists()
    assert texts(provider)["Was it?"] == 1
    configured(site, provider, wrong_key=True)
    key = site.command(*words("finevoice", "Hello."))
    assert key.returncode == 1
    assert "the API key is wrong" in key.stderr
    assert "nobody-knows-this-key" not in key.stderr


def test_without_a_network_it_keeps_trying_and_ctrl_c_leaves_a_job_that_goes_on(site: Site, provider: Provider) -> None:
    configured(site, provider, aitts=NOBODY)
    with speech_process(site, *words(SOURCE, "Later."), "-o", "later.wav") as it:
        it.wait_for("No connection")
        assert it.end(signal.SIGINT) == 130
    said = it.err.read_text()
    assert "Nothing was sent yet" in said
    [row] = jobs_of(site)
    assert row["state"] == "submitting"
    assert f"jobs cancel {row['id']}" in said
    assert it.out.read_text() == ""
    bounded = site.command("speech", "--job", row["id"], "--wait", "1")
    assert bounded.returncode == 1
    assert "Not done within 1 s" in bounded.stderr
    configured(site, provider)
    execute(site.store, "UPDATE jobs SET due_at = 1")  # it waits a little longer each time
    done = site.command("speech", "--job", row["id"], "-o", "later.wav")
    assert (done.returncode, done.stdout) == (0, "later.wav\n")
    assert sha256_of(site.folder / "later.wav") == sha256_at_the_origin(the_job(provider, "Later."))


def test_ctrl_c_while_it_is_watched_says_how_to_go_on(site: Site, provider: Provider) -> None:
    configured(site, provider)
    provider.sim.settings = replace(provider.sim.settings, job_seconds=None)
    with speech_process(site, *words("miragic", "Slow."), "-o", "slow.mp3") as it:
        it.wait_for("watching")
        assert it.end(signal.SIGINT) == 130
    [row] = jobs_of(site)
    said = it.err.read_text()
    assert f"The job {row['id']} continues at miragic" in said
    assert f"jobs show {row['id']}" in said
    provider.finish(the_job(provider, "Slow."))
    done = site.command("speech", "--job", row["job_id"], "-o", "slow.mp3")
    assert done.returncode == 0, done.stderr
    assert sha256_of(site.folder / "slow.mp3") == sha256_at_the_origin(the_job(provider, "Slow."))
    assert texts(provider) == {"Slow.": 1}


def test_all_files_of_a_job_are_saved_also_of_one_that_was_submitted_elsewhere(site: Site, provider: Provider) -> None:
    configured(site, provider)

    async def separate() -> str:
        return provider.sim.create_task("separation", outputs=3)

    task = provider._run(separate())
    site.command("db", "upgrade")
    assert site.command("jobs", "watch", "--source", "finevoice", task).returncode == 0
    done = site.command("speech", "--job", task, "-o", "stems.mp3", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [file["path"] for file in summary["files"]] == ["stems.mp3", "stems~1.mp3", "stems~2.mp3"]
    assert [sha256_of(site.folder / file["path"]) for file in summary["files"]] == [
        file["sha256"] for file in summary["files"]
    ]
    assert len({file["sha256"] for file in summary["files"]}) > 1


# many


def test_a_batch_saves_every_line_reports_it_and_goes_on_where_it_was(site: Site, provider: Provider) -> None:
    configured(site, provider)
    lines = site.folder / "lines.txt"
    lines.write_text("One.\n\nTwo [fail] two.\nThree.\n")
    batch = [*words(SOURCE), "--file", "lines.txt", "--format", "mp3"]
    first = site.command(*batch, "--json")
    assert first.returncode == 1
    summary = json.loads(first.stdout)
    assert (summary["total"], summary["completed"], summary["failed"], summary["remaining"]) == (3, 2, 1, 0)
    folder = site.folder / "speech-lines"
    assert sorted(path.name for path in folder.iterdir()) == ["0001.mp3", "0004.mp3", "report.jsonl"]
    for record in records(folder):
        job = provider.sim.jobs[record["job_id"]]
        if record["line"] == 3:
            assert (record["state"], record["path"]) == ("failed", None)
            assert "could not be generated" in record["error"]
        else:
            assert record["sha256"] == sha256_of(folder / record["path"]) == sha256_at_the_origin(job)
    before = texts(provider)

    again = site.command(*batch)
    assert again.returncode == 1
    assert "2 of 3 lines are saved in speech-lines, 1 failed" in again.stdout
    assert "--retry-failed" in again.stderr
    assert texts(provider) == before
    (folder / "0001.mp3").unlink()  # saved again out of the store, and not spoken again
    retried = site.command(*batch, "--retry-failed")
    assert retried.returncode == 1
    assert (folder / "0001.mp3").exists()
    assert texts(provider) == before + Counter(["Two [fail] two."])

    lines.write_text("One.\n\nTwo, mended.\nThree and a half.\n")
    changed = site.command(*batch)
    assert changed.returncode == 1
    assert "Line 4 is different from what was submitted" in changed.stderr
    lines.write_text("One.\n\nTwo, mended.\nThree.\n")
    mended = site.command(*batch, "--retry-failed")
    assert mended.returncode == 0, mended.stderr
    assert "3 of 3 lines are saved" in mended.stdout
    assert texts(provider)["Two, mended."] == 1


def test_bad_lines_are_all_named_before_anything_is_submitted(site: Site, provider: Provider) -> None:
    configured(site, provider)
    rows: list[Any] = [
        {"text": "Fine.", "id": "intro"},
        {"text": "A typo.", "voize": "alloy"},
        {"text": "Outside.", "output": "../../outside.wav"},
        {"text": "No such format.", "format": "flac"},
        {"text": "The same file.", "id": "intro"},
        {"text": "An odd id.", "id": "../../etc/passwd", "voice": "en-GB-Neural2-A"},
    ]
    (site.folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "no json\n")
    batch = [*words(SOURCE), "--file", "lines.jsonl", "--output-dir", "out"]
    refused = site.command(*batch)
    assert refused.returncode == 1
    for number, why in ((2, "voize"), (3, "output"), (4, "flac"), (5, "another line"), (7, "not JSON")):
        assert f"line {number}: " in refused.stderr
        assert why in refused.stderr
    assert "5 lines are invalid; nothing was submitted" in refused.stderr
    assert not provider.sim.requests
    assert not (site.folder / "out").exists()
    skipped = site.command(*batch, "--skip-invalid")
    assert skipped.returncode == 0, skipped.stderr
    assert "2 of 2 lines are saved in out, 5 skipped as invalid" in skipped.stdout
    assert texts(provider) == {"Fine.": 1, "An odd id.": 1}
    assert the_job(provider, "An odd id.").submission.voice_id == "en-GB-Neural2-A"
    names = sorted(path.name for path in (site.folder / "out").iterdir())
    assert names[1:] == ["intro.wav", "report.jsonl"]
    assert names[0].startswith("etc-passwd~")


def test_csv_on_standard_input_and_never_more_jobs_open_than_asked_for(site: Site, provider: Provider) -> None:
    configured(site, provider)
    provider.sim.settings = replace(provider.sim.settings, job_seconds=None)
    table = "text,output,format\n" + "".join(f'"Row {n},\nspoken.",{n}/row.mp3,\n' for n in range(5))
    given = site.folder / "given.csv"
    given.write_text(table)
    site.command("db", "upgrade")
    batch = [*words(SOURCE), "--file", "given.csv", "--output-dir", "out", "--concurrency", "2"]
    with speech_process(site, *batch) as it:
        for done in range(5):
            open_now = min(2, 5 - done)
            until("jobs are watched", lambda n=open_now: sum(r["state"] == "watching" for r in jobs_of(site)) == n)
            assert len(provider.sim.jobs) == done + open_now
            provider.finish(next(job for job in provider.sim.jobs if not job.ended))
            until("one more is saved", lambda n=done: it.err.read_text().count("saved") == n + 1)
        assert it.process.wait(PATIENCE) == 0
    assert sorted(str(path.relative_to(site.folder)) for path in (site.folder / "out").rglob("*.mp3")) == [
        f"out/{n}/row.mp3" for n in range(5)
    ]
    assert {job.submission.output_format for job in provider.sim.jobs} == {"mp3"}
    piped = site.command(
        *words(SOURCE),
        "--file",
        "-",
        "--input-format",
        "csv",
        "--output-dir",
        "piped",
        stdin=b"voice,text\nnobody,Hi\n",
    )
    assert piped.returncode == 1
    assert "line 2: aitts answers 400: the voice does not exist" in piped.stderr


def test_a_batch_ends_early_where_every_further_line_would_be_refused(site: Site, provider: Provider) -> None:
    configured(site, provider, wrong_key=True)
    (site.folder / "lines.txt").write_text("".join(f"Line {n}.\n" for n in range(50)))
    batch = [*words("miragic"), "--file", "lines.txt"]
    refused = site.command(*batch)
    assert refused.returncode == 1
    assert "No further lines were started" in refused.stderr
    assert provider.sim.requests["miragic.submit"] <= 8
    configured(site, provider)
    lines = [json.loads(line) for line in (site.folder / "speech-lines" / "report.jsonl").read_text().splitlines()]
    assert {record["code"] for record in lines[1:]} == {"provider_unauthorized"}
    report = site.folder / "speech-lines" / "report.jsonl"
    other = site.command(*words(SOURCE), "--file", "lines.txt")
    assert f"The report {report.relative_to(site.folder)} belongs to a batch for the source miragic" in other.stderr


@pytest.mark.parametrize("moment", ["while submits are on their way", "while jobs are made", "when some are saved"])
def test_after_a_sigkill_the_same_command_completes_every_line_and_charges_for_none_twice(
    site: Site, provider: Provider, moment: str
) -> None:
    configured(site, provider)
    wanted = [f"Text {n}." for n in range(10)]
    (site.folder / "lines.txt").write_text("\n".join(wanted))
    batch = [*words(SOURCE), "--file", "lines.txt", "--concurrency", "4"]
    gate = provider.sim._api._gate
    if moment == "while submits are on their way":
        provider.sim.force("lost_answer", 2, at="aitts.submit")
        provider._loop.call_soon_threadsafe(gate.clear)
    else:
        provider.sim.settings = replace(provider.sim.settings, job_seconds=None)
    with speech_process(site, *batch) as it:
        if moment == "while submits are on their way":
            until("submits are on their way", lambda: provider.sim.requests["aitts.submit"] == 4)
        else:
            until("jobs are watched", lambda: sum(row["state"] == "watching" for row in jobs_of(site)) == 4)
        if moment == "when some are saved":
            for job in list(provider.sim.jobs)[:3]:
                provider.finish(job)
            until("some are saved", lambda: it.err.read_text().count("saved") == 3)
        with speech_process(site, *batch) as second:
            assert second.process.wait(PATIENCE) == 1
            assert "already running" in second.err.read_text()
        it.end(signal.SIGKILL)
    provider._loop.call_soon_threadsafe(gate.set)
    provider.sim.settings = replace(provider.sim.settings, job_seconds=0.05)
    for job in [job for job in provider.sim.jobs if not job.ended]:
        provider.finish(job)
    until("all are in order at the provider", lambda: all(job.ended for job in provider.sim.jobs))
    done = site.command(*batch)
    assert done.returncode == 0, done.stderr
    assert "10 of 10 lines are saved" in done.stdout
    assert texts(provider) == Counter(wanted)
    folder = site.folder / "speech-lines"
    last = {record["line"]: record for record in records(folder)}
    assert sorted(last) == list(range(1, 11))
    for number, record in last.items():
        job = the_job(provider, wanted[number - 1])
        assert record["job_id"] == job.id
        assert record["sha256"] == sha256_of(folder / record["path"]) == sha256_at_the_origin(job)
    assert not list(folder.glob(".tts-*"))
    assert len(jobs_of(site)) == 10


def test_killed_again_and_again_it_comes_to_its_end_with_one_job_a_line(site: Site, provider: Provider) -> None:
    configured(site, provider)
    wanted = [f"Text {n}." for n in range(12)]
    (site.folder / "lines.txt").write_text("\n".join(wanted))
    batch = [*words(SOURCE), "--file", "lines.txt", "--concurrency", "3"]
    kills = [("submit", 1), ("status", 1), ("audio", 2), ("submit", 4), ("storage", 3), ("audio", 1)]
    for endpoint, more in kills:
        seen = provider.sim.requests[endpoint]
        with speech_process(site, *batch) as it:
            until(
                f"{more} more {endpoint}, or its end",
                lambda s=seen + more, e=endpoint: provider.sim.requests[e] >= s or it.process.poll() is not None,
            )
            it.end(signal.SIGKILL)
    done = site.command(*batch)
    assert done.returncode == 0, done.stderr
    assert texts(provider) == Counter(wanted)
    folder = site.folder / "speech-lines"
    assert {r["line"] for r in records(folder) if r["state"] == "completed"} == set(range(1, 13))
    for number, text in enumerate(wanted, start=1):
        assert sha256_of(folder / f"{number:04d}.wav") == sha256_at_the_origin(the_job(provider, text))
    assert sorted(path.name for path in folder.iterdir()) == [*(f"{n:04d}.wav" for n in range(1, 13)), "report.jsonl"]


def test_after_a_sigkill_a_service_without_idempotency_keys_is_not_asked_twice(site: Site, provider: Provider) -> None:
    configured(site, provider)
    wanted = [f"Text {n}." for n in range(6)]
    (site.folder / "lines.txt").write_text("\n".join(wanted))
    batch = [*words("miragic"), "--file", "lines.txt", "--concurrency", "3"]
    with speech_process(site, *batch) as it:
        until("submits are begun", lambda: sum(row["submits"] > 0 for row in jobs_of(site)) >= 2)
        it.end(signal.SIGKILL)
    site.command(*batch)
    submitted = texts(provider)
    assert all(count == 1 for count in submitted.values())
    last = {record["line"]: record for record in records(site.folder / "speech-lines")}
    assert sorted(last) == [1, 2, 3, 4, 5, 6]
    assert {record["state"] for record in last.values()} <= {"completed", "unknown"}
    unknown = [number for number, record in last.items() if record["state"] == "unknown"]
    again = site.command(*batch, "--retry-failed")
    assert again.returncode == (1 if unknown else 0)
    assert texts(provider) == submitted  # that they failed is not known
    if unknown:
        assert "It is unknown whether" in last[unknown[0]]["error"]
        assert "--retry-unknown" in again.stderr


def test_a_line_that_is_unknown_waits_for_a_person_who_says_what_became_of_it(site: Site, provider: Provider) -> None:
    configured(site, provider)
    (site.folder / "lines.txt").write_text("One.\nTwo.\nThree.\n")
    batch = [*words("audixa"), "--file", "lines.txt", "--concurrency", "1"]
    provider.sim.force("lost_answer", 2, at="audixa.submit")
    first = site.command(*batch)
    assert first.returncode == 1
    assert "1 of 3 lines are saved in speech-lines, 2 failed" in first.stdout
    assert "--retry-unknown" in first.stderr
    one, two, _ = (row["id"] for row in jobs_of(site))
    site.command("jobs", "watch", "--source", "audixa", "--for", one, the_job(provider, "One.").id)
    site.command("jobs", "cancel", two)
    again = site.command(*batch)
    assert "2 of 3 lines are saved in speech-lines, 1 failed" in again.stdout
    assert texts(provider) == {"One.": 1, "Two.": 1, "Three.": 1}
    assert sha256_of(site.folder / "speech-lines" / "0001.wav") == sha256_at_the_origin(the_job(provider, "One."))
    retried = site.command(*batch, "--retry-failed")
    assert retried.returncode == 0, retried.stderr
    assert texts(provider) == {"One.": 1, "Two.": 2, "Three.": 1}


def test_ctrl_c_ends_a_batch_and_the_same_command_goes_on(site: Site, provider: Provider) -> None:
    configured(site, provider)
    provider.sim.settings = replace(provider.sim.settings, job_seconds=None)
    (site.folder / "lines.txt").write_text("One.\nTwo.\n")
    with speech_process(site, *words(SOURCE), "--file", "lines.txt") as it:
        until("both are watched", lambda: sum(row["state"] == "watching" for row in jobs_of(site)) == 2)
        assert it.end(signal.SIGINT) == 130
    assert "Stopped. 0 of 2 lines are done, 0 have failed. The same command continues" in it.err.read_text()
    for job in provider.sim.jobs:
        provider.finish(job)
    (site.folder / "lines.txt").write_text("One.\nTwo and a half.\n")
    changed = site.command(*words(SOURCE), "--file", "lines.txt")
    assert changed.returncode == 1
    assert "line 2: it has changed since it was submitted; restore it" in changed.stderr
    assert texts(provider) == {"One.": 1, "Two.": 1}
    (site.folder / "lines.txt").write_text("One.\nTwo.\n")
    done = site.command(*words(SOURCE), "--file", "lines.txt")
    assert done.returncode == 0, done.stderr
    assert texts(provider) == {"One.": 1, "Two.": 1}
