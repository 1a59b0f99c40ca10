"""What a provider charged for a job: characters, or credits. Exact numbers, checked before they count."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any

MAX_AMOUNT = 10**9
"""More than this for one job is not a charge but an error."""
MAX_DECIMALS = 18
_NUMBER = re.compile(r"[0-9]{1,10}(\.[0-9]{1,18})?", re.ASCII)
_EXACT = Context(prec=60)
"""Enough for every sum of credits."""

CHARACTERS = "chars_charged"
"""The field of an event's payload with the characters that the provider charged."""
CREDITS = "credits_used"
"""The field of an event's payload with the credits that the provider charged."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a provider reported for one job; None if it did not."""

    characters: int | None = None
    credits: Decimal | None = None

    def columns(self) -> dict[str, Any]:
        """The columns of a job for what is known."""
        known: dict[str, Any] = {}
        if self.characters is not None:
            known["chars_charged"] = self.characters
        if self.credits is not None:
            known["credits_used"] = credits_text(self.credits)
        return known

    def __add__(self, other: Charge) -> Charge:
        """Both together; what neither reports is not known."""
        characters = [item.characters for item in (self, other) if item.characters is not None]
        credits = [item.credits for item in (self, other) if item.credits is not None]
        return Charge(sum(characters) if characters else None, add_credits(*credits) if credits else None)

    def __str__(self) -> str:
        """Such as `1,200 characters`; empty if nothing is known."""
        parts = []
        if self.characters is not None:
            parts.append(f"{self.characters:,} character{'' if self.characters == 1 else 's'}")
        if self.credits is not None:
            parts.append(f"{credits_text(self.credits)} credit{'' if self.credits == 1 else 's'}")
        return " and ".join(parts)


NO_CHARGE = Charge()


def read_charge(payload: Mapping[str, Any]) -> Charge:
    """The charge in an event's payload, or in a response with the same names.

    What is negative, not finite, too large or too precise to be a charge is as if it were not reported.
    """
    characters = read_amount(payload.get(CHARACTERS))
    whole = characters is not None and characters == characters.to_integral_value()
    return Charge(int(characters) if whole and characters is not None else None, read_amount(payload.get(CREDITS)))


def charge_of(job: Mapping[str, Any]) -> Charge:
    """The charge in a job's row."""
    credits = job["credits_used"]
    return Charge(job["chars_charged"], None if credits is None else Decimal(credits))


def read_amount(value: object) -> Decimal | None:
    """A JSON number, or its text, as an exact amount from 0 to `MAX_AMOUNT`; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return Decimal(value) if 0 <= value <= MAX_AMOUNT else None
    if isinstance(value, float):
        found = Decimal(repr(value))  # the shortest decimal that is this number: what the provider wrote
    elif isinstance(value, str) and _NUMBER.fullmatch(value):
        found = Decimal(value)
    else:
        return None
    if not found.is_finite() or not 0 <= found <= MAX_AMOUNT:
        return None
    found = found.normalize(_EXACT)
    exponent = found.as_tuple().exponent
    return found.copy_abs() if isinstance(exponent, int) and exponent >= -MAX_DECIMALS else None


def read_any_amount(value: object) -> Decimal | None:
    """`read_amount`, of a number that may be negative."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        found = read_amount(-value)
        return None if found is None else -found
    if isinstance(value, str) and value.startswith("-"):
        found = read_amount(value[1:])
        return None if found is None else -found
    return read_amount(value)


def credits_text(amount: Decimal) -> str:
    """Credits as text without an exponent, such as `0.25`."""
    return format(amount.normalize(_EXACT), "f")


def add_credits(*amounts: Decimal) -> Decimal:
    """The exact sum."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total
