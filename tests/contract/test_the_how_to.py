"""The provider that the how-to shows passes the suite as an author would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from receiver.model.signature import SCHEMES

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-provider.md"
RUNNING = {"id": "job_1", "status": "waiting"}
ANSWERS: dict[str, tuple[int, Any, Any]] = {
    "waiting": (200, RUNNING, {"running": "waiting"}),
    "broken": (
        200, {"id": "job_1", "status": "broken", "error": {"code": "VOICE", "message": "hoarse"}},
        {"failed": {"status": "failed", "error": {"code": "VOICE", "message": "hoarse"}}},
    ),
    "error_401": (401, {"error": "no"}, {"error": "Unauthorized"}),
    "error_404": (404, {"error": "no"}, {"error": "UnknownJob"}),
    "error_500": (500, {}, {"error": "Unavailable"}),
    "submit/taken": (201, RUNNING, {"submitted": "job_1", "running": "waiting"}),
    "submit/error_402": (402, {"error": "no"}, {"error": "OutOfCredits"}),
    "voices/listed": (200, {"speakers": [{"id": "ada", "x": 1}]}, {"voices": [{"id": "ada", "details": {"x": 1}}]}),
    "voices/error_401": (401, {"error": "no"}, {"error": "Unauthorized"}),
}  # fmt: skip


def test_the_schemes_that_are_listed_are_those_that_a_provider_can_name() -> None:
    table = PAGE.read_text().partition("\n| `scheme` |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(SCHEMES)


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return found


def write(folder: Path, documents: dict[str, Any]) -> None:
    for name, content in documents.items():
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))


def test_the_provider_that_is_shown_passes_the_suite_that_is_shown(tmp_path: Path) -> None:
    module, webhooks, suite = blocks("python")
    [document] = blocks("json")
    (tmp_path / "murmur.py").write_text(module + webhooks)
    (tmp_path / "test_murmur.py").write_text(suite)
    signed = suite.replace("class TestMurmur", "class TestSigned").replace("Murmur", "MurmurWebhooks")
    (tmp_path / "test_signed.py").write_text(signed.replace("documents", "signed_documents"))
    documents = {"done": json.loads(document)} | {
        name: {"source": "made up", "status": status, "body": body, "means": means}
        for name, (status, body, means) in ANSWERS.items()
    }
    write(tmp_path / "documents", documents)
    for name in ("done", "broken"):
        documents[name] |= {"delivery": documents[name]["body"]}
    write(tmp_path / "signed_documents", documents)
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    command += ["-k", "TestMurmur or webhook or deliver"]  # the other tests of both are the same
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed", done.stdout)
