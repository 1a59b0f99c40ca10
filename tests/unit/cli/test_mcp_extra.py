"""`mcp` without its extra, and what the command costs others."""

from __future__ import annotations

import subprocess
import sys

import pytest

from receiver.cli.mcp.receiver_api import ToolError
from receiver.cli.mcp.start import require_extra


def test_without_the_extra_the_message_has_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ToolError, match=r'pip install "tts-receiver\[mcp\]"'):
        require_extra()


def test_help_imports_neither_the_sdk_nor_the_tools() -> None:
    code = "import sys; sys.argv = ['x', 'mcp', '--help']\nfrom receiver.cli.commands import build\ntry: build()()\n"
    code += "except SystemExit: print([name for name in sys.modules if name.split('.')[0] in ('mcp', 'httpcore')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
