"""The table of the private API: the bearer tokens that it accepts."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from receiver.providers.base import origin_of
from receiver.settings.base import Secret, SecretId, Table, hashed_id, list_of_secrets

MIN_TOKEN_CHARACTERS = 20
"""The shortest bearer token: 80 bits even in hex digits."""

_ADDRESS = re.compile(r"[!\"$->@-~]+")
"""Printable ASCII without white space, `?` and `#`."""


class TokenRole(StrEnum):
    """What the holder of a token may do: read, or read and change."""

    VIEWER = "viewer"
    OPERATOR = "operator"


class ApiToken(Table):
    """One bearer token. `id` is its name in logs; without one, the name is a hash of the token."""

    id: SecretId = ""
    token: Secret
    role: TokenRole = TokenRole.OPERATOR

    @field_validator("token")
    @classmethod
    def _usable(cls, token: SecretStr) -> SecretStr:
        text = token.get_secret_value()
        if len(text) < MIN_TOKEN_CHARACTERS:
            raise ValueError(f"must have at least {MIN_TOKEN_CHARACTERS} characters")
        if " " in text:
            raise ValueError("must be without white space: it is sent in a header")
        return token

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, dict) and "id" not in given:
            token = given.get("token")
            text = token.get_secret_value() if isinstance(token, SecretStr) else token
            if isinstance(text, str) and text.isascii():
                return {"id": hashed_id("token", text), **given}
        return given


def _base_address(value: str) -> str:
    if origin_of(value) is None or not _ADDRESS.fullmatch(value):
        raise ValueError("must be an absolute http(s) address without credentials, query and fragment")
    return value.rstrip("/")


class Api(Table):
    """Access to the private API.

    `url` is the base address under which the application reaches it, for links to audio; by default the private
    listener's own.
    """

    url: Annotated[str, AfterValidator(_base_address)] | None = None
    tokens: Annotated[tuple[ApiToken, ...], NoDecode, BeforeValidator(list_of_secrets("token"))] = ()

    @field_validator("tokens")
    @classmethod
    def _distinct(cls, tokens: tuple[ApiToken, ...]) -> tuple[ApiToken, ...]:
        if len({token.token.get_secret_value() for token in tokens}) < len(tokens):
            raise ValueError("one of them is repeated")
        if len({token.id for token in tokens}) < len(tokens):
            raise ValueError("two of them have the same id")
        return tokens
