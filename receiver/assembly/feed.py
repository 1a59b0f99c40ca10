"""Builds the feed of new events, for the API's stream and for `events tail`."""

from __future__ import annotations

from receiver.store.backend import Processes
from receiver.store.changes import QUIET_POLL_SECONDS
from receiver.store.database import Database
from receiver.web.api.feed import Feed


def build_feed(database: Database, processes: Processes | None = None) -> Feed:
    """The feed of a store; it polls rarely if `processes` hear what others commit."""
    return Feed(database, lambda usual: QUIET_POLL_SECONDS if processes is not None and processes.hears else usual)
