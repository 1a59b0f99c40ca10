"""Validation of a speech and of a webhook address before anything is sent.

An option that the service ignores would still be charged for, so it is refused. The error names the accepted values.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from urllib.parse import urlsplit

from receiver.providers.base import origin_of, usable_word
from receiver.providers.types import Account, Capabilities, Invalid, Speech

_OPTIONS = ("sample_rate", "bitrate_kbps", "speed", "model", "webhook_url")


def check_speech(service: str, speech: Speech, capabilities: Capabilities) -> None:
    """Check that the service accepts every field of a speech.

    Raises:
        Invalid: it refuses or ignores one; the message names the field and the accepted values.
    """
    _check_text("text", speech.text)
    _check_text("voice", speech.voice)
    for option in _OPTIONS:
        if getattr(speech, option) is not None and option not in capabilities.options:
            accepted = ", ".join(("format",) * bool(capabilities.formats) + capabilities.options) or "nothing"
            raise Invalid(f"{service} does not accept {option}; besides text and voice it accepts: {accepted}.")
    if speech.format is not None and speech.format not in capabilities.formats:
        hint = f"formats: {', '.join(capabilities.formats)}" if capabilities.formats else "the format cannot be chosen"
        raise Invalid(f"{service} has no format {speech.format!r}; {hint}.")
    if speech.sample_rate is not None:
        _check_sample_rate(service, speech.format, speech.sample_rate, capabilities)
    if speech.bitrate_kbps is not None:
        _check_bitrate(service, speech.format, speech.bitrate_kbps, capabilities)
    if speech.model is not None:
        _check_model(service, speech.model, capabilities)
    if speech.speed is not None and not 0 < speech.speed < math.inf:
        raise Invalid(f"speed {speech.speed} is not a number above 0; 1.0 is the voice's normal speed.")
    if speech.webhook_url is not None and not _is_address(speech.webhook_url, "https"):
        raise Invalid(
            f"webhook_url {speech.webhook_url!r} is not an absolute https address, such as https://…/webhooks/…."
        )


def check_webhook_address(account: Account, url: str) -> None:
    """Check that a service could send deliveries to an address.

    A service on this machine can only be a simulated one: it accepts a plain http address on this machine.

    Raises:
        Invalid: not an absolute https address.
    """
    local = _is_loopback(account.base_url) and _is_address(url, "http") and _is_loopback(url)
    if not local and not _is_address(url, "https"):
        raise Invalid(f"{url!r} is not an absolute https address; services accept no other.")


def _check_text(name: str, value: str) -> None:
    if not value.strip():
        raise Invalid(f"{name} is empty.")
    if "\0" in value:
        raise Invalid(f"{name} contains a NUL character; remove it.")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise Invalid(f"{name} cannot be encoded as UTF-8: it contains half a character (an unpaired surrogate).")


def _check_sample_rate(service: str, format: str | None, rate: int, capabilities: Capabilities) -> None:
    if not capabilities.sample_rates:
        if rate <= 0:
            raise Invalid(f"sample_rate {rate} is not a number of hertz above 0, such as 24000.")
        return
    rates = capabilities.sample_rates.get(format or "", ())
    if not rates:
        raise _not_with_format(service, "sample_rate", format, capabilities.sample_rates)
    if rate not in rates:
        accepted = ", ".join(map(str, rates))
        raise Invalid(f"{service} does not accept sample_rate {rate} {_format_clause(format)}; it accepts: {accepted}.")


def _check_bitrate(service: str, format: str | None, kbps: int, capabilities: Capabilities) -> None:
    if not capabilities.bitrates:
        if kbps <= 0:
            raise Invalid(f"bitrate_kbps {kbps} is not a number above 0, such as 128.")
        return
    bounds = capabilities.bitrates.get(format or "")
    if bounds is None:
        raise _not_with_format(service, "bitrate_kbps", format, capabilities.bitrates)
    lowest, highest = bounds
    if not lowest <= kbps <= highest:
        raise Invalid(
            f"{service} does not accept bitrate_kbps {kbps} {_format_clause(format)}; it accepts {lowest} to {highest}."
        )


def _check_model(service: str, model: str, capabilities: Capabilities) -> None:
    if usable_word(model) is None:
        raise Invalid(f"model {model!r} is not a valid name.")
    if capabilities.models and model not in capabilities.models:
        raise Invalid(f"{service} has no model {model!r}; its models: {', '.join(capabilities.models)}.")


def _not_with_format(service: str, option: str, format: str | None, by_format: Mapping[str, object]) -> Invalid:
    formats = ", ".join(name for name in by_format if name) or "none"
    return Invalid(f"{service} does not accept {option} {_format_clause(format)}; formats that accept it: {formats}.")


def _format_clause(format: str | None) -> str:
    return "without a format" if format is None else f"with format {format}"


def _is_address(url: str, scheme: str) -> bool:
    origin = origin_of(url) if url.isascii() and url.isprintable() and " " not in url else None
    return origin is not None and origin[0] == scheme


def _is_loopback(url: str) -> bool:
    if origin_of(url) is None:
        return False
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
