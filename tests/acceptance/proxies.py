"""Real proxies as processes on loopback, with a certificate of their own; and clients that send exact bytes.

Each is given a whole configuration for one site, in its own language, as the how-to shows it. Only what a test cannot
have is replaced: the ports and the certificate's place. What stands around a site (where to write the log, not to fork)
is added here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.support import SOURCE, Server, Site, until
from tests.patience import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
HOW_TO = ROOT / "docs" / "how-to" / "behind-a-proxy.md"

SITE = "tts.example.com"
WEBHOOK = f"/webhooks/{SOURCE}"
TRUSTED = 'trusted_proxies = ["127.0.0.1"]'
STRANGER = "127.0.0.2"
"""Where the tests' clients come from: another address than the proxy's own."""
UPSTREAM = "127.0.0.1:8080"

_MODULES = ("mpm_event", "authz_core", "alias", "headers", "proxy", "proxy_http", "socache_shmcb", "ssl")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Client:
    """One TLS connection to a proxy, from a stranger's address. It sends bytes as they are."""

    def __init__(self, port: int, certificate: Path) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        plain = socket.create_connection(("127.0.0.1", port), PATIENCE, (STRANGER, 0))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname=SITE)
        self._file = self._socket.makefile("rb")
        self.headers: dict[bytes, bytes] = {}
        """Of the last answer, by their lower-case names."""

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """One request with a `Content-Length`; status and body of its answer."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {SITE}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def send(self, *pieces: bytes) -> tuple[int, bytes]:
        """Send a whole request, in these pieces; status and body of the answer, which may come before all is sent."""
        with contextlib.suppress(OSError):  # refused early: the answer is there to be read
            for piece in pieces:
                self._socket.sendall(piece)
        status = int(self._file.readline().split()[1])
        headers = self.headers = {}
        while (line := self._file.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            headers[name.lower()] = value.strip()
        if status < 200:
            return status, b""
        if b"content-length" in headers:
            return status, self._file.read(int(headers[b"content-length"]))
        if headers.get(b"transfer-encoding") == b"chunked":
            pieces = []
            while size := int(self._file.readline(), 16):
                pieces.append(self._file.read(size))
                self._file.readline()
            self._file.readline()
            return status, b"".join(pieces)
        return status, self._file.read()

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()


@dataclass(frozen=True)
class Proxy:
    """A kind of proxy: its program, the language of its configuration, and what has to be replaced and added.

    Attributes:
        package: what to install where the program is not there.
        language: of its block in the how-to.
    """

    name: str
    program: str
    package: str
    language: str

    def find(self) -> str | None:
        """The program's path, where it is installed."""
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin")

    def require(self) -> str:
        """The program's path; the test is skipped where it is not installed."""
        found = self.find()
        if found is None:
            pytest.skip(f"{self.name} is not installed here; on Debian: apt-get install {self.package}")
        return found

    @contextmanager
    def running(self, site: str, upstream: str, folder: Path, certificate: Path) -> Iterator[int]:
        """Start it with a site's configuration in front of `upstream` (`host:port`); the port that it listens on."""
        program = self.require()
        folder.mkdir()
        port = free_port()
        site = self._placed(site.replace(UPSTREAM, upstream), port, certificate)
        log = folder / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._command(program, folder, site),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=folder,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
            )
        try:
            until(f"{self.name} listens", lambda: _listens(port, process, log))
            yield port
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)

    def _placed(self, site: str, port: int, certificate: Path) -> str:
        """The site on a loopback port, with the test's certificate."""
        site = re.sub(r"/etc/(ssl|haproxy)/\S+\.(pem|key)", str(certificate), site)
        site = re.sub(r"(listen |bind |\*)(:?)443\b", rf"\g<1>127.0.0.1:{port}", site).replace("*127", "127")
        tls = f"tls {certificate} {certificate}"
        return re.sub(rf"^{re.escape(SITE)} {{$", f"{SITE}:{port} {{\n\tbind 127.0.0.1\n\t{tls}", site, flags=re.M)

    def _command(self, program: str, folder: Path, site: str) -> list[str]:
        config = folder / "config"
        if self.name == "caddy":
            config.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{site}")
            return [program, "run", "--config", str(config), "--adapter", "caddyfile"]
        if self.name == "nginx":
            places = "".join(
                f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            config.write_text(
                f"daemon off; master_process off; pid {folder}/pid; error_log stderr warn;\n"
                f"events {{}}\nhttp {{ access_log off; {places}\n{site}\n}}\n"
            )
            return [program, "-p", str(folder), "-e", "stderr", "-c", str(config)]
        if self.name == "haproxy":
            config.write_text(f"global\n    maxconn 200\n{site}")
            return [program, "-db", "-f", str(config)]
        modules = "".join(f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n" for name in _MODULES)
        user = "User www-data\nGroup www-data\n" if os.geteuid() == 0 else ""
        listen = re.search(r"<VirtualHost (\S+)>", site)
        assert listen is not None
        config.write_text(
            f"ServerRoot {folder}\nServerName {SITE}\nPidFile {folder}/pid\nErrorLog {folder}/error\n"
            f"DocumentRoot {folder}\nMutex posixsem\nStartServers 1\n{modules}{user}Listen {listen[1]}\n{site}"
        )
        return [program, "-DFOREGROUND", "-f", str(config)]


def _listens(port: int, process: subprocess.Popen[bytes], log: Path) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"it ended ({process.returncode}):\n{log.read_text(errors='replace')}")
    try:
        socket.create_connection(("127.0.0.1", port), PATIENCE).close()
    except OSError:
        return False
    return True


CADDY = Proxy("caddy", "caddy", "caddy", "caddyfile")
NGINX = Proxy("nginx", "nginx", "nginx", "nginx")
HAPROXY = Proxy("haproxy", "haproxy", "haproxy", "haproxy")
APACHE = Proxy("apache", "apache2", "apache2", "apacheconf")
PROXIES = (CADDY, NGINX, HAPROXY, APACHE)


def shown(proxy: Proxy, page: Path = HOW_TO) -> str:
    """The page's configuration for this proxy."""
    found = re.findall(rf"^```{proxy.language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


@dataclass
class Behind:
    """A receiver behind a proxy."""

    site: Site
    server: Server
    port: int
    certificate: Path

    @contextmanager
    def client(self) -> Iterator[Client]:
        """One connection to the proxy."""
        client = Client(self.port, self.certificate)
        try:
            yield client
        finally:
            client.close()

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, bytes]:
        """One request over a connection of its own."""
        with self.client() as client:
            return client.ask(method, path, headers, body)


@contextmanager
def in_front(
    receiver: tuple[Site, Server], proxy: Proxy, site: str, certificate: Path, folder: Path
) -> Iterator[Behind]:
    """A proxy with this configuration before the receiver's public listener."""
    upstream = receiver[1].public.removeprefix("http://")
    with proxy.running(site, upstream, folder / "proxy", certificate) as port:
        yield Behind(*receiver, port, certificate)
