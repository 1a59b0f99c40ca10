"""Ways that the documentation shows, gone to the letter: a container's first secret, modules, plugins' tests, modes."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from tests.acceptance.support import (
    API_KEY,
    SECRET,
    SOURCE,
    Provider,
    Site,
    clean_environment,
    completed,
    deliver,
    signed_headers,
    until,
)
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PROGRAM = str(Path(sys.executable).with_name("tts-receiver"))


def blocks(page: Path, language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return found


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a folder, as its user would run it: the folder is not on Python's path."""
    return subprocess.run(
        command, capture_output=True, text=True, timeout=PATIENCE, cwd=folder, env=clean_environment(**environment),
        check=False,
    )  # fmt: skip


def test_a_container_registers_its_webhook_before_it_has_a_secret(site: Site, provider: Provider) -> None:
    page = DOCS / "how-to" / "run-in-docker.md"
    section = page.read_text().partition("\n## Before there is a signing secret\n")[2].partition("\n## ")[0]
    (line,) = re.findall(r"^signing_secrets_file = .*$", section, re.MULTILINE)
    shown = re.findall(r"^docker compose run --rm (?:--env AITTS_ID_TOKEN )?receiver (.*)$", section, re.MULTILINE)
    assert [words.partition(" -")[0] for words in shown] == ["webhook register", "check", "webhook test"]
    example = (ROOT / "examples" / "container" / "receiver.toml").read_text()
    data = site.folder / "data"
    data.mkdir()
    (site.folder / "secrets").mkdir()
    (site.folder / "secrets" / f"sources__{SOURCE}__api_key").write_text(provider.sim.api_key)
    site.config.write_text(
        example
        + line.replace("/data", str(data))
        + f'\nbase_url = "{provider.sim.base_url}"\nallow_private_addresses = true\n'
    )
    image = dict(re.findall(r"(TTS_RECEIVER_\w+)=(\S+)", (ROOT / "Dockerfile").read_text()))
    image |= {"TTS_RECEIVER_CONFIG": str(site.config), "TTS_RECEIVER_SECRETS_DIR": str(site.folder / "secrets")}
    image = {name: value.replace("/data", str(data)) for name, value in image.items()}

    def say(words: str) -> subprocess.CompletedProcess[str]:
        return run(data, PROGRAM, *words.split(), AITTS_ID_TOKEN=provider.sim.id_token, **image)

    register, check, test = shown
    early = say(check)
    assert early.returncode == 1
    assert f"{data}/aitts.secrets does not exist; `tts-receiver webhook register` writes it" in early.stderr
    registered = say(register)
    assert registered.returncode == 0, registered.stderr
    assert say(check).returncode == 0
    ports = {"TTS_RECEIVER_SERVER__PORT": "0", "TTS_RECEIVER_SERVER__PRIVATE_PORT": "0"}
    server = site.start(**image, **ports)
    provider.sim.webhook_url = f"{server.public.replace('0.0.0.0', '127.0.0.1')}/webhooks/{SOURCE}"
    tested = say(test)
    assert tested.returncode == 0, tested.stderr


def test_a_module_is_found_where_the_handlers_page_says(site: Site) -> None:
    code = site.folder / "code"
    code.mkdir()
    (code / "handlers_of_mine.py").write_text(
        "from receiver import Event, handler\n\n\n@handler(on=Event)\ndef mine(event, ctx):\n    return None\n"
    )
    site.configure(handlers='[handlers.mine]\nuse = "handlers_of_mine:mine"')
    check = [PROGRAM, "check", "--config", str(site.config)]
    here = run(code, *check)
    assert here.returncode == 1, "the current folder is not searched"
    assert "No module named 'handlers_of_mine'" in here.stderr
    named = run(site.folder, *check, PYTHONPATH=str(code))
    assert named.returncode == 0, named.stderr
    assert "handler  mine (handlers_of_mine:mine)" in named.stdout


def test_the_readmes_test_of_a_plugin_runs_as_it_is_said_to(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    assert "`pip install pytest`" in text, "the installation has none"
    plugin, test = blocks(ROOT / "README.md", "python")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "hand_over.py").write_text(plugin)
    (tmp_path / "test_hand_over.py").write_text(test)
    done = run(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_readmes_first_run_ends_as_it_is_shown(site: Site) -> None:
    [shown] = [block for block in blocks(ROOT / "README.md", "text") if block.startswith("✓ The configuration")]
    assert site.command("init", "receiver.toml", config=False).returncode == 0
    made = site.config.read_text()
    site.config.write_text(
        made.replace("signing_secrets = []", f'signing_secrets = ["{SECRET}"]\napi_key = "{API_KEY}"', 1)
    )
    check = site.command("check")
    assert (check.returncode, check.stderr) == (0, "")

    def plain(text: str, folder: str) -> str:
        return re.sub(r"key-[0-9a-f]{8}", "key", re.sub(r"[\d.]+ .B free", "free", text.replace(folder, "")))

    assert plain(check.stdout, str(site.folder)) == plain(shown, "/srv/tts")


def test_files_have_the_modes_that_the_operations_page_lists_whatever_the_umask(site: Site, provider: Provider) -> None:
    page = (DOCS / "operations.md").read_text().partition("\n## Files and permissions\n")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert rows.pop("receiver.toml") == "0600, as `init` writes it"
    assert rows == {
        "data/receiver.db*": "0600",
        "data/receiver.db.processes/": "0700, files 0600",
        "data/": "0750",
        "data/audio/": "0750, files 0640",
    }

    before = os.umask(0)
    try:
        assert site.command("init", str(site.folder / "made.toml"), config=False).returncode == 0
        site.configure(base_url=provider.sim.base_url, handlers="[handlers.save_audio]")
        server = site.start()
        body = completed(provider.completed_job().id)
        assert deliver(server.public, body, signed_headers(body))[0] == 202  # type: ignore[index]
        until("the audio is stored", site.final_files)
    finally:
        os.umask(before)

    def modes(*paths: Path) -> set[str]:
        return {f"{stat.S_IMODE(path.stat().st_mode):04o}" for path in paths}

    assert modes(site.folder / "made.toml") == {"0600"}
    processes = site.store.with_name("receiver.db.processes")
    assert modes(processes) == {"0700"}
    assert modes(*processes.iterdir()) == {"0600"}
    store = [path for path in site.store.parent.glob("receiver.db*") if path.is_file()]
    assert len(store) == 3, "with its -wal and -shm"
    assert modes(*store) == {"0600"}
    assert modes(site.store.parent, *(path for path in site.audio.rglob("*") if path.is_dir())) == {"0750"}
    assert modes(*site.final_files()) == {"0640"}
