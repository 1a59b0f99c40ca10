"""`demo --stay`: what it prints can be opened while its servers run."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.acceptance.support import clean_environment, get, is_open, until
from tests.patience import PATIENCE


def test_the_demo_prints_the_consoles_address_and_keeps_it_open(tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    with printed.open("wb") as out:
        demo = subprocess.Popen(
            [sys.executable, "-m", "receiver", "demo", "--stay", "--folder", str(tmp_path / "demo")],
            stdout=out, stderr=out, cwd=tmp_path, env=clean_environment(),
        )  # fmt: skip
    try:

        def found() -> re.Match[str] | None:
            assert demo.poll() is None, printed.read_text()
            return re.search(r"The console is at ((http://127\.0\.0\.1:\d+)/console)\.", printed.read_text())

        match = until("the demo prints the console's address", found)
        assert match is not None
        status, page = get(match[1])
        assert (status, "All is well." in page) == (200, True)
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(PATIENCE) == 130
        assert not is_open(match[2]), "its servers end with it"
    finally:
        demo.kill()
        demo.wait(PATIENCE)
