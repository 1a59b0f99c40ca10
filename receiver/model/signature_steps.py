"""Shows how a signature is verified, step by step, for `tts-receiver verify`. The intake never uses it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from receiver.errors import SignatureError
from receiver.model.delivery import Headers
from receiver.model.printable import printable
from receiver.model.scheme import Key, Scheme, single_header
from receiver.model.signature import header_reader
from receiver.model.signature_spec import BODY, ID, TIMESTAMP

MAX_SHOWN = 80
"""The longest value of a header that is shown, in characters."""


class Step(NamedTuple):
    """One step of a verification.

    Attributes:
        name: what is read or calculated.
        text: what was found, or why the step failed.
        done: whether it succeeded.
    """

    name: str
    text: str
    done: bool = True


def verification_steps(scheme: Scheme, headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> list[Step]:
    """What each step of the verification finds. The HMAC is calculated if all that it needs was found."""
    spec = scheme.spec
    values: dict[str, str] = {}
    steps = [
        _step("header", lambda: _signatures(scheme, headers, values)),
        *(
            [_step("time", lambda: _time(scheme, headers, values))]
            if spec.signs_time
            else [Step("time", "none is signed")]
        ),
    ]
    if spec.id_header is not None:
        steps.append(_step("id", lambda: _value(headers, str(spec.id_header), ID, values)))
    values[BODY] = f"<{len(body)} bytes of body>"
    shown = "".join(values.get(part, f"<{part}?>") if at % 2 else part for at, part in enumerate(spec.parts))
    steps.append(Step("signed text", shown, done=values.keys() >= {*spec.parts[1::2]}))
    if all(step.done for step in steps):
        steps.append(_step("HMAC", lambda: _match(scheme, headers, body, keys, now)))
    return steps


def _step(name: str, find: Callable[[], str]) -> Step:
    try:
        return Step(name, find())
    except SignatureError as error:
        return Step(name, str(error), done=False)


def _signatures(scheme: Scheme, headers: Headers, values: dict[str, str]) -> str:
    spec = scheme.spec
    timestamp, signatures, public = header_reader(spec)(single_header(headers, spec.header.lower().encode()))
    if timestamp:
        values[TIMESTAMP] = timestamp
    count = len(signatures) + len(public)
    before = f"{spec.prefix} and " if spec.prefix else ""
    return f"{spec.header} has {count} {'signature' if count == 1 else 'signatures'}: {before}{spec.signature_form}"


def _time(scheme: Scheme, headers: Headers, values: dict[str, str]) -> str:
    spec = scheme.spec
    if spec.timestamp_header is not None:
        _value(headers, spec.timestamp_header, TIMESTAMP, values)
    elif TIMESTAMP not in values:
        raise SignatureError(f"The element {spec.timestamp_prefix}… of {spec.header} cannot be read.")
    place, text = spec.timestamp_header or f"{spec.timestamp_prefix} in {spec.header}", values[TIMESTAMP]
    if re.fullmatch(spec.time_pattern, text) is None:
        raise SignatureError(f"{place} is {text}, which is not {spec.time_format.text}.")
    try:
        at = datetime.fromtimestamp(spec.time_format.read(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise SignatureError(f"{place} is {text}, which is in no year up to 9999.") from None
    return f"{place} is {text}: {at:%Y-%m-%d %H:%M:%SZ}"


def _value(headers: Headers, header: str, name: str, values: dict[str, str]) -> str:
    values[name] = printable(single_header(headers, header.lower().encode()))[:MAX_SHOWN]
    return f"{header} is {values[name]}"


def _match(scheme: Scheme, headers: Headers, body: bytes, keys: Sequence[Key], now: float) -> str:
    digest = scheme.spec.digest.upper().replace("SHA", "SHA-")
    try:
        return f"{digest} with {scheme.verify(headers, body, keys, now).key_id} makes this signature"
    except SignatureError as error:
        if error.reason != "mismatch":
            raise
        tried = " and with ".join(key.id for key in keys if key.active(now))
        raise SignatureError(f"{digest} with {tried} makes another signature") from None
