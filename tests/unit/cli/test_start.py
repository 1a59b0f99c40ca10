"""What a command loads before it has anything to do. The time it takes is in benchmarks/startup.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from receiver import __version__
from receiver.cli.commands import COMMANDS, build
from tests.patience import PATIENCE

HEAVY = {
    "alembic", "asyncio", "cryptography", "httpcore", "httpx", "obstore", "prometheus_client", "pydantic_settings",
    "receiver.settings", "rich", "sqlalchemy", "starlette", "structlog", "uvicorn", "uvloop",
}  # fmt: skip
HELP = [[name, "--help"] for name in COMMANDS]


def loaded_by(*words: str) -> set[str]:
    """The modules that the command loads, in a process of its own that ends with 0."""
    code = (
        "import atexit, sys; from receiver.cli import main; "
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [["--version"], ["--help"], *HELP], ids=" ".join)
def test_help_loads_nothing_that_only_work_needs(words: list[str]) -> None:
    assert loaded_by(*words) & HEAVY == set()


def test_check_loads_nothing_that_only_serving_needs(tmp_path: Path) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text(
        '[handlers.log]\n[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["whsec_0123456789abcdef"]\n'
    )
    config.chmod(0o600)
    loaded = loaded_by("check", "--config", str(config))
    assert loaded & {"prometheus_client", "receiver.app", "receiver.web", "starlette", "uvicorn"} == set()


def test_help_loads_no_command() -> None:
    loaded = {name.removeprefix("receiver.cli.") for name in loaded_by("--help") if name.startswith("receiver.cli.")}
    assert loaded == {"commands", "error_report", "streams", "text_output"}


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(build(), ["--version"]).output == f"tts-receiver {__version__}\n"


@pytest.mark.parametrize("words", [[], ["events"], ["events", "list"], ["verify"]], ids=" ".join)
def test_h_is_help(words: list[str]) -> None:
    run = CliRunner().invoke
    assert run(build(), [*words, "-h"]).output == run(build(), [*words, "--help"]).output


def test_each_line_of_the_help_is_whole_in_80_columns() -> None:
    said = CliRunner().invoke(build(), ["--help"], terminal_width=80).output
    assert [name for name, (_, line) in COMMANDS.items() if f"  {line}\n" not in said] == []


def test_a_wrong_command_is_told_the_nearest() -> None:
    answered = CliRunner().invoke(build(), ["evnts"])
    assert answered.exit_code == 2
    assert "No such command 'evnts'. Did you mean 'events'?" in answered.output


@pytest.mark.parametrize(("typed", "offered"), [("ev", ["events"]), ("events re", ["replay", "release"])])
def test_a_shell_completes_commands(typed: str, offered: list[str]) -> None:
    environment = {"_TTS_RECEIVER_COMPLETE": "complete_bash", "COMP_WORDS": f"tts-receiver {typed}"}
    answered = CliRunner().invoke(
        build(), prog_name="tts-receiver", env={**environment, "COMP_CWORD": str(len(typed.split()))}
    )
    assert answered.output.split() == offered
