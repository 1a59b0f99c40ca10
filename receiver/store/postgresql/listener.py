"""The one connection of a process that is not pooled: it holds the process's lock, and hears what others committed.

It has a thread of its own, because it waits for the server and for this process at once. If it is lost, it is made
again, with all that its session had.
"""

from __future__ import annotations

import contextlib
import os
import queue
import random
import select
import threading
import time
import weakref
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

from receiver.store.postgresql import faults
from receiver.store.postgresql.engine import connect

if TYPE_CHECKING:
    import psycopg

CHANNEL = "tts_receiver"
DEBOUNCE_SECONDS = 0.05
"""At most one notification in this time: a burst of commits is one."""
FIRST_RETRY_SECONDS = 0.1
MAX_RETRY_SECONDS = 1.0
"""The longest wait before it connects again. Others must not take this process for dead meanwhile."""
CALL_SECONDS = 10.0
"""How long a statement may take."""
ANSWER_SECONDS = CALL_SECONDS + 2.0
"""How long its answer may take: beyond this, the server hangs."""

# Servers before 14 have no limit of idle sessions, which would end this one again and again, and release the lock.
_STAY = "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
# The server finds a machine that has vanished, and with it the lock of its process.
_SESSION = (
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 3; SET tcp_keepalives_count = 3; "
    f"SET statement_timeout = {round(CALL_SECONDS * 1000)}; LISTEN {CHANNEL}"
)
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', %s)"

Work = Callable[["psycopg.Connection[Any]"], Any]


class NotConnected(OSError):
    """The connection is being made again; the message says why it was lost, without secrets."""


