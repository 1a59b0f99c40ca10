"""Ends a long response when the session that requested it has ended: a logout would otherwise not stop a stream."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.clock import Clock
from receiver.errors import ListingTimeout, StoreUnavailable
from receiver.web.console.sessions import Session, Sessions

CHECK_SECONDS = 15.0
"""How often the session is looked up."""


def while_session_lasts(app: ASGIApp, session: Session | None, sessions: Sessions, clock: Clock) -> ASGIApp:
    """The response, which sees the client as disconnected once the session has ended, and is completed.

    Args:
        session: None if the console needs no login.
    """
    if session is None:
        return app

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        is_complete = False

        async def receive_while_valid() -> Message:
            receiving = asyncio.ensure_future(receive())
            arrived = asyncio.Event()
            receiving.add_done_callback(lambda _: arrived.set())
            try:
                while not receiving.done():
                    await clock.wait(arrived, CHECK_SECONDS)
                    if not receiving.done() and await _has_ended(session, sessions):
                        return {"type": "http.disconnect"}
                return receiving.result()
            finally:
                receiving.cancel()

        async def note(message: Message) -> None:
            nonlocal is_complete
            await send(message)
            is_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        await app(scope, receive_while_valid, note)
        if not is_complete:
            await send({"type": "http.response.body", "body": b""})

    return limited


async def _has_ended(session: Session, sessions: Sessions) -> bool:
    try:
        return await sessions.find(session.value) is None
    except (ListingTimeout, StoreUnavailable):  # asked again soon
        return False
