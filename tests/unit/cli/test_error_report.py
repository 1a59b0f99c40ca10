"""Output that cannot be written, text that the encoding lacks, and what no code expected: in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.cli.error_report import report
from receiver.durable_files import OverwritePolicy
from receiver.errors import ConfigError
from receiver.settings import load
from receiver.speech.errors import SpeechError
from receiver.speech.files import require_writable
from tests.faults import another_user
from tests.patience import PATIENCE

CONFIG = """
[sources.aitts]
provider = "aitts"
signing_secrets = ["a-secret-of-twenty-characters"]
"""
COMMAND = [sys.executable, "-m", "receiver"]
FULL = "tts-receiver: Cannot write the output: No space left on device.\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(CONFIG)
    (tmp_path / "receiver.toml").chmod(0o600)
    return tmp_path


def run(command: list[str], stdout: int, **environment: str) -> subprocess.CompletedProcess[bytes]:
    root = str(Path(__file__).parents[3])
    env = os.environ | {"PYTHONPATH": root, "NO_COLOR": "1"} | environment
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, env=env, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    "words",
    [
        "events show NAME", "events list --job NAME", "events replay NAME", "runs list --handler NAME",
        "runs cancel NAME", "jobs list --source NAME", "jobs show NAME",
    ],
)  # fmt: skip
@pytest.mark.usefixtures("folder")
def test_a_word_that_is_no_text_is_told_and_is_no_bug(words: str) -> None:
    assert run([*COMMAND, "db", "upgrade"], subprocess.PIPE).returncode == 0
    done = run(
        [*COMMAND, *(os.fsdecode(b"a\xff") if word == "NAME" else word for word in words.split())], subprocess.PIPE
    )
    assert done.returncode == 1
    assert done.stderr.decode().endswith("a\\udcff\n")
    assert done.stderr.decode().startswith("tts-receiver: This is not text in UTF-8: ")


# how the commands print: by typer, by print, which is written when the process ends, by rich, as bytes


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full on this system")
@pytest.mark.parametrize("words", ["--help", "check", "sources list --json", "sources list", "init other.toml"])
@pytest.mark.usefixtures("folder")
def test_output_that_cannot_be_written_is_said_in_one_sentence(words: str) -> None:
    with open("/dev/full", "wb") as full:
        done = run([*COMMAND, *words.split()], full.fileno())
    assert (done.returncode, done.stderr.decode()) == (1, FULL)


@pytest.mark.parametrize("words", ["--help", "sources list --json"])
@pytest.mark.usefixtures("folder")
def test_a_reader_that_has_gone_is_told_nothing(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run([*COMMAND, *words.split()], writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({"PYTHONIOENCODING": "ascii"}, "\\u00fc\\u0142\\ud83d\\ude00"),
        ({"PYTHONIOENCODING": "latin-1"}, "ü\\u0142\\ud83d\\ude00"),
        ({"PYTHONIOENCODING": "utf-8"}, "üł😀"),
        ({"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}, "\\u00fc\\u0142\\ud83d\\ude00"),
    ],
)
def test_what_the_encoding_lacks_is_escaped_as_in_json(environment: dict[str, str], shown: str) -> None:
    code = "import receiver.cli as cli; cli._run = lambda: print('\"\\u00fc\\u0142\\U0001f600\"'); cli.main()"
    done = run([sys.executable, "-c", code], subprocess.PIPE, **environment)
    encoding = environment.get("PYTHONIOENCODING", "ascii")
    assert (done.returncode, done.stderr, done.stdout.decode(encoding)) == (0, b"", f'"{shown}"\n')
    assert json.loads(done.stdout.decode(encoding)) == "üł😀"


def test_a_bugs_trace_is_shown_without_the_query_of_an_address() -> None:
    code = (
        "import receiver.cli as cli\n"
        "def broken(): raise KeyError('https://a.example/?sig=hidden')\n"
        "cli._run = broken; cli.main()"
    )
    done = run([sys.executable, "-c", code], subprocess.PIPE)
    assert done.returncode == 1
    lines = done.stderr.decode().splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2] == "KeyError: 'https://a.example/?[redacted]'"
    assert lines[-1] == "tts-receiver: This is a bug in the receiver. Please report it with the lines above."


def test_an_error_of_the_system_is_a_sentence_with_the_path_and_our_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none"
    try:
        path.read_text()
    except OSError as error:
        report(error)
    assert capsys.readouterr().err == f"tts-receiver: {path}: No such file or directory.\n"
    try:
        b"\xff".decode()
    except UnicodeError as error:
        report(error)
    assert capsys.readouterr().err == "tts-receiver: A file or the input is not text in UTF-8.\n"


# siblings that were left to the last resort


def test_a_current_folder_that_was_removed_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(ConfigError, match="the current folder no longer exists"):
        load()


def test_speech_names_a_folder_that_it_may_not_look_into() -> None:
    with another_user() as folder:
        (folder / "locked").mkdir()
        (folder / "locked").chmod(0)
        with pytest.raises(SpeechError, match=r"locked/x\.wav cannot be read: Permission denied"):
            require_writable(folder / "locked" / "x.wav", OverwritePolicy.REFUSE)
