"""Redirects, followed by us one hop at a time: the API key goes to the provider and nowhere else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from receiver.errors import Interrupted, OutboundError, UnusableAddress
from receiver.outbound.addresses import next_hop, where
from receiver.outbound.client import Client, Reply
from receiver.outbound.statuses import Place
from receiver.providers.base import AudioRequest, origin_of

logger = structlog.get_logger(__name__)

MAX_HOPS = 5
REDIRECTS = (301, 302, 303, 307, 308)

_SHORT_BODY = 64 << 10


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply at the end of the redirects, who gave it, and whether that is still the request's own origin."""

    reply: Reply
    place: Place
    at_home: bool


@asynccontextmanager
async def follow(client: Client, request: AudioRequest, headers: Mapping[str, str]) -> AsyncIterator[Answer]:
    """Ask for audio and follow up to `MAX_HOPS` redirects.

    The request's own headers, the credentials, are sent while every hop so far was on the request's own origin; a way
    that has left it once does not get them again, even if it leads back. `headers` go everywhere.

    Raises:
        BlockedAddress: a hop's address is not to be connected to.
        UnusableAddress: a hop's address is unusable.
        OutboundError: too many redirects, or a circle (`too_many_redirects`); a name without address (`dns_failed`).
        Interrupted: a connection could not be made, or broke.
    """
    own, url, at_home = origin_of(request.url), request.url, True
    if own is None:
        raise UnusableAddress(f"{where(url)} is not a usable address of audio.", reason="bad_address")
    seen: set[str] = set()
    while True:
        at_home = at_home and origin_of(url) == own
        async with client.send("GET", url, {**headers, **(request.headers if at_home else {})}) as reply:
            if reply.status not in REDIRECTS:
                yield Answer(reply, _place(request, at_home=at_home), at_home)
                return
            target = next_hop(url, reply.values("location"))
            await _finish(reply)
        seen.add(url)
        if target in seen or len(seen) > MAX_HOPS:
            raise OutboundError(
                f"{where(request.url)} redirects in a circle or more than {MAX_HOPS} times, last to {where(target)}.",
                reason="too_many_redirects",
            )
        url = target


def _place(request: AudioRequest, *, at_home: bool) -> Place:
    if not request.durable:
        return Place.TEMPORARY_WITH_KEY if at_home and request.headers else Place.TEMPORARY
    return Place.PROVIDER if at_home else Place.STORAGE


async def _finish(reply: Reply) -> None:
    """Read a redirect's short body to its end, so that the connection can be used again."""
    length = reply.content_length()
    if length is None or length > _SHORT_BODY:
        return
    try:
        await reply.read(_SHORT_BODY)
    except Interrupted as error:
        logger.debug("audio.redirect_body_not_read", where=where(reply.url), error=str(error))
