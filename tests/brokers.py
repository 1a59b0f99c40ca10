"""Real message brokers as child processes: RabbitMQ, NATS with JetStream, Redis, each with a port and a folder.

They are Debian's packages `rabbitmq-server`, `nats-server` and `redis-server`. A test that needs one is skipped where
it, or the extra `publish`, is not installed.
"""

from __future__ import annotations

import importlib.util
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.patience import PATIENCE

USER = "publisher"
PASSWORD = "pa@ss/w:rd-0123456789"
"""With characters that an address must encode."""


def lasting_port() -> int:
    """A free port below those that the system chooses, so that nobody else gets it while the broker is down."""
    while True:
        port = random.randrange(20_000, 32_768)
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


class Broker(ABC):
    """A broker with one user. `kill` and `start` as often as a test likes: the data stay."""

    program: str
    greeting = b""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = lasting_port()
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def url(self, password: str = PASSWORD) -> str:
        """The address with user and password."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)

    def start(self) -> None:
        """Start it, and return when it answers."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(f"{self.program} does not start: {self._output()[-3000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with closing(socket.create_connection(("127.0.0.1", self.port), timeout=5)) as connection:
                connection.sendall(self.greeting)
                return bool(connection.recv(64))
        except OSError:
            return False

    def _output(self) -> str:
        return (self.folder / "output").read_text("utf-8", "replace")

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def stop(self) -> None:
        """Let it stand still, and return when it does: on a busy machine its threads go on for a moment."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Let it go on."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it for good."""
        self.kill()


class Nats(Broker):
    """NATS with JetStream."""

    program = "nats-server"

    def __init__(self, folder: Path, settings: str = "") -> None:
        super().__init__(folder)
        self._settings = settings

    def url(self, password: str = PASSWORD) -> str:
        return f"nats://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        config = self.folder / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\njetstream {{ store_dir: "{self.folder / "data"}" }}\n'
            f'authorization {{ user: "{USER}", password: "{PASSWORD}" }}\n{self._settings}\n'
        )
        return [str(path_of(self)), "-c", str(config)]


class Redis(Broker):
    """Redis that answers after the entry is on disk."""

    program = "redis-server"
    greeting = b"PING\r\n"

    def url(self, password: str = PASSWORD) -> str:
        return f"redis://:{quote(password, safe='')}@127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "requirepass": PASSWORD,
        }
        return [str(path_of(self)), *(part for name, value in options.items() for part in (f"--{name}", value))]


class RabbitMq(Broker):
    """RabbitMQ, which takes some seconds to start: one for a whole module.

    The Erlang port mapper, which it would start and leave behind, is a child process of ours on a port of its own.
    """

    program = "rabbitmq-server"
    greeting = b"AMQP\x00\x00\x09\x01"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._distribution_port = lasting_port()
        self._mapper_port = lasting_port()
        self._mapper: subprocess.Popen[bytes] | None = None

    def url(self, password: str = PASSWORD) -> str:
        return f"amqp://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/"

    def start(self) -> None:
        if self._mapper is None:
            self._mapper = subprocess.Popen(["epmd", "-address", "127.0.0.1", "-port", str(self._mapper_port)])
        super().start()

    def close(self) -> None:
        super().close()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait(PATIENCE)

    def _command(self) -> list[str]:
        (self.folder / "plugins").write_text("[].\n")
        (self.folder / "rabbitmq.conf").write_text(
            f"default_user = {USER}\ndefault_pass = {PASSWORD}\ndisk_free_limit.absolute = 1MB\n"
        )
        # The program itself: Debian's command of that name changes the user, and another folder would have to be his.
        return [str(next(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server")))]

    def _environment(self) -> dict[str, str]:
        return dict(os.environ) | {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # the server replaces the shell that starts it, so SIGKILL is for the server
            "RABBITMQ_NODENAME": "tests@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "none"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "data"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ERL_ARGS": "+P 65536 +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput -kernel inet_dist_use_interface {127,0,0,1}",
        }


def path_of(broker: Broker | type[Broker]) -> str | None:
    """The program; Debian has some in a folder that is not on everybody's PATH."""
    return shutil.which(broker.program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def missing(kind: type[Broker]) -> str | None:
    """What is missing to publish to a broker of this kind; None if nothing is."""
    if importlib.util.find_spec("faststream") is None:
        return 'the extra is not installed: pip install "tts-receiver[publish]"'
    if path_of(kind) is None:
        return f"{kind.program} is not installed (Debian: apt install {kind.program})"
    return None


@contextmanager
def running(kind: type[Broker], folder: Path) -> Iterator[Broker]:
    """A started broker; the test is skipped where something is missing."""
    reason = missing(kind)
    if reason is not None:
        pytest.skip(reason)
    broker = kind(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.close()
