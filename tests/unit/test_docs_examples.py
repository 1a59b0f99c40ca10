"""The examples of the documentation run, and the messages that it quotes are those of the code."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from receiver.errors import BlockedAddress
from receiver.model.signature import SCHEMES
from receiver.outbound.guard import AddressGuard
from tests.unit.test_docs import DOCS, ROOT, blocks


def imported(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file as the module `name`, for as long as the test lasts."""
    spec = util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def run_tests_of(module: Any) -> int:
    found = [value for name, value in vars(module).items() if name.startswith("test_")]
    for function in found:
        function()
    return len(found)


def test_the_readmes_handler_and_its_test_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, test = blocks(ROOT / "README.md", "python")
    assert len(handler.splitlines()) <= 13
    (tmp_path / "hand_over.py").write_text(handler)
    (tmp_path / "test_hand_over.py").write_text(test)
    imported("plugins.hand_over", tmp_path / "hand_over.py", monkeypatch)
    assert run_tests_of(imported("test_hand_over", tmp_path / "test_hand_over.py", monkeypatch)) == 1


def test_the_how_to_of_handler_tests_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(DOCS / "how-to" / "test-a-handler.md", "python")
    (tmp_path / "shown.py").write_text(block)
    assert run_tests_of(imported("shown", tmp_path / "shown.py", monkeypatch)) == 4


def test_the_check_that_is_shown_takes_what_is_signed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = blocks(DOCS / "how-to" / "verify-a-signature.md", "python")
    (tmp_path / "shown.py").write_text(block)
    holds = imported("shown", tmp_path / "shown.py", monkeypatch).holds
    [(_, header)] = SCHEMES["tts"].sign("a-secret", b"{}", int(time.time()), "")
    t, _, v1 = header.partition(",")
    assert holds("a-secret", header, b"{}")
    assert holds("a-secret", f"{t}, v1={'0' * 64}, {v1.upper().replace('V1', 'v1')}", b"{}")
    for secret, value, body in [("other", header, b"{}"), ("a-secret", header, b"{ }"), ("a-secret", v1, b"{}")]:
        assert not holds(secret, value, body)
    for bad in (f"{t},{header}", "t=1,v1=\u00e9", t, "", f"t=\u0661,{v1}", f"t={'1' * 5000},{v1}"):
        assert not holds("a-secret", bad, b"{}")
    [(_, old)] = SCHEMES["tts"].sign("a-secret", b"{}", int(time.time()) - 301, "")
    assert not holds("a-secret", old, b"{}")


@pytest.mark.parametrize(
    "page", ["tutorial.md", "how-to/mount-in-your-app.md", "reference/handler-api.md"], ids=lambda page: str(page)
)
def test_python_that_is_shown_can_be_loaded(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TTS_RECEIVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["shown_here_0123456789"]\n'
    )
    shown = blocks(DOCS / page, "python")
    assert shown
    for number, block in enumerate(shown):
        if block.startswith("# plugins/"):  # a package's files: tests/integration/test_plugin_files.py loads them
            continue
        file = tmp_path / f"shown_{number}.py"
        file.write_text(block)
        imported(file.stem, file, monkeypatch)


def test_the_refusal_that_is_shown_is_the_guards() -> None:
    page = DOCS / "how-to" / "call-another-service.md"
    [shown] = [block for block in blocks(page, "text") if block.startswith("BlockedAddress: ")]
    host, table = re.findall(r"^BlockedAddress: (\S+) .* in (\S+) if ", shown)[0]
    with pytest.raises(BlockedAddress) as refusal:
        asyncio.run(AddressGuard(allow_private=False, table=table).resolve(host, 443))
    assert f"BlockedAddress: {refusal.value}\n" == shown
