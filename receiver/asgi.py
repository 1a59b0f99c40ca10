"""The receiver as an ASGI application, to be served or mounted by another application."""

from __future__ import annotations

from starlette.applications import Starlette

from receiver.assembly.receiver import build_receiver
from receiver.settings import Settings


def create_app(settings: Settings) -> Starlette:
    """The receiver's public side as an ASGI application; its lifespan starts and stops everything.

    Serve it, or mount it. The parent must run the lifespan of a mounted application, as in
    `lifespan=lambda parent: mounted.router.lifespan_context(mounted)`.

    Raises:
        ConfigError: with all problems.
    """
    return build_receiver(settings).public
