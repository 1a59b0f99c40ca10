"""The tutorial and the how-tos, followed: their commands print what the pages show."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.acceptance.support import API_KEY, SOURCE, Provider, Site, clean_environment, until
from tests.acceptance.wrong_provider import ID_TOKEN, fresh
from tests.patience import PATIENCE

DOCS = Path(__file__).resolve().parents[2] / "docs"
QUICK = "poll = { requests_per_second = 1000 }"
KINDS = {r"\bkey-[0-9a-f]{8}": "key-0", r"\b(job|evt)_[0-9a-f]{32}": r"\1_0", r"[0-9a-f]{8}(-[0-9a-f]{4,12}){4}": "0"}
"""Ids that differ from run to run."""


def blocks(page: str, language: str) -> list[str]:
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def alike(text: str) -> str:
    """The text with ids and numbers that are the same in each run."""
    for pattern, name in KINDS.items():
        text = re.sub(pattern, name, text)
    return re.sub(r"\d+", "0", text)


def is_shown(printed: str, shown: str) -> bool:
    """Whether a page shows what was printed; `…` stands for what it leaves out, and as a line for lines."""
    lines = alike(shown).splitlines(keepends=True)
    patterns = ["(.*\n)*" if line.strip() == "…" else re.escape(line).replace("…", "[^\n]*") for line in lines]
    return bool(re.fullmatch("".join(patterns), alike(printed)))


def ending_jobs(provider: Provider) -> str:
    """Let jobs end soon by themselves; a source of `audixa`."""
    provider.sim.settings = replace(provider.sim.settings, job_seconds=0.05, audixa_poll_seconds=None)
    return (
        f'[sources.audixa]\nprovider = "audixa"\nbase_url = "{provider.sim.base_urls["audixa"]}"\n'
        f'api_key = "{provider.sim.api_keys["audixa"]}"\nallow_private_addresses = true\n{QUICK}\n'
    )


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_tutorial_leads_to_a_dead_letter_and_out_of_it(site: Site, provider: Provider) -> None:
    page = "tutorial.md"
    [handler] = blocks(page, "python")
    [submits] = [block for block in blocks(page, "sh") if "curl" in block]
    [table] = [block for block in blocks(page, "text") if block.startswith("event ")]
    [replay] = [block for block in blocks(page, "sh") if "replay" in block]
    [replayed] = [block for block in blocks(page, "text") if block.startswith("Matching runs")]
    ending_jobs(provider)
    handlers = '[handlers.save_audio]\n[handlers.log]\n[plugins]\ndirectory = "plugins"'
    site.configure(base_url=provider.sim.base_urls[SOURCE], handlers=handlers).plugin("hand_over", handler)
    server = site.start()
    submits = submits.replace("http://127.0.0.1:8080", server.public).replace("tts_simulated_7", API_KEY)
    subprocess.run(
        ["sh", "-ec", submits], cwd=site.folder, env=clean_environment(), check=True, timeout=PATIENCE,
        capture_output=True,
    )  # fmt: skip

    def states() -> list[tuple[str, str]]:
        return sorted((row["handler"], row["state"]) for row in site.rows("SELECT handler, state FROM runs"))

    shown = sorted(re.findall(r"^[0-9a-f]+ +(\w+) +(\w+) ", table, re.MULTILINE))
    assert len(shown) == 6
    until("the runs are as the page shows", lambda: states() == shown)
    server.stop()

    changed = re.sub(r"^    (if|    raise) .*\n", "", handler, flags=re.MULTILINE)
    site.plugin("hand_over", changed.replace('event.metadata["order"]', 'event.metadata.get("order")'))
    server = site.start()
    done = site.command(*replay.split()[1:])
    assert (done.returncode, done.stderr) == (0, "")
    assert is_shown(done.stdout, replayed), done.stdout
    until("every run has succeeded", lambda: {state for _, state in states()} == {"succeeded"})


def test_verify_prints_what_its_page_shows(site: Site) -> None:
    valid, invalid, old = blocks("how-to/verify-a-signature.md", "text")
    site.configure()
    body = '{"event":"job.failed","data":{"job_id":"job-1","error":{"code":"X","message":"Grüße"}}}'.encode()
    now = int(time.time())
    fresh_header, old_header = (
        site.command("sign", "--source", SOURCE, "--at", str(at), stdin=body).stdout.strip() for at in (now, now - 7200)
    )
    parsed = body.replace(b",", b",\n  ").replace(b":", b": ")
    for header, sent, code, shown in (
        (fresh_header, body, 0, valid), (fresh_header, parsed, 1, invalid), (old_header, body, 3, old),
    ):  # fmt: skip
        done = site.command("verify", "--source", SOURCE, "-H", header, stdin=sent)
        assert done.returncode == code
        assert is_shown(done.stdout, shown), done.stdout


def test_registering_and_rotating_print_what_their_pages_show(site: Site, provider: Provider) -> None:
    registered, tested = blocks("how-to/register-the-webhook.md", "text")[1:]
    [rotated] = blocks("how-to/rotate-a-secret.md", "text")
    file = fresh(site, provider.sim.base_url)
    token = {ID_TOKEN: provider.sim.id_token}
    address = ["--source", SOURCE, "--url", "https://tts.example.com/webhooks/aitts"]

    def printed(*command: str) -> str:
        done = site.command("webhook", *command, **token)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.replace(str(file), "/srv/tts/aitts.secrets")

    assert is_shown(printed("register", *address), registered)
    server = site.start()
    provider.sim.webhook_url = f"{server.public}/webhooks/{SOURCE}"
    assert is_shown(printed("test", "--source", SOURCE), tested)
    output = printed("rotate", *address)
    assert is_shown(output.replace("  Next: `tts-receiver webhook test --source aitts`.\n", ""), rotated), output


def test_a_batch_prints_what_its_page_shows_and_the_files_that_it_shows_can_be_used(
    site: Site, provider: Provider
) -> None:
    page = "how-to/make-speech.md"
    site.configure(ending_jobs(provider), handlers="[handlers.save_audio]")
    [command] = [block for block in blocks(page, "sh") if "--file" in block]
    [shown] = [block for block in blocks(page, "text") if block.startswith("line 1: saved")]
    [csv] = [block for block in blocks(page, "text") if block.startswith("id,text")]
    [jsonl] = blocks(page, "json")
    (site.folder / "lines.txt").write_text("One.\nTwo.\n[fail] Three.\n")
    done = site.command(*command.split()[1:])
    assert done.returncode == 1
    lines = sorted((done.stderr + done.stdout).splitlines())
    for line, expected in zip(lines, sorted(shown.splitlines()), strict=True):
        assert is_shown(line, expected), line

    (site.folder / "more.jsonl").write_text(jsonl)
    (site.folder / "more.csv").write_text(csv)
    for name, voice in (("more.jsonl", ["--voice", "am_ethan"]), ("more.csv", [])):
        done = site.command("speech", "--file", name, "--output-dir", name[5:], "--source", "audixa", *voice)
        assert done.returncode == 0, done.stderr
    saved = {path.relative_to(site.folder).as_posix() for path in site.folder.rglob("*.wav")}
    assert {"jsonl/intro.wav", "jsonl/en/goodbye.wav", "csv/intro.wav"} <= saved
