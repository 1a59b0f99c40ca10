"""`[handlers.NAME.tls]`: `ctx.http` presents a client certificate and trusts the named authorities, over real TLS."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import serialization

from receiver import Context, JobCompleted, handler
from receiver.engine.plugins import load_registry
from receiver.errors import ConfigError
from receiver.testing import HandlerOutcome, completed, run_handler
from tests.certificate import self_signed
from tests.integration.intake_support import configured

pytestmark = pytest.mark.anyio


class Certificates:
    """A server's, a client's and a stranger's, each with its key in the same file."""

    def __init__(self, folder: Path) -> None:
        self.server = self_signed(folder / "server.pem", "127.0.0.1", "localhost")
        self.client = self_signed(folder / "client.pem", "client.example")
        self.other = self_signed(folder / "other.pem", "127.0.0.1")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@asynccontextmanager
async def refusing(certificates: Certificates) -> AsyncIterator[str]:
    """A TLS server that reads the whole request before it refuses a client without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.client)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                writer.write(outgoing.read())
                incoming.write(await reader.read(65536))
            except ssl.SSLError:
                writer.write(outgoing.read())  # the alert
                writer.write_eof()
                await reader.read(-1)
                writer.close()
                return

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@asynccontextmanager
async def serving(certificates: Certificates, clients: ssl.VerifyMode) -> AsyncIterator[tuple[str, list[Any]]]:
    """A TLS server that knows the client's certificate; its address, and whose requests it answered."""
    seen: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            seen.append(writer.get_extra_info("peercert"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        except (OSError, asyncio.IncompleteReadError):  # refused, by either side
            pass
        finally:
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.server)
    context.verify_mode = clients
    context.load_verify_locations(certificates.client)
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/", seen


async def call(url: str, **tls: Path) -> HandlerOutcome:
    """One attempt of a handler that requests the address, with these files."""

    @handler(on=JobCompleted)
    async def tells(event: JobCompleted, ctx: Context[None]) -> str:
        return (await ctx.http.get(url)).text

    table = {"tls": {name: str(path) for name, path in tls.items()}} if tls else {}
    options = {"allow_private_addresses": True, **table}
    return await asyncio.to_thread(run_handler, tells, completed(), options=options)


async def test_a_server_that_requires_a_certificate_gets_the_handlers(certificates: Certificates) -> None:
    async with serving(certificates, ssl.CERT_REQUIRED) as (url, seen):
        outcome = await call(url, certificate=certificates.client, key=certificates.client, ca=certificates.server)
        assert (outcome.state, outcome.result) == ("succeeded", "ok")
        [peer] = seen
        assert peer["subject"] == ((("commonName", "client.example"),),)


async def test_the_key_may_be_in_the_certificates_file(certificates: Certificates) -> None:
    async with serving(certificates, ssl.CERT_REQUIRED) as (url, seen):
        outcome = await call(url, certificate=certificates.client, ca=certificates.server)
        assert (outcome.result, len(seen)) == ("ok", 1)


async def test_without_the_certificate_or_with_another_nothing_is_answered(certificates: Certificates) -> None:
    async with serving(certificates, ssl.CERT_REQUIRED) as (url, seen):
        for own in ({}, {"certificate": certificates.other}):
            outcome = await call(url, ca=certificates.server, **own)
            assert outcome.state == "retry"
            assert isinstance(outcome.error, httpx.TransportError)
        assert seen == []


async def test_an_alert_after_the_handshake_is_an_error_of_httpx(certificates: Certificates) -> None:
    async with refusing(certificates) as url:
        outcome = await call(url, ca=certificates.server)
    assert isinstance(outcome.error, httpx.ReadError)
    assert "certificate required" in str(outcome.error)


async def test_the_authorities_replace_the_well_known_ones(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(certificates, ssl.CERT_NONE) as (url, seen):
        assert "certificate verify failed" in str((await call(url)).error)
        assert (await call(url, ca=certificates.server)).result == "ok"
        monkeypatch.setenv("SSL_CERT_FILE", str(certificates.server))
        assert (await call(url, certificate=certificates.client)).result == "ok", "those, without a ca"
        refused = await call(url, ca=certificates.other)
        assert isinstance(refused.error, httpx.ConnectError)
        assert "certificate verify failed" in str(refused.error)
        assert len(seen) == 2


PLUGIN = """
from receiver import Context, JobCompleted, handler


@handler(on=JobCompleted)
async def tells(event: JobCompleted, ctx: Context[None]) -> None: ...
"""


def problems(folder: Path, table: dict[str, Any]) -> list[str]:
    (folder / "plugins").mkdir(exist_ok=True)
    (folder / "plugins" / "tells.py").write_text(PLUGIN)
    settings = configured(folder, plugins={"directory": "plugins"}, handlers={"tells": {"tls": table}})
    try:
        registry = load_registry(settings)
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    assert list(registry.with_tls()) == ["tells"]
    return []


def test_paths_start_from_the_configurations_folder(tmp_path: Path, certificates: Certificates) -> None:
    (tmp_path / "client.pem").write_bytes(certificates.client.read_bytes())
    assert problems(tmp_path, {"certificate": "client.pem", "ca": str(certificates.server)}) == []


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"certificate": "none.pem"}, "tls.certificate: {folder}/none.pem does not exist"),
        ({"certificate": "client.pem", "key": "none.pem"}, "tls.key: {folder}/none.pem does not exist"),
        ({"certificate": "client.pem", "key": "other.pem"}, "tls.key: {folder}/other.pem is not the key of"),
        ({"certificate": "chain.pem"}, "tls.certificate: {folder}/chain.pem has no private key in PEM format"),
        ({"certificate": "text.pem"}, "tls.certificate: {folder}/text.pem has no certificate in PEM format"),
        ({"certificate": "client.pem", "key": "text.pem"}, "tls.key: {folder}/text.pem has no private key"),
        ({"certificate": "client.pem", "key": "locked.pem"}, "tls.key: {folder}/locked.pem is encrypted with a"),
        ({"ca": "key.pem"}, "tls.ca: {folder}/key.pem has no certificate in PEM format"),
        ({"ca": "none.pem"}, "tls.ca: {folder}/none.pem does not exist"),
        ({"ca": "folder"}, "tls.ca: {folder}/folder cannot be read: Is a directory"),
        ({"ca": "pipe"}, "tls.ca: {folder}/pipe is not a file"),
        ({"ca": ""}, "tls.ca: is empty; it must be a path"),
        ({"ca": "~nobody-of-this-name/ca.pem"}, "tls.ca: ~nobody-of-this-name/ca.pem: ~nobody-of-this-name is no"),
    ],
)
def test_a_file_that_cannot_be_used_is_an_error_at_the_start_that_names_the_key(
    tmp_path: Path, certificates: Certificates, table: dict[str, Any], words: str
) -> None:
    for name in ("client", "other"):
        (tmp_path / f"{name}.pem").write_bytes(getattr(certificates, name).read_bytes())
    both = certificates.client.read_bytes()
    chain, _, key = both.partition(b"-----BEGIN PRIVATE KEY")
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(b"-----BEGIN PRIVATE KEY" + key)
    (tmp_path / "text.pem").write_text("-----BEGIN CERTIFICATE-----\nnot one\n-----END CERTIFICATE-----\n")
    (tmp_path / "locked.pem").write_bytes(
        serialization.load_pem_private_key(both, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a passphrase"),
        )
    )
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    [problem] = problems(tmp_path, table)
    assert problem.startswith(f"handlers.tells.{words.format(folder=tmp_path)}")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({}, "is empty; it needs a certificate or a ca"),
        ({"key": "k.pem"}, "has a key without its certificate"),
        ({"certifcate": "c.pem"}, "certifcate"),
    ],
)
def test_a_table_that_is_not_whole_is_an_error(tmp_path: Path, table: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        configured(tmp_path, handlers={"log": {"tls": table}})
