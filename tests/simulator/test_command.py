"""`tts-receiver simulate` as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
import typer

from receiver.cli.simulate import read_faults
from receiver.simulator import Faults
from tests.patience import PATIENCE

CALL = """
import typer
from receiver.cli.simulate import simulate
app = typer.Typer(pretty_exceptions_enable=False)
app.command()(simulate)
app()
"""


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", CALL, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_one_json_line_names_every_provider_and_ctrl_c_ends_it_quietly() -> None:
    with running("--json", "--port", "0", "--fault", "error_429=1") as process:
        assert process.stdout is not None
        reported = json.loads(process.stdout.readline())
        assert set(reported) == {"aitts", "audixa", "finevoice", "miragic"}
        assert all(of["base_url"].endswith(f"/{name}") and of["api_key"] for name, of in reported.items())
        headers = {"x-api-key": reported["audixa"]["api_key"]}
        answer = httpx.get(
            f"{reported['audixa']['base_url']}/v3/voices", headers=headers, trust_env=False, timeout=PATIENCE
        )
        assert answer.status_code == 429
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 0


def test_people_get_a_table() -> None:
    with running("--port", "0", "--seed", "3") as process:
        assert process.stdout is not None
        lines = []
        while not (lines and "Ctrl-C" in lines[-1]):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr and process.stderr.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0
    text = "".join(lines)
    assert all(f"{name}_simulated_3" in text for name in ("tts", "audixa", "finevoice", "miragic"))


def test_a_port_that_is_taken_is_an_error_and_not_a_traceback() -> None:
    with running("--json", "--port", "0") as first:
        assert first.stdout is not None
        port = httpx.URL(json.loads(first.stdout.readline())["aitts"]["base_url"]).port
        with running("--port", str(port)) as second:
            _, problem = second.communicate(timeout=PATIENCE)
            assert second.returncode == 1
            assert "SimulateError" in problem
            assert "--port" in problem


def test_faults_are_read_and_unknown_ones_refused_with_the_nearest_name() -> None:
    assert read_faults([]) == Faults()
    assert read_faults(["odd-case=0.5", "clock_skew=-30"]) == Faults(odd_case=0.5, clock_skew=-30.0)
    for text, hint in [
        ("eror_500=1", "did you mean 'error_500'"),
        ("redirect_to=1", "there is no fault 'redirect_to'"),
        ("odd_case", "odd_case=RATE"),
        ("odd_case=much", "odd_case=RATE"),
        ("odd_case=2", "between 0 and 1"),
        ("odd_case=nan", "not a finite number"),
        ("clock_skew=inf", "not a finite number"),
    ]:
        with pytest.raises(typer.BadParameter, match=hint):
            read_faults([text])
