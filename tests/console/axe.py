"""axe-core, which finds what keeps people from using a page: it comes from npm, and is not part of this repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
SEVERE = ("serious", "critical")
_RUN = "() => axe.run(document, {resultTypes: ['violations']})"


def axe_script() -> str:
    """Its text; a test is skipped where it is not installed."""
    if not SCRIPT.exists():
        pytest.skip("axe-core is not installed here: npm install --no-save axe-core@4")
    return SCRIPT.read_text()


def violations(page: Any, script: str) -> list[str]:
    """What is severe on the page that Playwright shows: the rule, and the elements."""
    page.evaluate(script)  # not a script of the page: its policy stays as it is
    found = page.evaluate(_RUN)["violations"]
    return [
        f"{of['impact']} {of['id']}: {of['help']}: {node['html'][:120]}: {node['failureSummary'].replace(chr(10), ' ')}"
        for of in found
        if of["impact"] in SEVERE
        for node in of["nodes"]
    ]
