"""`init` writes a configuration whole or not at all, readable by its owner alone."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

OLD = "# the configuration that works\n"
# Every write beyond 100 bytes of a file fails, as on a disk that is full. A compiled module would be cut as well, and
# stay where every later process loads it.
ON_A_FULL_DISK = """
import resource, signal, sys
sys.dont_write_bytecode = True
from receiver.cli import main
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
sys.argv = ["tts-receiver", "init", "--force", sys.argv[1]]
main()
"""


def init(*words: str | Path, code: str = "from receiver.cli import main; main()") -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False)


def test_a_configuration_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text(OLD)
    done = init(path, code=ON_A_FULL_DISK)
    assert done.returncode != 0
    assert f"{path}: cannot be written: File too large" in done.stderr
    assert path.read_text() == OLD
    assert list(tmp_path.iterdir()) == [path]


def test_a_configuration_is_replaced_only_when_told_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "there" / "receiver.toml"
    path.parent.mkdir()
    path.write_text(OLD)
    path.chmod(0o644)
    link = tmp_path / "receiver.toml"
    link.symlink_to(path)
    refused = init("init", link)
    assert "already exists; --force replaces it" in refused.stderr
    assert path.read_text() == OLD
    assert init("init", "--force", link).returncode == 0
    assert link.is_symlink()
    assert path.read_text().startswith("# Configuration of tts-receiver.")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_uid == os.geteuid()


def test_what_is_no_plain_file_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "receiver.toml"
    os.mkfifo(pipe)
    done = init("init", "--force", pipe)
    assert f"{pipe}: cannot be written: it is not a plain file" in done.stderr
    assert stat.S_ISFIFO(pipe.stat().st_mode)
