"""Sockets from a service manager: which is which, and what is refused. The descriptors are real ones."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from receiver.cli.socket_activation import InheritedSockets, take_sockets
from receiver.errors import ConfigError
from receiver.settings import Settings
from receiver.settings.private import require_private_socket

FIRST = 200
"""Where the passed descriptors are; 3, as in a process of its own, is in use here."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listener(stack: ExitStack, host: str = "127.0.0.1") -> socket.socket:
    return stack.enter_context(socket.create_server((host, 0)))


def take(stack: ExitStack, passed: list[socket.socket], **environ: str) -> InheritedSockets:
    """Take these sockets; `environ` is beside what is right, or instead of it."""
    for number, item in enumerate(passed):
        os.dup2(item.fileno(), FIRST + number, inheritable=True)
    given = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(passed)), "HOME": "/"} | environ
    taken = InheritedSockets()
    try:
        taken = take_sockets(given, os.getpid(), first_descriptor=FIRST)
    finally:
        assert given == {"HOME": "/"}, "no child may take the sockets for its own"
        kept = [found for found in (taken.public, taken.private) if found is not None]
        for found in kept:
            stack.enter_context(found)
        for number in range(len(passed)):
            if FIRST + number not in [found.fileno() for found in kept]:
                stack.callback(_close, FIRST + number)
    return taken


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return


def address(found: socket.socket | None) -> object:
    return None if found is None else found.getsockname()


@pytest.mark.parametrize("names", ["", "tts-receiver.socket:tts-receiver.socket", "public:private"])
def test_the_first_is_the_public_one_unless_names_say_otherwise(stack: ExitStack, names: str) -> None:
    passed = [listener(stack), listener(stack)]
    taken = take(stack, passed, LISTEN_FDNAMES=names)
    assert [address(taken.public), address(taken.private)] == [address(item) for item in passed]
    assert taken.public is not None
    assert not taken.public.get_inheritable()


def test_names_decide_which_is_which(stack: ExitStack) -> None:
    passed = [listener(stack), listener(stack)]
    taken = take(stack, passed, LISTEN_FDNAMES="private:public")
    assert [address(taken.private), address(taken.public)] == [address(item) for item in passed]


@pytest.mark.parametrize("names", ["", "public", "tts-receiver.socket"])
def test_a_lone_socket_is_the_public_one(stack: ExitStack, names: str) -> None:
    passed = [listener(stack)]
    taken = take(stack, passed, LISTEN_FDNAMES=names)
    assert (address(taken.public), taken.private) == (address(passed[0]), None)


def test_a_lone_socket_named_private_is_the_private_one(stack: ExitStack) -> None:
    passed = [listener(stack)]
    taken = take(stack, passed, LISTEN_FDNAMES="private")
    assert (taken.public, address(taken.private)) == (None, address(passed[0]))


@pytest.mark.parametrize("pid", ["1", "", "no number"])
def test_sockets_of_another_process_are_left_alone(stack: ExitStack, pid: str) -> None:
    assert take(stack, [listener(stack)], LISTEN_PID=pid) == InheritedSockets()
    assert os.get_inheritable(FIRST)


def test_without_sockets_there_are_none(stack: ExitStack) -> None:
    assert take_sockets({}, os.getpid()) == InheritedSockets()
    assert take(stack, [], LISTEN_FDS="0") == InheritedSockets()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"LISTEN_FDS": "three"}, "'three' sockets are passed"),
        ({"LISTEN_FDS": "-1"}, "'-1' sockets are passed"),
        ({"LISTEN_FDS": "3"}, "'3' sockets are passed; serve has two listeners"),
        ({"LISTEN_FDS": "2"}, f"descriptor {FIRST + 1} is not an open socket: Bad file descriptor"),
        ({"LISTEN_FDNAMES": "public:private"}, "LISTEN_FDNAMES has 2 names for 1 sockets"),
        ({"LISTEN_FDNAMES": "public:publik", "LISTEN_FDS": "2"}, "LISTEN_FDNAMES has 'publik'; the names are public"),
        ({"LISTEN_FDNAMES": "public:public", "LISTEN_FDS": "2"}, "LISTEN_FDNAMES has 'public' twice"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value.split(":")[0],
)
def test_a_mistake_is_a_sentence(stack: ExitStack, environ: dict[str, str], says: str) -> None:
    passed = [listener(stack) for _ in range(2 if "twice" in says or "'publik'" in says else 1)]
    with pytest.raises(ConfigError, match="LISTEN_FDS: ") as raised:
        take(stack, passed, **environ)
    assert says in str(raised.value)


def test_what_is_no_listening_tcp_socket_is_refused(stack: ExitStack) -> None:
    datagram = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    unbound = stack.enter_context(socket.socket())
    unix, other = socket.socketpair()
    stack.enter_context(closing(unix))
    stack.enter_context(closing(other))
    for passed, says in [
        (datagram, "is a datagram socket; a socket unit needs ListenStream="),
        (unbound, "is a connection, not a listening socket; a socket unit needs Accept=no"),
        (unix, "is not a TCP socket"),
    ]:
        with pytest.raises(ConfigError) as raised:
            take(stack, [passed])
        assert f"descriptor {FIRST} {says}" in str(raised.value)
    read, write = os.pipe()
    stack.callback(os.close, read)
    stack.callback(os.close, write)
    os.dup2(read, FIRST)
    stack.callback(_close, FIRST)
    with pytest.raises(ConfigError, match="is not an open socket: Socket operation on non-socket"):
        take_sockets({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}, os.getpid(), first_descriptor=FIRST)


def test_a_private_socket_that_others_reach_needs_a_token(stack: ExitStack) -> None:
    token = {"id": "app", "token": "a-token-of-thirty-two-characters"}
    everywhere, here = listener(stack, "0.0.0.0"), listener(stack)
    with pytest.raises(ConfigError, match=r"LISTEN_FDS: the private socket: 0\.0\.0\.0 is not a loopback address"):
        require_private_socket(Settings(), everywhere)
    require_private_socket(Settings(), here)
    require_private_socket(Settings.model_validate({"api": {"tokens": [token]}}), everywhere)
