"""The table of a source's signature: how another service signs its deliveries."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

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


Prefix = Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,64}$"), BeforeValidator(_prefix)]


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
        if isinstance(name, str) and name not in PRESETS:
            why = NOT_VERIFIABLE.get(name.lower())
            raise ValueError(
                f"preset: {name!r} {why}" if why else f"preset: there is no {name!r}{suggestion(name, PRESETS)}"
            )
        filled = {**_keys_of(PRESETS[name]), **given} if isinstance(name, str) else given
        for key in ("header", "signed_content"):
            if key not in filled:
                raise ValueError(
                    f"{key}: is missing; set it as the service documents it, or a preset: {', '.join(PRESETS)}"
                )
        return filled

    @model_validator(mode="after")
    def _check(self) -> SignatureTable:
        for key in ("header", "timestamp_header", "id_header"):
            name = getattr(self, key)
            if name is not None and name.lower() in PRIVATE_HEADERS:
                raise ValueError(f"{key}: {name} has credentials, and would be stored with each event")
            if name is not None and name.lower() in OTHER_HEADERS:
                raise ValueError(f"{key}: {name} is a header that every request has for another purpose")
        if "timestamp_format" in self.model_fields_set and "{timestamp}" not in self.signed_content:
            raise ValueError("timestamp_format: has no effect, because signed_content has no {timestamp}; remove it")
        spec = SignatureSpec(**{field.name: getattr(self, field.name) for field in fields(SignatureSpec) if field.init})
        known = self.preset is not None and spec == PRESETS[self.preset]
        self._scheme = SCHEMES[str(self.preset)] if known else make_scheme(CONFIGURED, spec)
        return self

    @property
    def scheme(self) -> Scheme:
        """What verifies and makes its signatures."""
        return self._scheme


def _keys_of(spec: SignatureSpec) -> dict[str, Any]:
    """The keys of a preset that differ from the defaults."""
    found = {field.name: (getattr(spec, field.name), field.default) for field in fields(spec) if field.init}
    return {key: value for key, (value, default) in found.items() if value != default}
