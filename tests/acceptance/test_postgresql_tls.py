"""TLS to PostgreSQL: a receiver works with `sslmode=verify-full`, and says what to do about a server without trust."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from receiver.errors import StoreUnavailable
from receiver.store.backends import backend_of
from receiver.store.database import Database
from receiver.store.migrate import revision
from tests.acceptance.support import Site, completed, deliver
from tests.certificate import Authority
from tests.debian_postgresql import Node, debian_servers, give

pytestmark = pytest.mark.postgresql

TLS_ONLY = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n"
PASSWORD = "a-password-of-the-test-0123456789"


class TlsServer:
    """A server that admits nobody without TLS, and what its clients may trust."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self.folder = folder
        self.authority, self.other = Authority(folder / "authority.pem"), Authority(folder / "other.pem")
        (folder / "empty.pem").touch()
        self.issue("127.0.0.1")
        self.node = Node(installed, folder / "node")
        files = f"ssl_cert_file = '{folder}/server.crt'\nssl_key_file = '{folder}/server.key'"
        self.node.initialize(f"ssl = on\n{files}", TLS_ONLY)
        self.node.start()
        self.node.execute(f"CREATE ROLE receiver LOGIN PASSWORD '{PASSWORD}'")
        self.node.execute("CREATE DATABASE receiver OWNER receiver ENCODING 'UTF8' TEMPLATE template0")

    def issue(self, name: str, days: int = 1) -> None:
        """Give the server a certificate, which it uses from the next reload on."""
        certificate, key = self.folder / "server.crt", self.folder / "server.key"
        self.authority.issue(certificate, key, name, days=days)
        for path in (certificate, key):
            path.chmod(0o600)
            give(path)

    def url(self, options: str) -> str:
        """The address of the database, with what follows its `?`."""
        return f"postgresql://receiver:{PASSWORD}@127.0.0.1:{self.node.port}/receiver?{options}"

    def failure(self, options: str) -> str:
        """What a process cannot use the store for."""
        with closing(Database(backend_of(self.url(options), Path("/")))) as database:
            with pytest.raises(StoreUnavailable) as raised:
                database.query(revision)
            return str(raised.value)


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    with debian_servers() as (installed, folder):
        yield TlsServer(installed, folder)


def test_a_receiver_works_over_a_connection_that_is_verified(server: TlsServer, site: Site) -> None:
    address = server.url(f"sslmode=verify-full&sslrootcert={server.authority.file}")
    environment = {"TTS_RECEIVER_STORE__URL": address}
    site.configure()
    assert site.command("check", **environment).returncode == 0
    started = site.start(**environment)
    answer = deliver(started.public, completed("over-tls"))
    assert answer is not None
    assert answer[0] == 202
    encrypted = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'receiver' AND ssl"
    assert server.node.execute(encrypted)[0][0]
    assert "over-tls" in site.command("events", "list", **environment).stdout
    assert started.stop() == 0
    assert PASSWORD not in site.everything_written()


def test_check_says_what_to_do_about_a_server_that_is_not_trusted(server: TlsServer, site: Site) -> None:
    address = server.url(f"sslmode=verify-full&sslrootcert={server.other.file}")
    done = site.configure().command("check", TTS_RECEIVER_STORE__URL=address)
    assert done.returncode == 1
    assert "store.url: The store postgresql://receiver@127.0.0.1:" in done.stderr
    assert "cannot be trusted" in done.stderr
    assert "let sslrootcert name the authority's certificate, or renew the server's" in done.stderr
    assert PASSWORD not in done.stderr


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (
            "sslmode=verify-full&sslrootcert={}/other.pem",
            "is of no authority in the file of sslrootcert, or has expired",
        ),
        ("sslmode=verify-full&sslrootcert={}/missing.pem", "let sslrootcert of the address name a readable file"),
        ("sslmode=verify-full&sslrootcert={}/empty.pem", "let sslrootcert of the address name a readable file"),
        ("sslmode=disable", "correct user, database and sslmode of the address"),
        ("sslmode=verify_full", "correct the options of the address"),
    ],
)
def test_a_wrong_option_is_explained(options: str, what: str, server: TlsServer) -> None:
    assert what in server.failure(options.format(server.folder))


def test_a_certificate_that_is_wrong_is_explained(server: TlsServer) -> None:
    verified = f"sslmode=verify-full&sslrootcert={server.authority.file}"

    def failure_with(name: str, days: int = 1) -> str:
        server.issue(name, days)
        server.node.stop()
        server.node.start()
        return server.failure(verified)

    try:
        assert "name the host in the address as the server's certificate does" in failure_with("db.internal")
        assert "or has expired" in failure_with("127.0.0.1", days=-1)
    finally:
        server.issue("127.0.0.1")
        server.node.stop()
        server.node.start()
    with closing(Database(backend_of(server.url(verified), Path("/")))) as database:
        database.query(revision)


def test_a_server_without_tls_is_explained(server: TlsServer) -> None:
    plain = Node(server.node._installed, server.folder / "plain")
    plain.initialize()
    plain.start()
    try:
        address = f"postgresql://postgres@127.0.0.1:{plain.port}/postgres?sslmode=require"
        with closing(Database(backend_of(address, Path("/")))) as database, pytest.raises(StoreUnavailable) as raised:
            database.query(revision)
        assert "turn TLS on in the server" in str(raised.value)
    finally:
        plain.stop()
