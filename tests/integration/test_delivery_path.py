"""The path of a delivery that the documentation shows is the one that a delivery takes (docs/adr/0065)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.delivery_trace import ROOT, traced_delivery

pytestmark = pytest.mark.anyio

MAX_PATH = 22
MAX_FILES = 68
"""On the path, and with all that it calls. Neither may grow."""


def documented() -> tuple[list[str], list[str]]:
    """The files of the path in their order, and those that they call."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    section = page.partition("\n## A delivery, file by file\n")[2].partition("\n## ")[0]
    path, called = section.split("\n|---|---|\n")[1:]
    return _files(path), _files(called)


def _files(table: str) -> list[str]:
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return re.findall(r"`([\w/]+\.py)`", " ".join(first_cells))


async def test_the_documented_path_is_that_of_a_traced_delivery(tmp_path: Path) -> None:
    path, called = documented()
    trace = await traced_delivery(tmp_path)
    traced = list(trace.callers)
    assert sorted(traced) == sorted(path + called)
    assert [file for file in traced if file in path] == path
    not_passed_on = [file for index, file in enumerate(path) if index and not trace.callers[file] & {*path[:index]}]
    assert not_passed_on == []
    assert len(path) <= MAX_PATH
    assert len(path + called) <= MAX_FILES
