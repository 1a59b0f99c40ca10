"""`serve`: the public and the private listener, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from collections.abc import Sequence

import structlog

from receiver import logs
from receiver.app import Receiver
from receiver.assembly import new_loop
from receiver.errors import ConfigError, Problem
from receiver.settings import Settings
from receiver.web.api.guard import is_loopback
from receiver.web.http.connections import ConnectionTable
from receiver.web.http.descriptors import share_descriptors
from receiver.web.http.limits import Limits
from receiver.web.http.server import ListenerServer, listener_server
from receiver.web.root_path import under

log = structlog.get_logger("receiver.serve")


def serve(settings: Settings, warnings: Sequence[Problem] = ()) -> None:
    """Receive deliveries and run handlers until SIGTERM or SIGINT.

    Args:
        warnings: what is logged about the configuration's files at the start.

    Raises:
        ConfigError: a listener or a handler cannot be made as configured.
    """
    server = settings.server
    logs.configure(level=settings.logs.level, format=settings.logs.format, secrets=settings.secrets())
    logs.capture_interpreter_errors()
    for problem in warnings:
        log.warning("config.exposed", path=problem.where, detail=problem.what)
    require_private(settings)
    receiver = Receiver(settings)
    public = _listen(server.host, server.port, "server.port")
    private = _listen(server.private_host, server.private_port, "server.private_port")
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(receiver, settings, public, private))


def require_private(settings: Settings) -> None:
    """The private listener may listen where others reach it only if it asks for tokens.

    Raises:
        ConfigError: it would be open to whoever reaches it.
    """
    host = settings.server.private_host
    if settings.api.tokens or is_loopback(host):
        return
    what = f"{host} is not a loopback address such as 127.0.0.1; to listen there, it needs a token in [api] tokens"
    raise ConfigError([Problem("server.private_host", what)])


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
        raise ConfigError([Problem(key, f"cannot listen on {host} port {port}: {error.strerror or error}")]) from None
    listener.setblocking(False)
    return listener


def _servers(receiver: Receiver, settings: Settings) -> tuple[ListenerServer, ListenerServer]:
    """The private and the public listener's server."""
    server = settings.server
    shares = share_descriptors(server.max_connections)

    def limits(connections: int) -> Limits:
        return Limits(connections, server.head_seconds, server.idle_seconds)

    private = ConnectionTable("private", limits(shares.private), receiver.metrics)
    public = ConnectionTable("public", limits(shares.public), receiver.metrics)
    prefix = server.root_path
    return (
        listener_server(under(prefix, receiver.private), private),
        listener_server(under(prefix, receiver.public), public),
    )


async def _serve(receiver: Receiver, settings: Settings, public: socket.socket, private: socket.socket) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    inside, outside = _servers(receiver, settings)

    def on_signal(name: str) -> None:
        if stop.is_set():
            log.warning("stop.hurried", signal=name)
            receiver.dispatcher.hurry()
            outside.force_exit = True
            return
        log.info("stop.asked", signal=name, grace_seconds=settings.dispatch.grace_seconds)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        await receiver.start()
    except BaseException:
        public.close()
        private.close()
        raise
    _spare_the_collector()
    serving = [
        asyncio.create_task(inside.serve(sockets=[private])),
        asyncio.create_task(outside.serve(sockets=[public])),
    ]
    log.info("listening", public=_address(public), private=_address(private), pid=os.getpid())
    waiting = asyncio.create_task(stop.wait())
    done, _ = await asyncio.wait([waiting, *serving], return_when=asyncio.FIRST_COMPLETED)
    # First no more deliveries, then the handlers' grace; the private side answers until the end.
    receiver.drain()
    outside.should_exit = True
    await asyncio.wait([serving[1]])
    await receiver.stop()
    inside.should_exit = True
    await asyncio.wait([serving[0]])
    waiting.cancel()
    for task in serving:
        task.result()  # a listener that broke must not look like an orderly end
    if waiting not in done:
        raise RuntimeError("A listener ended by itself.")


def _spare_the_collector() -> None:
    """What the start has made lives until the end: it need not be looked through again and again for garbage.

    Measured: a fifteenth more deliveries a second. Only here, in a process of our own.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
