"""Whether a service takes a speech, before anything is sent: a wish passed over in silence is paid for all the same.

Apart from building the request, because it asks the capability table alone: each refusal says what there is instead.
"""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from urllib.parse import urlsplit

from receiver.providers.base import origin_of, usable_word
from receiver.providers.wire import Account, Capabilities, Invalid, Speech

_OPTIONS = ("sample_rate", "bitrate_kbps", "speed", "model", "webhook_url")


def check_speech(service: str, speech: Speech, able: Capabilities) -> None:
    """Refuse a speech that the service would refuse, or would make otherwise than wished.

    Raises:
        Invalid: says which wish, and what there is instead.
    """
    _check_text("text", speech.text)
    _check_text("voice", speech.voice)
    for option in _OPTIONS:
        if getattr(speech, option) is not None and option not in able.options:
            there_is = ", ".join(("format",) * bool(able.formats) + able.options) or "nothing"
            raise Invalid(f"{service} takes no {option}; beside text and voice it takes: {there_is}.")
    if speech.format is not None and speech.format not in able.formats:
        there_is = f"there is: {', '.join(able.formats)}" if able.formats else "the format cannot be chosen"
        raise Invalid(f"{service} has no format {speech.format!r}; {there_is}.")
    if speech.sample_rate is not None:
        _check_sample_rate(service, speech.format, speech.sample_rate, able)
    if speech.bitrate_kbps is not None:
        _check_bitrate(service, speech.format, speech.bitrate_kbps, able)
    if speech.model is not None:
        _check_model(service, speech.model, able)
    if speech.speed is not None and not 0 < speech.speed < math.inf:
        raise Invalid(f"A speed of {speech.speed} cannot be spoken; 1.0 is the voice's own, and it is above 0.")
    if speech.webhook_url is not None and not _is_address(speech.webhook_url, "https"):
        raise Invalid(
            f"webhook_url {speech.webhook_url!r} is not an absolute https address, such as https://…/webhooks/…."
        )


def check_webhook_address(account: Account, url: str) -> None:
    """Refuse an address that no service would send deliveries to.

    A service on this machine, which can only be a simulated one, may be given a plain http address on this machine.

    Raises:
        Invalid: not an absolute https address.
    """
    local = _is_loopback(account.base_url) and _is_address(url, "http") and _is_loopback(url)
    if not local and not _is_address(url, "https"):
        raise Invalid(f"{url!r} is not an absolute https address; a service sends its deliveries to no other.")


def _check_text(name: str, value: str) -> None:
    if not value.strip():
        raise Invalid(f"{name} is empty; there is nothing to {'say' if name == 'text' else 'say it with'}.")
    if "\0" in value:
        raise Invalid(f"{name} has a NUL character in it; take it out.")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise Invalid(f"{name} cannot be written as UTF-8: it has half a character (an unpaired surrogate) in it.")


def _check_sample_rate(service: str, format: str | None, rate: int, able: Capabilities) -> None:
    if not able.sample_rates:
        if rate <= 0:
            raise Invalid(f"sample_rate {rate} is not a number of hertz above 0, such as 24000.")
        return
    there_are = able.sample_rates.get(format or "", ())
    if not there_are:
        raise Invalid(f"{service} takes no sample_rate {_with(format)}; it does with: {_formats(able.sample_rates)}.")
    if rate not in there_are:
        all_of_them = ", ".join(map(str, there_are))
        raise Invalid(f"{service} has no sample_rate {rate} {_with(format)}; there is: {all_of_them}.")


def _check_bitrate(service: str, format: str | None, kbps: int, able: Capabilities) -> None:
    if not able.bitrates:
        if kbps <= 0:
            raise Invalid(f"bitrate_kbps {kbps} is not a number above 0, such as 128.")
        return
    bounds = able.bitrates.get(format or "")
    if bounds is None:
        raise Invalid(
            f"{service} takes no bitrate_kbps {_with(format)}; it does with format {_formats(able.bitrates)}."
        )
    if not bounds[0] <= kbps <= bounds[1]:
        raise Invalid(f"{service} has no {kbps} kbps {_with(format)}; there is: {bounds[0]} to {bounds[1]}.")


def _check_model(service: str, model: str, able: Capabilities) -> None:
    if usable_word(model) is None:
        raise Invalid(f"model {model!r} is not a word.")
    if able.models and model not in able.models:
        raise Invalid(f"{service} has no model {model!r}; there is: {', '.join(able.models)}.")


def _with(format: str | None) -> str:
    return "where no format is named" if format is None else f"with format {format}"


def _formats(by_format: Mapping[str, object]) -> str:
    return ", ".join(name for name in by_format if name) or "none"


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
