"""PostgreSQL as Debian has it, for what the server of the other tests is built without: TLS, and standbys."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.patience import PATIENCE
from tests.server_folder import server_folder

USER = "postgres"
"""The system's user: the server refuses to be root."""
_CONFIGURATION = """
fsync = off
full_page_writes = off
listen_addresses = '127.0.0.1'
shared_buffers = 32MB
max_connections = 60
jit = off
log_min_messages = fatal
wal_keep_size = 256MB
"""
TRUST = "local all all trust\nhost all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n"


def programs() -> Path | None:
    """The folder of the newest installed server's programs; None if there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


class Node:
    """One server, on a port of its own on 127.0.0.1.

    Attributes:
        folder: its data.
        port: that it listens on.
    """

    def __init__(self, installed: Path, folder: Path) -> None:
        self._installed = installed
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])

    def initialize(self, more: str = "", rules: str = TRUST) -> None:
        """Make an empty server, with these further settings and rules of `pg_hba.conf`."""
        self._run("initdb", "-D", str(self.folder), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self.configure(_CONFIGURATION + more)
        (self.folder / "pg_hba.conf").write_text(rules)

    def copy_of(self, primary: Node, name: str) -> None:
        """Make a standby that streams from a primary, under this name."""
        source = f"host=127.0.0.1 port={primary.port} user={USER} application_name={name}"
        self._run(
            "pg_basebackup", "-D", str(self.folder), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"
        )
        for lock in self.folder.glob(".s.PGSQL.*"):  # of the sockets of the other servers, which are in their folders
            lock.unlink()

    def configure(self, more: str) -> None:
        """Add settings, which the next start or `reload` reads."""
        with (self.folder / "postgresql.conf").open("a") as file:
            file.write(f"\n{more}\n")

    def start(self) -> None:
        """Start it, or start it again."""
        options = f"-p {self.port} -k {self.folder}"
        self._pg_ctl("-w", "-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is like a crash."""
        self._pg_ctl("-w", "-m", mode, "stop")

    def reload(self) -> None:
        """Read the settings again."""
        self._pg_ctl("reload")

    def promote(self) -> None:
        """Make a standby a primary."""
        self._pg_ctl("-w", "promote")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Execute a statement as the superuser, over its Unix socket; the rows."""
        with psycopg.connect(
            host=str(self.folder), port=self.port, user=USER, dbname="postgres", autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self.folder), "-t", f"{PATIENCE:.0f}", *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        output = self.folder.parent / f"{self.folder.name}.{program}"
        with output.open("ab") as out:  # no pipe: the server would keep it open
            done = subprocess.run(
                [self._installed / program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd="/",
                user=USER if os.geteuid() == 0 else None,
                check=False,
            )
        if done.returncode:
            log = self.folder / "log"
            raise AssertionError(output.read_text() + (log.read_text() if log.exists() else ""))


@contextmanager
def debian_servers() -> Iterator[tuple[Path, Path]]:
    """The programs, and a folder for nodes that is removed at the end; the test is skipped if nothing is installed."""
    installed = programs()
    if installed is None:
        pytest.skip("Debian's PostgreSQL is not installed (apt install postgresql)")
    with server_folder("receiver-debian-postgresql-") as folder:
        give(folder)
        yield installed, folder


def give(path: Path) -> None:
    """Let the server's user have a file or folder."""
    if os.geteuid() == 0:
        shutil.chown(path, USER, pwd.getpwnam(USER).pw_gid)
