"""`check` says how the handlers share `dispatch.concurrency`, and what becomes of the store."""

from __future__ import annotations

from itertools import dropwhile, takewhile
from pathlib import Path

import pytest
import typer

from receiver.cli.session import open_session
from receiver.cli.setup import check
from receiver.errors import StoreMalformed, StoreUnavailable
from receiver.store import database as database_module
from receiver.store import schema
from receiver.store.migrate import migrate
from receiver.store.schema import HEAD
from tests.faults import another_user, damage_root, fill, small_disk
from tests.stores import WriteLock, execute, insert_rows, open_store


def checked(folder: Path, capsys: pytest.CaptureFixture[str], concurrency: int, *handlers: str) -> list[str]:
    """The lines about slots that `check` prints."""
    config = folder / "receiver.toml"
    tables = "\n".join(f"[handlers.{name}]" for name in handlers)
    source = '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["a-secret-of-twenty-characters"]'
    config.write_text(f"[dispatch]\nconcurrency = {concurrency}\n{tables}\n{source}\n")
    check(config)
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    following = dropwhile(lambda line: not line.startswith("slots"), lines)
    return list(takewhile(lambda line: not line.startswith("source"), following))


def test_check_says_what_is_kept_for_each_handler_and_its_most(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(tmp_path, capsys, 16, "save_audio", "log") == [
        "slots    16 runs at one time; reserved for each handler, and its maximum:",
        "save_audio 4–12",
        "log 4–12",
    ]


def test_check_says_that_there_is_one_slot_for_each_handler_in_any_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *shares, warning = checked(tmp_path, capsys, 1, "save_audio", "log")
    assert shares == ["save_audio 1–1", "log 1–1"]
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
    database = open_store(path)
    migrate(database)
    database.close()
    used = dict.fromkeys(("first_used_at", "last_used_at"), 1_700_000_000.0)
    insert_rows(path, schema.signing_keys, {"source": "aitts", "key_id": "mine", **used})
    return path


def test_check_says_that_a_store_will_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, secret = store_lines(tmp_path, capsys)
    assert store.endswith("receiver.db (will be created)")
    assert "never used" in secret


def test_check_says_that_the_store_of_an_earlier_release_will_be_upgraded_and_reads_its_secrets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(tmp_path)
    before = store_lines(tmp_path, capsys)
    execute(path, "UPDATE alembic_version SET version_num = '0003'")
    store, secret = store_lines(tmp_path, capsys)
    assert before[0].endswith("receiver.db")
    assert store == f"{before[0]} (schema 0003, which serve upgrades to {HEAD})"
    assert secret == before[1]
    assert "2023-11-14" in secret


def test_check_says_that_the_store_has_a_newer_schema_that_only_adds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(tmp_path)
    before = store_lines(tmp_path, capsys)
    execute(path, "UPDATE alembic_version SET version_num = '0999'")
    store, secret = store_lines(tmp_path, capsys)
    assert store == f"{before[0]} (schema 0999 of a newer release, which this one can use)"
    assert secret == before[1]


def problems(folder: Path, capsys: pytest.CaptureFixture[str], *, deep: bool = False) -> str:
    """What `check` says on standard error where it finds something wrong."""
    config = folder / "receiver.toml"
    if not config.exists():
        config.write_text(CONFIG)
    with pytest.raises(typer.Exit) as caught:
        check(config, deep)
    assert caught.value.exit_code == 1
    return capsys.readouterr().err


def test_check_says_how_much_room_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk / "receiver.toml").write_text(CONFIG)
        check(disk / "receiver.toml")
        assert f"! only 2 MB are free on the disk of {disk}" in capsys.readouterr().out


def test_check_says_how_many_runs_wait_for_the_audio_storage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = {"event_id": "e", "handler": "h", "state": "pending", "due_at": 1, "waits_for": "audio_storage"}
    insert_rows(make_store(tmp_path), schema.runs, run)
    (tmp_path / "receiver.toml").write_text(CONFIG)
    check(tmp_path / "receiver.toml")
    assert "! runs that wait for the audio storage: 1" in capsys.readouterr().out


def test_check_finds_a_full_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with small_disk(tmp_path / "disk") as disk:
        make_store(disk)
        (disk / "receiver.toml").write_text(CONFIG)
        fill(disk)
        said = problems(disk, capsys)
        assert f"store.url: The store {disk}/receiver.db cannot be" in said
        assert f"audio.url: The audio folder {disk}/data/audio cannot be written to: No space left on device." in said


def test_check_finds_a_locked_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.01)
    with WriteLock(make_store(tmp_path)):
        assert "is locked" in problems(tmp_path, capsys)


def test_check_that_meets_damage_in_the_middle_does_not_say_that_all_is_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(tmp_path)
    damage_root(path, "ix_runs_waiting")
    (tmp_path / "receiver.toml").write_text(CONFIG)
    with pytest.raises(StoreMalformed):
        check(tmp_path / "receiver.toml")
    assert capsys.readouterr().out == ""


def test_check_deep_finds_damage_that_nothing_else_would_meet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_store(tmp_path)
    damage_root(path, "artifacts")
    (tmp_path / "receiver.toml").write_text(CONFIG)
    check(tmp_path / "receiver.toml")
    said = problems(tmp_path, capsys, deep=True)
    assert f"store.url: The store {path} is damaged" in said
    assert "restore the backup" in said


def test_commands_name_a_store_whose_folder_may_not_be_looked_into() -> None:
    with another_user() as folder:
        (folder / "data").mkdir()
        (folder / "data" / "receiver.db").touch()
        (folder / "receiver.toml").write_text(CONFIG.replace("receiver.db", "data/receiver.db"))
        (folder / "data").chmod(0)
        wanted = r"data/receiver\.db cannot be opened: Permission denied\. Give the"
        with pytest.raises(StoreUnavailable, match=wanted), open_session(folder / "receiver.toml"):
            pass


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, False)])
def test_check_warns_of_a_configuration_with_secrets_that_others_can_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, warned: bool
) -> None:
    config = tmp_path / "receiver.toml"
    config.write_text(CONFIG)
    config.chmod(mode)
    check(config)
    said = capsys.readouterr()
    assert (f"! {config}: contains secrets and can be read by every user of this machine" in said.err) is warned
    assert "a-secret-of-twenty-characters" not in said.err + said.out


def test_check_says_where_the_console_is_and_who_may_log_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "receiver.toml"
    hash = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$" + "A" * 43
    login = f"""[console.users.anna]
password_hash = "{hash}"
role = "operator"
[[api.tokens]]
id = "dashboard"
token = "token-of-the-tests-0123456789"
role = "viewer"
"""
    for server, more, expected in (
        ("", "", ["http://127.0.0.1:8081/console", "without a login: no token and no user is configured"]),
        (
            'private_host = "::1"',
            login,
            ["http://[::1]:8081/console", "user anna, operator", "token dashboard, viewer"],
        ),
        ("", "[console]\nenabled = false\n", []),
    ):
        config.write_text(f"[server]\n{server}\n{more}{CONFIG}")
        check(config)
        lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
        found = list(dropwhile(lambda line: not line.startswith("console "), lines))
        assert [line.removeprefix("console").strip() for line in found] == expected
