"""Notes on a source's signing secrets: when each was last used, and when it can be retired."""

from __future__ import annotations

from receiver.model.timestamps import utc_text
from receiver.providers.protocols import WebhookProvider
from receiver.settings import Source

KeyUses = dict[tuple[str, str], tuple[float, float]]


def key_notes(name: str, source: Source, uses: KeyUses, now: float) -> list[str]:
    """A note on each signing secret: its last use, its validity, when it can be retired; or that there is none."""
    keys = source.signing_keys()
    provider = source.provider
    retry_window = provider.retry_window_seconds if isinstance(provider, WebhookProvider) else 0.0
    notes = []
    if source.scheme is not None and not keys:
        notes.append(f"no signing secret: no webhooks are received, and POST /webhooks/{name} is answered 404")
    for key in keys:
        used = uses.get((name, key.id))
        note = f"secret {key.id}: " + (f"last used {utc_text(used[1])}" if used else "never used")
        if not key.active(now):
            note += ", outside its validity"
        others = [uses[name, other.id] for other in keys if other is not key and (name, other.id) in uses]
        at = retirable_at(used, others, retry_window)
        if at is not None:
            note += "; can be retired" + ("" if at <= now else f" after {utc_text(at)}")
        notes.append(note)
    return notes


def signature_notes(source: Source) -> list[str]:
    """How deliveries are signed, if the configuration says so, and what follows if no time is signed."""
    scheme = source.scheme
    if scheme is None or not source.receives_webhooks:
        return []
    notes = [f"signature: {scheme.spec.summary}"] if source.signature is not None else []
    if not scheme.spec.signs_time:
        notes.append("! the signature has no time: a recorded delivery can be sent again, and is then a duplicate")
    return notes


def retirable_at(used: tuple[float, float] | None, others: list[tuple[float, float]], window: float) -> float | None:
    """When a signing secret is safe to remove, unix seconds; None while no newer one is in use.

    By then the provider has ended its retries of every delivery that was signed with it. A secret that was never used
    may be a new one, so it has no such time.

    Args:
        used: the times of its first and last use.
        others: the same of the source's other secrets.
        window: how long the provider retries a delivery, in seconds.
    """
    if used is None:
        return None
    newer = [first for first, last in others if first > used[0] and last > used[1]]
    return max(min(newer), used[1]) + window if newer else None