class Listener:
    """Keeps one connection, from `start` until `stop`.

    Args:
        opened: called with each new connection, in the listener's thread.
        received: called in the listener's thread with the words that another session sent. With None, words may have
            been missed.
    """

    def __init__(
        self,
        url: URL,
        opened: Callable[[psycopg.Connection[Any]], None],
        received: Callable[[str | None], None],
        rng: random.Random,
    ) -> None:
        self._url = url
        self._opened = opened
        self._received = received
        self._rng = rng
        self._work: queue.SimpleQueue[tuple[Work, Future[Any]]] = queue.SimpleQueue()
        self._words: set[str] = set()
        self._words_lock = threading.Lock()
        self._stopping = False
        self._woken, self._wake = -1, -1
        self._thread: threading.Thread | None = None
        self._connection: psycopg.Connection[Any] | None = None
        self._error = "it is not connected yet"
        self._sent_at = float("-inf")

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known."""
        return self._connection is not None

    def start(self) -> None:
        """Connect, and start the thread.

        Raises:
            NotConnected: the server cannot be reached.
        """
        connection = self._connect()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)
        _close_in_forks(self)
        self._thread = threading.Thread(target=self._run, args=(connection,), name="store-listen", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the connection, and end the thread."""
        if self._thread is None:
            return
        self._stopping = True
        self._interrupt()
        self._thread.join()
        self._thread = None
        os.close(self._wake)
        os.close(self._woken)
        self._woken, self._wake = -1, -1

    def close_in_fork(self) -> None:
        """Close the socket in a forked child; the connection of the parent stays."""
        if self._connection is not None:
            os.close(self._connection.fileno())

    def call(self, work: Work) -> Any:
        """Do something with the connection, in the listener's thread; return its result.

        Raises:
            NotConnected: there is no connection, or it was lost meanwhile.
        """
        if self._thread is None:
            raise NotConnected(self._error)
        future: Future[Any] = Future()
        self._work.put((work, future))
        self._interrupt()
        return future.result()

    def send(self, word: str) -> None:
        """Send a word to the other sessions soon, once there is a connection. Returns at once."""
        with self._words_lock:
            first = not self._words
            self._words.add(word)
        if first:
            self._interrupt()

    def _interrupt(self) -> None:
        if self._wake >= 0:
            with contextlib.suppress(BlockingIOError):  # full: it is interrupted already
                os.write(self._wake, b".")

    # the thread

    def _run(self, first: psycopg.Connection[Any]) -> None:
        import psycopg

        connection: psycopg.Connection[Any] | None = first
        retry = FIRST_RETRY_SECONDS
        while not self._stopping:
            try:
                if connection is None:
                    connection = self._connect()
                    self._received(None)
                retry = FIRST_RETRY_SECONDS
                self._serve(connection)
            except (psycopg.Error, NotConnected) as error:
                self._error = faults.text_of(error, self._url)
            finally:
                self._connection = None
                if connection is not None:
                    connection.close()
                    self._received(None)
                connection = None
            self._refuse_work(retry * self._rng.uniform(0.5, 1.0))
            retry = min(retry * 2, MAX_RETRY_SECONDS)
        self._refuse_work(0)

    def _connect(self) -> psycopg.Connection[Any]:
        import psycopg

        try:
            connection = connect(self._url, prepares=True, answer_seconds=ANSWER_SECONDS)
        except psycopg.Error as error:
            raise NotConnected(faults.text_of(error, self._url)) from None
        try:
            connection.execute(_SESSION.encode(), prepare=False)
            connection.execute(_STAY, prepare=False)
            self._opened(connection)
        except psycopg.Error as error:
            connection.close()
            raise NotConnected(faults.text_of(error, self._url)) from None
        connection.add_notify_handler(lambda notify: self._on_notify(connection, notify.pid, notify.payload))
        self._connection = connection
        return connection

    def _serve(self, connection: psycopg.Connection[Any]) -> None:
        """Work until the connection is lost, or this is stopped."""
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while not self._stopping:
            wait = self._send_words_if_due(connection)
            ready = {handle for handle, _ in poll.poll(None if wait is None else wait * 1000)}
            if self._woken in ready:
                self._drain()
            if connection.fileno() in ready:
                connection.pgconn.consume_input()  # raises if the server has gone
                while (found := connection.pgconn.notifies()) is not None:
                    self._on_notify(connection, found.be_pid, found.extra.decode(errors="replace"))
            while not self._work.empty():
                work, future = self._work.get()
                try:
                    future.set_result(work(connection))
                except Exception as error:
                    future.set_exception(NotConnected(faults.text_of(error, self._url)))
                    if connection.closed:
                        raise
        self._send_words(connection)

    def _send_words_if_due(self, connection: psycopg.Connection[Any]) -> float | None:
        """Send what is to be sent; the seconds until more may be sent, None if there is nothing."""
        if not self._words:
            return None
        wait = self._sent_at + DEBOUNCE_SECONDS - time.monotonic()
        if wait > 0:
            return wait
        self._send_words(connection)
        return None

    def _send_words(self, connection: psycopg.Connection[Any]) -> None:
        with self._words_lock:
            words, self._words = self._words, set()
        if not words:
            return
        try:
            connection.execute(_NOTIFY.encode(), (" ".join(sorted(words)),), prepare=True)
        except BaseException:
            with self._words_lock:
                self._words |= words  # the next connection sends them, perhaps a second time
            raise
        self._sent_at = time.monotonic()

    def _on_notify(self, connection: psycopg.Connection[Any], pid: int, payload: str) -> None:
        if pid != connection.pgconn.backend_pid:
            for word in payload.split():
                self._received(word)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 4096):
                pass

    def _refuse_work(self, seconds: float) -> None:
        """Refuse work for so long, without a connection."""
        end = time.monotonic() + seconds
        while True:
            self._drain()
            while not self._work.empty():
                self._work.get()[1].set_exception(NotConnected(self._error))
            left = end - time.monotonic()
            if left <= 0 or self._stopping:
                return
            select.select([self._woken], [], [], left)


def notify_in_transaction(execute: Callable[[str, Sequence[Any]], Any], words: Collection[str]) -> None:
    """Send words if the transaction commits. Such transactions wait for each other: not for those of deliveries."""
    execute(_NOTIFY, (" ".join(sorted(words)),))


def _close_in_forks(listener: Listener) -> None:
    """Close the socket in forked children: one that outlived its parent would keep the parent's lock."""
    known = weakref.ref(listener)

    def close() -> None:
        if (found := known()) is not None:
            found.close_in_fork()

    os.register_at_fork(after_in_child=close)
