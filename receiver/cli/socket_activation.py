"""Listening sockets inherited from a service manager, such as systemd's socket units.

They outlive the process: while it restarts, connections wait in them (docs/adr/0048).

The protocol is that of sd_listen_fds(3): https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from receiver.errors import ConfigError, ConfigProblem

log = structlog.get_logger("receiver.serve")

FIRST_DESCRIPTOR = 3
LISTENERS = ("public", "private")
VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")


@dataclass(frozen=True, slots=True)
class InheritedSockets:
    """The inherited sockets by listener; None for a listener without one."""

    public: socket.socket | None = None
    private: socket.socket | None = None


def take_sockets(
    environ: MutableMapping[str, str], pid: int, *, first_descriptor: int = FIRST_DESCRIPTOR
) -> InheritedSockets:
    """Take the sockets that were passed to the process `pid`, so that its child processes do not inherit them.

    Their names in `LISTEN_FDNAMES` are `public` and `private`. Without these names the first socket is the public one
    and the second the private one.

    Args:
        environ: the process's environment; the protocol's variables are removed from it.

    Raises:
        ConfigError: a socket or a name cannot be used.
    """
    listen_pid, listen_fds, listen_names, _ = (environ.pop(name, "") for name in VARIABLES)
    if not listen_fds:
        return InheritedSockets()
    if listen_pid != str(pid):
        log.warning(
            "sockets.not_ours",
            listen_pid=listen_pid[:20],
            pid=pid,
            hint="they were passed to another process: let the service manager start tts-receiver itself, not a shell",
        )
        return InheritedSockets()
    if listen_fds not in ("0", "1", "2"):
        raise _refused(f"{listen_fds[:20]!r} sockets are passed; serve has two listeners, public and private")
    count = int(listen_fds)
    names = _names(listen_names, count)
    with ExitStack() as opened:
        sockets = [opened.enter_context(_listener(first_descriptor + number)) for number in range(count)]
        opened.pop_all()
    return InheritedSockets(**dict(zip(names, sockets, strict=True)))


def _names(text: str, count: int) -> tuple[str, ...]:
    """The listener of each socket.

    systemd gives a socket its unit's name if the unit has no `FileDescriptorName=`. Such names are ignored.

    Raises:
        ConfigError: only some of the names are listeners', or one occurs twice.
    """
    names = tuple(text.split(":")) if text else ()
    if names and len(names) != count:
        raise _refused(f"LISTEN_FDNAMES has {len(names)} names for {count} sockets")
    if not set(names) & set(LISTENERS):
        return LISTENERS[:count]
    if unknown := sorted(set(names) - set(LISTENERS)):
        raise _refused(f"LISTEN_FDNAMES has {unknown[0][:40]!r}; the names are public and private")
    if len(set(names)) != count:
        raise _refused(f"LISTEN_FDNAMES has {names[0]!r} twice; the names are public and private")
    return names


def _listener(descriptor: int) -> socket.socket:
    """The listening TCP socket of a descriptor.

    Raises:
        ConfigError: it is not one.
    """
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise _refused(f"descriptor {descriptor} is not an open socket: {error.strerror or error}") from None
    if fault := _fault(found):
        found.close()
        raise _refused(f"descriptor {descriptor} is {fault}")
    found.setblocking(False)
    return found


def _fault(found: socket.socket) -> str | None:
    if found.family not in (socket.AF_INET, socket.AF_INET6):
        return "not a TCP socket; a socket unit needs an address and a port in ListenStream="
    if found.type != socket.SOCK_STREAM:
        return "a datagram socket; a socket unit needs ListenStream="
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "a connection, not a listening socket; a socket unit needs Accept=no"
    return None


def _refused(what: str) -> ConfigError:
    return ConfigError([ConfigProblem("LISTEN_FDS", what)])
