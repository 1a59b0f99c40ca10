"""The file of signing secrets: replaced whole, its owner's alone, and a secret that cannot go there is not lost."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.cli import secret_file
from receiver.cli.secret_file import SecretNotSaved, reserve, save_elsewhere
from receiver.settings.secrets_file import read_secrets_file

NEW = "whsec_new_0123456789abcdef"
OLD = "whsec_old_0123456789abcdef"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_first_secret_makes_a_file_that_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    before = os.umask(0)
    try:
        with reserve(path) as file:
            file.prepend(NEW)
    finally:
        os.umask(before)
    assert path.read_text() == f"{NEW}\n"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_secret_comes_first_and_the_others_stay_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    path.write_text(f"{OLD}\n\n  oldest  \n")
    with reserve(path) as file:
        file.prepend(NEW)
    assert path.read_text().splitlines() == [NEW, OLD, "oldest"]
    assert mode(path) == 0o600


def test_comments_stay_and_a_byte_order_mark_goes(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    path.write_text(f"\ufeff# of November\n{OLD}\n", encoding="utf-8")
    with reserve(path) as file:
        file.prepend(NEW)
    assert path.read_text(encoding="utf-8") == f"{NEW}\n# of November\n{OLD}\n"
    assert read_secrets_file(path) == [NEW, OLD]


@pytest.mark.parametrize("secret", [f"{NEW}é", f"#{NEW}", f"{NEW}\ufeff", f" {NEW}"])
def test_a_secret_that_the_file_could_not_give_back_is_put_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    with reserve(tmp_path / "there" / "aitts.secrets") as file, pytest.raises(SecretNotSaved) as caught:
        file.prepend(secret)
    assert secret not in str(caught.value)
    [aside] = tmp_path.glob("signing-secret-*")
    assert aside.read_text(encoding="utf-8") == f"{secret}\n"


def test_a_secret_that_is_there_already_is_there_once(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    path.write_text(f"{OLD}\n{NEW}\n")
    with reserve(path) as file:
        file.prepend(NEW)
    assert path.read_text().splitlines() == [NEW, OLD]


def test_what_is_not_used_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    path.write_text(f"{OLD}\n")
    with pytest.raises(KeyboardInterrupt), reserve(path):
        raise KeyboardInterrupt
    assert path.read_text() == f"{OLD}\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_leaves_is_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    path.write_text(f"{OLD}\n")
    killed = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom receiver.cli.secret_file import reserve\n"
        "with reserve(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", killed, path], timeout=60, check=False)
    [left] = [item for item in tmp_path.iterdir() if item != path]
    assert mode(left) == 0o600
    with reserve(path) as file:
        file.prepend(NEW)
    assert path.read_text().splitlines() == [NEW, OLD]
    assert list(tmp_path.iterdir()) == [path]


def test_two_at_one_time_do_not_take_the_secret_of_the_other_away(tmp_path: Path) -> None:
    path = tmp_path / "aitts.secrets"
    with reserve(path) as file:
        with pytest.raises(SecretNotSaved, match=r"another process .* no request was sent"), reserve(path):
            pytest.fail("it must not come here")
        file.prepend(NEW)
    assert path.read_text() == f"{NEW}\n"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "there" / "real.secrets", tmp_path / "aitts.secrets"
    path.parent.mkdir()
    link.symlink_to(path)
    with reserve(link) as file:
        file.prepend(NEW)
    assert link.is_symlink()
    assert path.read_text() == f"{NEW}\n"


@pytest.mark.parametrize("where", ["no-such-folder/aitts.secrets", "a-file/aitts.secrets", "a-folder", "not-text"])
def test_a_place_that_cannot_take_a_secret_is_refused_before_there_is_one(tmp_path: Path, where: str) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "not-text").write_bytes(b"\xff\n")
    with pytest.raises(SecretNotSaved, match="no request was sent") as caught, reserve(tmp_path / where):
        pytest.fail("it must not come here")
    assert str(tmp_path / where) in str(caught.value)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a-file", "a-folder", "not-text"]


def test_a_secret_whose_folder_is_gone_goes_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "secrets", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    with reserve(folder / "aitts.secrets") as file:
        shutil.rmtree(folder)
        with pytest.raises(SecretNotSaved) as caught:
            file.prepend(NEW)
    [kept] = here.iterdir()
    assert kept.read_text() == f"{NEW}\n"
    assert mode(kept) == 0o600
    assert str(kept) in str(caught.value)
    assert NEW not in str(caught.value)


def test_a_text_that_is_no_line_is_kept_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    path = tmp_path / "aitts.secrets"
    path.write_text(f"{OLD}\n")
    with reserve(path) as file, pytest.raises(SecretNotSaved, match="one line"):
        file.prepend("two\nlines")
    assert path.read_text() == f"{OLD}\n"
    assert [kept.read_text() for kept in here.iterdir()] == ["two\nlines\n"]


def test_the_folder_for_temporary_files_is_the_last_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, temporary = tmp_path / "gone", tmp_path / "temporary"
    gone.mkdir()
    temporary.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    monkeypatch.setattr(secret_file.tempfile, "tempdir", str(temporary))
    kept = save_elsewhere(b"secret", "signing-secret")
    assert kept is not None
    assert kept.parent == temporary
    assert kept.read_bytes() == b"secret"
    assert mode(kept) == 0o600
    temporary.chmod(0o700)
    shutil.rmtree(temporary)
    assert save_elsewhere(b"secret", "signing-secret") is None
