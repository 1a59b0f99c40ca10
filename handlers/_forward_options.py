"""The options of `forward`, checked at the start: what would fail at every event must not wait for the first one."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import httpx
from pydantic import Field, SecretStr, ValidationInfo, field_validator

from receiver.signing import sign_standard_webhooks, sign_tts

from ._message import MessageOptions

MAX_SECRETS = 16
MIN_SECRET_BYTES = 16
"""As for the secrets of sources: a shorter one can be guessed from one request."""

Scheme = Literal["standard-webhooks", "tts"]
ErrorStatus = Annotated[int, Field(ge=400, le=599)]

_WAITING = frozenset({429, 503})
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}\Z")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-tts-signature",
    }
)
_OUR_PREFIXES = ("ce-", "webhook-")


class ForwardOptions(MessageOptions):
    """The options of `forward`, beside those of the message.

    Attributes:
        url: where events are sent; http or https.
        scheme: how requests are signed.
        secrets: the newest first; each makes a signature.
        request_seconds: how long one request may take, from the connection to the end of the response.
        reject_statuses: statuses, besides 410, that mean that the application will never accept the event.
        headers: sent with each request; the values are secrets.
    """

    url: str
    scheme: Scheme = "standard-webhooks"
    secrets: Annotated[tuple[SecretStr, ...], Field(min_length=1, max_length=MAX_SECRETS)]
    request_seconds: Annotated[float, Field(gt=0, le=300, validate_default=True)] = 15.0
    reject_statuses: frozenset[ErrorStatus] = frozenset()
    headers: Mapping[str, SecretStr] = {}

    @property
    def target(self) -> str:
        """Where it sends: the address without path and query."""
        url = httpx.URL(self.url)
        return f"{url.scheme}://{url.netloc.decode()}"

    @field_validator("url")
    @classmethod
    def _check_url(cls, text: str) -> str:
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise ValueError(f"is not an address: {error}") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("must be an http or https address, such as https://app.example/tts")
        if url.port is not None and not 0 < url.port < 65536:
            raise ValueError("has a port that does not exist")
        if url.userinfo:
            raise ValueError("must not contain a user or password; set an Authorization header in headers")
        if url.fragment:
            raise ValueError("must not contain a fragment (#…), which is never sent")
        return text

    @field_validator("secrets")
    @classmethod
    def _check_secrets(cls, secrets: tuple[SecretStr, ...], info: ValidationInfo) -> tuple[SecretStr, ...]:
        scheme: Scheme | None = info.data.get("scheme")
        if scheme is None:  # it is not valid itself
            return secrets
        texts = [secret.get_secret_value() for secret in secrets]
        signature_headers(scheme, b"", texts, "check")
        for number, text in enumerate(texts, 1):
            if _bytes_of(scheme, text) < MIN_SECRET_BYTES:
                raise ValueError(f"the secret {number} has less than {MIN_SECRET_BYTES} bytes, and can be guessed")
        return secrets

    @field_validator("request_seconds")
    @classmethod
    def _check_seconds(cls, seconds: float, info: ValidationInfo) -> float:
        timeout: float | None = (info.context or {}).get("timeout")
        if timeout is not None and seconds > timeout:
            raise ValueError(
                f"{seconds:g} s is more than the attempt's timeout of {timeout:g} s, which would end it first"
            )
        return seconds

    @field_validator("reject_statuses")
    @classmethod
    def _check_statuses(cls, statuses: frozenset[int]) -> frozenset[int]:
        if waiting := statuses & _WAITING:
            raise ValueError(f"{min(waiting)} asks to try again later, and cannot reject an event")
        return statuses

    @field_validator("headers")
    @classmethod
    def _check_headers(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        given: dict[str, str] = {}
        for name, value in headers.items():
            if not _NAME.match(name):
                raise ValueError(f"{name!r} is not the name of a header")
            first = given.setdefault(name.lower(), name)
            if first != name:
                raise ValueError(f"{name!r} is given twice, as {first!r} as well: names of headers ignore the case")
            if name.lower() in _OURS or name.lower().startswith(_OUR_PREFIXES):
                raise ValueError(f"{name} is a header that forward sets itself")
            if not _VALUE.match(value.get_secret_value()):
                raise ValueError(f"the value of {name} must be printable ASCII, without white space around it")
        return headers


def signature_headers(scheme: Scheme, body: bytes, secrets: Sequence[str], message_id: str) -> dict[str, str]:
    """The headers that sign a body now.

    Raises:
        ValueError: a secret cannot sign; the message names it by its number.
    """
    if scheme == "tts":
        return sign_tts(body, secrets)
    return sign_standard_webhooks(body, secrets, message_id=message_id)


def _bytes_of(scheme: Scheme, secret: str) -> int:
    """The bytes of a secret that can sign."""
    if scheme == "tts":
        return len(secret.encode())
    return len(base64.b64decode(re.sub("^wh(sec|sk)_", "", secret)))
