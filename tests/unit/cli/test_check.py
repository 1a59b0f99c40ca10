"""`check` says how the handlers share `dispatch.concurrency`, and what becomes of the store."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from receiver.cli.setup import check
from receiver.store.database import Database
from receiver.store.migrate import migrate
from receiver.store.schema import HEAD


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
    assert line == "slots    16 runs at one time; reserved for each handler, and its maximum: save_audio 4–12, log 4–12"


def test_check_says_that_there_is_one_slot_for_each_handler_in_any_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line, warning = checked(tmp_path, capsys, 1, "save_audio", "log")
    assert line.endswith("save_audio 1–1, log 1–1")
    assert warning == "! dispatch.concurrency is 1: each handler still gets one"


def test_check_says_nothing_of_slots_without_handlers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, capsys, 16) == []


CONFIG = """
[store]
url = "sqlite:///receiver.db"
[[sources.aitts.signing_secrets]]
id = "mine"
secret = "a-secret-of-twenty-characters"
[sources.aitts]
provider = "aitts"
"""


def store_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines about the store and the signing secret that `check` prints."""
    config = folder / "receiver.toml"
    config.write_text(CONFIG)
    check(config)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if line.startswith(("store", "secret"))]


def make_store(folder: Path) -> Path:
    """A store whose signing secret has been used."""
    path = folder / "receiver.db"
    database = Database(path)
    migrate(database)
    database.close()
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO signing_keys VALUES ('aitts', 'mine', 1700000000.0, 1700000000.0)")
    connection.close()
    return path


def test_check_says_that_a_store_will_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, secret = store_lines(tmp_path, capsys)
    assert store.endswith("receiver.db (will be made)")
    assert "never used" in secret


def test_check_says_that_the_store_of_an_earlier_release_will_be_upgraded_and_reads_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(tmp_path)
    before = store_lines(tmp_path, capsys)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0003'")
    connection.close()
    store, secret = store_lines(tmp_path, capsys)
    assert before[0].endswith("receiver.db")
    assert store == f"{before[0]} (schema 0003, which serve upgrades to {HEAD})"
    assert secret == before[1]
    assert "2023-11-14" in secret
