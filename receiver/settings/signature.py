"""The table of a source's signature: how another service signs its deliveries."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PrivateAttr, model_validator

from receiver.model.scheme import Scheme
from receiver.model.signature import PRESETS, SCHEMES, make_scheme
from receiver.model.signature_spec import SignatureSpec
from receiver.settings.base import HeaderName, Table, suggestion

CONFIGURED = "configured"
"""The name of a scheme that is no preset as it stands."""
PRIVATE_HEADERS = ("authorization", "cookie", "proxy-authorization")
"""Headers that are neither stored with an event nor read."""
OTHER_HEADERS = ("accept", "connection", "content-length", "content-type", "host", "transfer-encoding", "user-agent")
"""Headers that every request has for another purpose."""

_POLL = "poll its jobs (generic.status_url)"
_UNSIGNED = f"means unsigned deliveries, and none of those is accepted; {_POLL}"
_TOKEN = (
    "is a static token, which does not sign the body: who has seen one delivery could send any other. Let the service "
    f"sign its deliveries, or {_POLL}"
)
_KEY_PAIR = (
    "is a signature with a key pair, which can be verified only for Standard Webhooks with ed25519 (preset = "
    f'"standard-webhooks" and a secret whpk_…). {_POLL.capitalize()}, or write a provider'
)
_BROKEN = f"is a digest that is too weak to be accepted. Let the service sign with SHA-256 or SHA-512, or {_POLL}"
NOT_VERIFIABLE = {
    **dict.fromkeys(("none", "unsigned"), _UNSIGNED),
    **dict.fromkeys(("token", "bearer", "basic", "api-key"), _TOKEN),
    **dict.fromkeys(("rsa", "ecdsa", "ed25519", "jwt"), _KEY_PAIR),
    **dict.fromkeys(("md5", "sha1", "sha-1"), _BROKEN),
}
"""Why what a service uses instead cannot be verified, by the word for it."""


def _digest(value: Any) -> Any:
    if isinstance(value, str):
        value = value.lower()
        if value in NOT_VERIFIABLE:
            raise ValueError(f"{value!r} {NOT_VERIFIABLE[value]}")
    return value


def _prefix(value: str) -> str:
    if value != value.lstrip():
        raise ValueError("begins with white space, which is no part of a header's value")
    return value


Prefix = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,64}$"), AfterValidator(_prefix)]


class SignatureTable(Table):
    """How a service that is not built in signs its deliveries: a preset, its own keys, or a preset with other keys.

    `SignatureSpec` describes the keys.
    """

    preset: str | None = None
    header: HeaderName
    signed_content: str
    prefix: Prefix = ""
    separator: Literal[",", ";", " "] | None = None
    encoding: Literal["hex", "base64"] = "hex"
    digest: Annotated[Literal["sha256", "sha512"], BeforeValidator(_digest)] = "sha256"
    key_encoding: Literal["text", "hex", "base64"] = "text"
    timestamp_header: HeaderName | None = None
    timestamp_prefix: Prefix | None = None
    timestamp_format: Literal["seconds", "milliseconds", "iso8601"] = "seconds"
    id_header: HeaderName | None = None

    _scheme: Scheme = PrivateAttr()

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        """Add the preset's keys, unless others are given."""
        if not isinstance(given, dict):
            return given
        name = given.get("preset")
        if name is not None and not (isinstance(name, str) and name in PRESETS):
            raise ValueError(f"preset: {_unknown_preset(name)}")
        filled = given if name is None else {**_keys_of(PRESETS[name], given), **given}
        known = filled.keys() <= cls.model_fields.keys()
        for key in ("header", "signed_content"):
            if known and key not in filled:  # otherwise each unknown key is reported, and what is missing
                raise ValueError(
                    f"{key}: is missing; set it as the service documents it, or a preset: {', '.join(PRESETS)}"
                )
        return filled

    @model_validator(mode="after")
    def _check(self) -> SignatureTable:
        for key in ("header", "timestamp_header", "id_header"):
            name = getattr(self, key)
            if name is not None and name.lower() in PRIVATE_HEADERS:
                raise ValueError(
                    f"{key}: must not be {name}, which has credentials, and would be stored with each event"
                )
            if name is not None and name.lower() in OTHER_HEADERS:
                raise ValueError(f"{key}: must not be {name}, which every request has for another purpose")
        if "timestamp_format" in self.model_fields_set and "{timestamp}" not in self.signed_content:
            raise ValueError("timestamp_format: has no effect, because signed_content has no {timestamp}; remove it")
        preset = None if self.preset is None else PRESETS[self.preset]
        keys = {name: getattr(self, name) for name in _KEYS}
        try:
            spec = SignatureSpec(**keys)
        except ValueError as error:
            key = str(error).partition(":")[0]
            if preset is None or keys[key] is None or keys[key] != getattr(preset, key):
                raise
            raise ValueError(
                f"{error}; the preset sets {key}: to leave it out, write the keys without a preset"
            ) from None
        self._scheme = SCHEMES[str(self.preset)] if spec == preset else make_scheme(CONFIGURED, spec)
        return self

    @property
    def scheme(self) -> Scheme:
        """What verifies and makes its signatures."""
        return self._scheme


_KEYS = {field.name: field.default for field in fields(SignatureSpec) if field.init}
"""The keys of the table that describe a signature, and their defaults."""
_PLACES_OF_TIME = ("timestamp_header", "timestamp_prefix")


def _keys_of(spec: SignatureSpec, given: dict[str, Any]) -> dict[str, Any]:
    """The keys of a preset that differ from the defaults; without the place of the time, if another one is given."""
    found = {key: getattr(spec, key) for key, default in _KEYS.items() if getattr(spec, key) != default}
    has_time = any(key in given for key in _PLACES_OF_TIME)
    return {key: value for key, value in found.items() if not (has_time and key in _PLACES_OF_TIME)}


def _unknown_preset(name: object) -> str:
    """What is wrong with a preset that does not exist."""
    if not isinstance(name, str):
        return "must be a text"
    if name.lower() in NOT_VERIFIABLE:
        return f"{name!r} {NOT_VERIFIABLE[name.lower()]}"
    hint = suggestion(name, PRESETS)
    return (
        f"there is no {name!r}{hint}{'' if hint.endswith('?') else '.'} For any other service, set header, "
        "signed_content and so on"
    )
