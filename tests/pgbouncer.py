"""A real PgBouncer in transaction mode before the PostgreSQL of the tests: each transaction gets another session."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from sqlalchemy import make_url

from tests.patience import PATIENCE
from tests.postgresql_server import PostgresqlServer
from tests.server_folder import server_folder

PORT = 6432
_CONFIGURATION = """
[databases]
* = host={server} user={user}
[pgbouncer]
listen_port = {port}
unix_socket_dir = {folder}
pool_mode = transaction
auth_type = any
max_client_conn = 200
default_pool_size = 12
# The session that was used least recently: no two transactions in a row get the same one.
server_round_robin = 1
server_login_retry = 1
query_wait_timeout = 5
logfile = {folder}/log
"""


class Pooler:
    """A PgBouncer that only this machine's sockets reach. Databases are created and removed past it."""

    def __init__(self, server: PostgresqlServer, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self.copy = server.copy
        self.drop = server.drop

    def url(self, name: str, password: str = "") -> str:
        """The address of a database, through the pooler, as for `store.url`."""
        address = make_url(self._server.url(name, password)).set(port=PORT, query={"host": str(self._folder)})
        return address.render_as_string(hide_password=False)


@contextmanager
def running_pooler(server: PostgresqlServer) -> Iterator[Pooler]:
    """Start a PgBouncer before this server; skip the test if it is not installed."""
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt install pgbouncer)")
    with server_folder("receiver-pgbouncer-") as folder:
        sockets = Path(parse_qs(urlsplit(server.url("postgres")).query)["host"][0])
        command = [program, str(folder / "pgbouncer.ini")]
        if os.geteuid() == 0:  # it refuses to be root, and must reach the server's socket
            command[1:1] = ["--user", sockets.owner()]
            shutil.chown(folder, sockets.owner())
        text = _CONFIGURATION.format(server=sockets, user=make_url(server.url("x")).username, port=PORT, folder=folder)
        (folder / "pgbouncer.ini").write_text(text)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                pooler = Pooler(server, folder)
                _wait_for(pooler, process)
                yield pooler
            finally:
                process.terminate()


def _wait_for(pooler: Pooler, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while True:
        try:
            psycopg.connect(pooler.url("postgres")).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return
