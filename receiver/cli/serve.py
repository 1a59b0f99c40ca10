"""`serve`: the public and the private listener, and an orderly shutdown."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence

import structlog
from starlette.types import ASGIApp

from receiver import logs
from receiver.app import Receiver
from receiver.assembly.receiver import build_receiver
from receiver.cli.sd_notify import Notifier, take_notifier
from receiver.cli.socket_activation import InheritedSockets, take_sockets
from receiver.clock import SystemClock
from receiver.engine.event_loops import new_loop
from receiver.errors import ConfigError, ConfigProblem
from receiver.model.role import Role
from receiver.settings import Settings
from receiver.settings.guessable import guessable_secrets
from receiver.settings.private import require_private, require_private_socket
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.descriptors import allocate_descriptors
from receiver.web.http.limits import Limits
from receiver.web.http.server import ListenerServer, listener_server
from receiver.web.root_path import under

log = structlog.get_logger("receiver.serve")

STOP_SECONDS = 60
"""How long a stop may take beyond the grace period: submits and requests in progress, handlers that do not end."""


Listeners = dict[str, socket.socket]
"""The private and, if the role has one, the public listening socket, by the words of the log."""


def serve(settings: Settings, warnings: Sequence[ConfigProblem], role: Role) -> None:
    """Do the work of the role until SIGTERM or SIGINT.

    Args:
        warnings: about the configuration's files; logged at startup.

    Raises:
        ConfigError: a listener or a handler cannot be created as configured.
    """
    logs.configure(level=settings.logs.level, format=settings.logs.format, secrets=settings.secrets())
    logs.capture_interpreter_errors()
    for problem in warnings:
        log.warning("config.exposed", path=problem.where, detail=problem.what)
    for problem in guessable_secrets(settings):
        log.warning("config.guessable_secret", key=problem.where, detail=problem.what)
    inherited = take_sockets(os.environ, os.getpid())
    notifier = take_notifier(os.environ, os.getpid(), SystemClock())
    _require_private(settings, inherited)
    receiver = build_receiver(settings, role=role)
    logs.add_secrets(receiver.registry.secrets())
    listeners = _listeners(settings, role, inherited)
    _log_inherited(inherited)
    receiver.links.listening_at(_reachable(_address(listeners["private"])) + settings.server.root_path)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(receiver, settings, notifier, listeners))


def _require_private(settings: Settings, inherited: InheritedSockets) -> None:
    if inherited.private is None:
        require_private(settings)
    else:
        require_private_socket(settings, inherited.private)


def _listeners(settings: Settings, role: Role, inherited: InheritedSockets) -> Listeners:
    server = settings.server
    public: Listeners = {}
    if role.receives:
        public["public"] = inherited.public or _listen(server.host, server.port, "server.port")
    elif inherited.public is not None:
        what = f"a public socket is passed, but a {role} has no public listener; name its socket private"
        raise ConfigError([ConfigProblem("LISTEN_FDS", what)])
    private = inherited.private or _listen(server.private_host, server.private_port, "server.private_port")
    return {"private": private, **public}


def _log_inherited(inherited: InheritedSockets) -> None:
    """Log which settings have no effect because a socket was inherited."""
    settings = {"public": "server.host and server.port", "private": "server.private_host and server.private_port"}
    for name, unused in settings.items():
        listener: socket.socket | None = getattr(inherited, name)
        if listener is not None:
            log.info("sockets.inherited", listener=name, address=_address(listener), hint=f"{unused} are not used")


def _listen(host: str, port: int, key: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
    except OSError as error:
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            key = key.replace("port", "host")
        raise ConfigError(
            [ConfigProblem(key, f"cannot listen on {host} port {port}: {error.strerror or error}")]
        ) from None
    listener.setblocking(False)
    return listener


def _servers(receiver: Receiver, settings: Settings, listeners: Listeners) -> list[ListenerServer]:
    """The server of each listener, in their order."""
    server = settings.server
    connections = allocate_descriptors(server.max_connections if "public" in listeners else 0)
    served: dict[str, tuple[ASGIApp, int]] = {
        "private": (receiver.private, connections.private),
        "public": (receiver.public, connections.public),
    }

    def listening(name: str) -> ListenerServer:
        app, max_connections = served[name]
        limits = Limits(max_connections, server.head_seconds, server.idle_seconds)
        return listener_server(under(server.root_path, app), ConnectionTable(name, limits, receiver.metrics))

    return [listening(name) for name in listeners]


async def _serve(receiver: Receiver, settings: Settings, notifier: Notifier, listeners: Listeners) -> None:
    servers = _servers(receiver, settings, listeners)
    grace = settings.dispatch.grace_seconds
    stop, forced = asyncio.Event(), asyncio.Event()

    def on_stop(name: str) -> None:
        if stop.is_set():
            log.warning("receiver.stop_forced", signal=name)
            forced.set()
            receiver.end_grace_period()
            for server in servers:
                server.force_exit = True
            return
        log.info("receiver.stopping", signal=name, grace_seconds=grace)
        stop.set()

    watch_signals(on_stop)
    try:
        await _start(receiver, notifier)
    except BaseException:
        for listener in listeners.values():
            listener.close()
        raise
    _freeze_garbage()
    addresses = {name: _address(listener) for name, listener in listeners.items()}
    serving = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, listeners.values(), strict=True)
    ]
    accepting = asyncio.create_task(_until_listening(*servers))
    await asyncio.wait([accepting, *serving], return_when=asyncio.FIRST_COMPLETED)
    log.info("listening", **addresses, pid=os.getpid())
    await notifier.send("READY=1", f"STATUS={_status(addresses)}")
    feeding = asyncio.create_task(notifier.feed_watchdog(lambda: None if stop.is_set() else find_ended(receiver)))
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *serving], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await _stop(receiver, notifier, forced, list(zip(servers, serving, strict=True)))
    for background in (accepting, waiting, feeding):
        background.cancel()
    for task in serving:
        task.result()  # a failed listener must not look like an orderly end
    if waiting not in done:
        raise RuntimeError("A listener ended by itself.")


def _status(addresses: Mapping[str, str]) -> str:
    public = addresses.get("public")
    work = "Running handlers" if public is None else f"Accepting deliveries at {public}"
    return f"{work}; private listener: {addresses['private']}"


async def _stop(
    receiver: Receiver,
    notifier: Notifier,
    forced: asyncio.Event,
    listeners: Sequence[tuple[ListenerServer, asyncio.Task[None]]],
) -> None:
    """Stop the handlers within their grace period, then the listeners, the public one first.

    Deliveries that arrive during the grace period, or within `drain_seconds`, are stored, and handled by another
    process.

    Args:
        forced: ends the waits.
    """
    grace_seconds = receiver.settings.dispatch.grace_seconds
    drain_seconds = receiver.settings.server.drain_seconds if receiver.role.receives else 0.0
    receiver.drain()
    for server, _ in listeners:
        server.drain()
    await notifier.send(
        "STOPPING=1",
        f"STATUS=Stopping; running handlers have up to {grace_seconds:g} s",
        f"EXTEND_TIMEOUT_USEC={int((grace_seconds + drain_seconds + STOP_SECONDS) * 1_000_000)}",
    )
    await asyncio.gather(receiver.finish(), SystemClock().wait(forced, drain_seconds))
    for server, task in reversed(listeners):
        server.should_exit = True
        await asyncio.wait([task])
    await receiver.close()


def watch_signals(on_stop: Callable[[str], None]) -> None:
    """Call `on_stop` with the name of each signal to stop; log and ignore signals that make other programs reload."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_stop, number.name)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(number, _ignore, number.name)


def _ignore(name: str) -> None:
    log.warning("signal.ignored", signal=name, hint="changes of configuration and plugins take effect at a restart")


async def _start(receiver: Receiver, notifier: Notifier) -> None:
    extending = asyncio.create_task(notifier.extend_start())
    try:
        await receiver.start()
    finally:
        extending.cancel()


async def _until_listening(*servers: ListenerServer) -> None:
    for server in servers:
        await server.listening.wait()


def find_ended(receiver: Receiver) -> str | None:
    """The name of a part that has ended and needs a restart; None while all work. A store outage does not count."""
    if not receiver.database.writing:
        return "store writer"
    if not receiver.role.works:
        return None
    if not receiver.dispatcher.alive:
        return "dispatcher"
    return next((f"poller of {name}" for name, loop in receiver.loops.items() if not loop.alive), None)


def _freeze_garbage() -> None:
    """Exclude the objects made at startup from garbage collection: they live until the process ends.

    Measured: a fifteenth more deliveries a second. Only here, in a process of our own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _reachable(address: str) -> str:
    """The address, with this machine's loopback instead of the wildcard that a listener on all interfaces has."""
    return address.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
