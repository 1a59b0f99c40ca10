"""The provider that the how-to shows passes the suite as an author would run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-provider.md"
RUNNING = {"id": "job_1", "status": "waiting"}
ANSWERS: dict[str, tuple[int, Any, Any]] = {
    "waiting": (200, RUNNING, {"running": "waiting"}),
    "broken": (
        200, {"status": "broken", "error": {"code": "VOICE", "message": "hoarse"}},
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


def blocks(language: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return found


def test_the_provider_that_is_shown_passes_the_suite_that_is_shown(tmp_path: Path) -> None:
    module, suite = blocks("python")
    [document] = blocks("json")
    (tmp_path / "murmur.py").write_text(module)
    (tmp_path / "test_murmur.py").write_text(suite)
    documents = {"done": json.loads(document)} | {
        name: {"source": "made up", "status": status, "body": body, "means": means}
        for name, (status, body, means) in ANSWERS.items()
    }
    for name, content in documents.items():
        file = tmp_path / "documents" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": "."})
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed", done.stdout)
