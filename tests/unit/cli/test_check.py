"""`check` says how the handlers share `dispatch.concurrency`."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.cli.setup import check


def checked(folder: Path, capsys: pytest.CaptureFixture[str], concurrency: int, *handlers: str) -> list[str]:
    """The lines about slots that `check` prints."""
    config = folder / "receiver.toml"
    tables = "\n".join(f"[handlers.{name}]" for name in handlers)
    source = '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-secret-of-twenty-characters"]'
    config.write_text(f"[dispatch]\nconcurrency = {concurrency}\n{tables}\n{source}\n")
    check(config)
    lines = capsys.readouterr().out.splitlines()
    return [line.strip() for line in lines if "slots" in line or "dispatch.concurrency" in line]


def test_check_says_what_is_kept_for_each_handler_and_its_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    [line] = checked(tmp_path, capsys, 16, "save_audio", "log")
    assert line == "slots    16 runs at one time; kept for each handler, and its most: save_audio 4–12, log 4–12"


def test_check_says_that_there_is_one_slot_for_each_handler_in_any_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, warning = checked(tmp_path, capsys, 1, "save_audio", "log")
    assert line.endswith("save_audio 1–1, log 1–1")
    assert warning == "! dispatch.concurrency is 1: there is one for each handler all the same"


def test_check_says_nothing_of_slots_without_handlers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, capsys, 16) == []
