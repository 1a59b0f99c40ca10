"""The replicas: started, killed, frozen, started again."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.acceptance.support import Server, Site, until
from tests.chaos.recovery import Recovery
from tests.patience import PATIENCE

REPLICAS = 3


@dataclass
class Replica:
    """One of the replicas, until it is killed."""

    server: Server
    thaw_at: float | None = None
    told_at: float | None = None
    """When it was told to end."""

    def is_listening(self) -> bool:
        """Whether it accepts deliveries; learns its addresses."""
        if not self.server.public and (line := next(self.server.lines("listening"), None)) is not None:
            self.server.public, self.server.private = line["public"], line["private"]
        return bool(self.server.public)


class Replicas:
    """As many replicas as there should be: who is killed is replaced at once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.ended: list[str] = []
        """Those that accepted deliveries, and ended without being told to, or with an error, or not at all."""
        self.not_started: list[str] = []
        """What those wrote that ended before: while the database is away no receiver starts, and its supervisor tries
        again."""
        first = Replica(site.start())  # alone: it creates the store
        self._all = [first, *(Replica(site.launch()) for _ in range(REPLICAS - 1))]

    def addresses(self) -> list[str]:
        """Where deliveries are accepted, also by a frozen replica."""
        return [replica.server.public for replica in self._all if replica.is_listening()]

    def awake_addresses(self) -> set[str]:
        """Where deliveries are answered now."""
        return {replica.server.public for replica in self._working()}

    def pids(self) -> set[int]:
        """Of those that run."""
        return {replica.server.pid for replica in self._all}

    def poll(self) -> None:
        """Thaw those whose time has come, and replace those that ended."""
        now = time.monotonic()
        for number, replica in enumerate(self._all):
            if replica.thaw_at is not None and replica.thaw_at <= now:
                self._thaw(replica)
            code = replica.server.process.poll()
            if code is not None and not replica.is_listening():
                self.not_started.append(replica.server.text())
                self._all[number] = Replica(self._site.launch())
            elif code is not None:
                if code or replica.told_at is None:
                    self.ended.append(f"a replica ended with {code}:\n{replica.server.text()[-2000:]}")
                self._all[number] = Replica(self._site.launch())
            elif replica.told_at is not None and now > replica.told_at + PATIENCE:
                self.ended.append(f"a replica did not end after SIGTERM:\n{replica.server.text()[-2000:]}")
                replica.told_at = None

    def kill(self, rng: random.Random, at_an_acknowledgement: Callable[[str, Callable[[], None]], None]) -> Recovery:
        """Kill one, and start another in its place. Most accept deliveries, a few are still starting. Half are killed
        at the moment at which they acknowledge a delivery, the others whatever they are doing."""
        listening = [number for number, replica in enumerate(self._all) if replica.is_listening()]
        number = rng.choice(listening if rng.random() < 0.9 and listening else range(len(self._all)))
        replica = self._all[number]
        if rng.random() < 0.5 and replica in self._working():
            at_an_acknowledgement(replica.server.public, replica.server.process.kill)
        recovery = Recovery(replica.server.pid, time.monotonic(), time.time())
        replica.server.kill()
        self._all[number] = Replica(self._site.launch())
        return recovery

    def freeze(self, rng: random.Random, seconds: float) -> None:
        """Stop one for a time; never the last that is not frozen."""
        awake = self._working()
        if len(awake) > 1:
            chosen = rng.choice(awake)
            chosen.server.send_signal(signal.SIGSTOP)
            chosen.thaw_at = time.monotonic() + seconds

    def end(self, rng: random.Random) -> None:
        """Tell one to end, as before an upgrade; another is started when it has."""
        awake = self._working()
        if len(awake) > 1:
            chosen = rng.choice(awake)
            chosen.server.send_signal(signal.SIGTERM)
            chosen.told_at = time.monotonic()

    def _working(self) -> list[Replica]:
        return [it for it in self._all if it.thaw_at is None and it.told_at is None and it.is_listening()]

    def wait_until_listening(self) -> None:
        """Wait until all are."""
        until("every replica listens", self._are_listening)

    def _are_listening(self) -> bool:
        self.poll()
        return len(self._working()) == len(self._all)

    def thaw_all(self) -> None:
        """Let all continue."""
        for replica in self._all:
            self._thaw(replica)

    def _thaw(self, replica: Replica) -> None:
        if replica.thaw_at is not None:
            replica.server.send_signal(signal.SIGCONT)
            replica.thaw_at = None

    def stop(self) -> list[str]:
        """End all in order, once all are listening; the problems of doing so."""
        self.wait_until_listening()
        for replica in self._all:
            replica.server.send_signal(signal.SIGTERM)
        codes = [replica.server.wait() for replica in self._all]
        return [f"a replica ended with {code} after SIGTERM" for code in codes if code]
