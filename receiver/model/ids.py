"""Event ids: UUIDv7 (RFC 9562), so that they sort by time and can be made before the commit."""

from __future__ import annotations


def event_id(now: float, random_bits: int) -> str:
    """Make an event's id.

    Args:
        now: unix seconds.
        random_bits: at least 74 random bits; more are cut off.
    """
    milliseconds = int(now * 1000) & 0xFFFF_FFFF_FFFF
    high = random_bits >> 62 & 0xFFF
    low = 1 << 63 | random_bits & (1 << 62) - 1  # the variant's two bits, then 62 random ones
    return f"evt_{milliseconds:012x}7{high:03x}{low:016x}"


def first_id_at(seconds: float) -> str:
    """What every id made before `seconds` (unix) sorts before, and every one made at or after it does not."""
    return f"evt_{max(0, int(seconds * 1000)) & (1 << 48) - 1:012x}"
