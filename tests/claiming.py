"""Claims as a test needs them: at once and one after the other, without a dispatcher."""

from __future__ import annotations

from sqlalchemy import Connection

from receiver.model.slots import FreeSlots
from receiver.store import claims
from receiver.store.claims import Claim, ClaimRequest
from receiver.store.leases import Lease


def claim_due(connection: Connection, free: FreeSlots, owner: str, now: float, lease_until: float) -> list[Claim]:
    """Claim and start the due runs for which there are slots."""
    return claims.claim(connection, ClaimRequest(free, Lease(owner, lease_until), now)).started
