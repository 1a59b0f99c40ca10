"""What one can log in with: users with a password, and the tokens of the API. Searched in constant time."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum

from receiver.model.password_hash import verify_password
from receiver.settings import Settings
from receiver.settings.api import TokenRole
from receiver.web.api.authentication import KnownTokens
from receiver.web.api.problems import unavailable

MAX_HASHES = 2
"""Hashes of passwords that are computed at one time: each takes 19 MiB, if `users hash` made the user's."""
MAX_WAITING = 16
"""Logins that wait for that. Others are refused, and try again."""


class CredentialKind(StrEnum):
    """With what somebody logged in."""

    USER = "user"
    TOKEN = "token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class Credential:
    """A user or a token of the configuration.

    Attributes:
        actor: its name in the audit log.
        secret: the hash of the user's password, or the token.
    """

    kind: CredentialKind
    actor: str
    role: TokenRole
    secret: str = field(repr=False)

    def seal(self, value: str) -> str:
        """What a session keeps of this credential: it cannot be computed without the cookie's value."""
        text = f"{self.kind}\0{self.actor}\0{self.secret}"
        return hmac.new(value.encode(), text.encode(), hashlib.sha256).hexdigest()


class Credentials:
    """All users and tokens of the configuration."""

    def __init__(self, settings: Settings) -> None:
        users, tokens = settings.console.users, settings.api.tokens
        found = [
            Credential(CredentialKind.USER, name, user.role, user.password_hash.get_secret_value())
            for name, user in users.items()
        ]
        found += [
            Credential(CredentialKind.TOKEN, token.id, token.role, token.token.get_secret_value()) for token in tokens
        ]
        self._all = {(credential.kind, credential.actor): credential for credential in found}
        self._tokens = KnownTokens(tokens)
        self._hashes = [credential.secret for credential in found if credential.kind is CredentialKind.USER]
        self._key = hashlib.sha256("\0".join(self._hashes).encode()).digest()
        self._threads = ThreadPoolExecutor(MAX_HASHES, "password")
        self._waiting = 0

    @property
    def has_users(self) -> bool:
        """Whether anybody can log in with a password."""
        return bool(self._hashes)

    def get(self, kind: str, actor: str) -> Credential | None:
        """The credential of a session; None if the configuration no longer has it."""
        try:
            return self._all.get((CredentialKind(kind), actor))
        except ValueError:  # a later release's
            return None

    def of_token(self, text: str) -> Credential | None:
        """The credential of a token's text; None if there is no such token."""
        token = self._tokens.find(text.strip().encode("utf-8", "surrogatepass"))
        return None if token is None else self._all[CredentialKind.TOKEN, token.id]

    async def of_password(self, name: str, password: str) -> Credential | None:
        """The credential of a user; None if there is no such user, or the password is another. Takes as long for both.

        Raises:
            ProblemError: 503, too many passwords are being compared.
        """
        if not self._hashes:
            return None
        if self._waiting >= MAX_HASHES + MAX_WAITING:
            raise unavailable("Too many logins at once; try again.", reason="too_many_logins")
        user = self._all.get((CredentialKind.USER, name))
        hash = self._substitute(name) if user is None else user.secret
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            is_right = await loop.run_in_executor(self._threads, verify_password, password, hash)
        finally:
            self._waiting -= 1
        return user if is_right else None

    def _substitute(self, name: str) -> str:
        """Whose hash is computed for a name that does not exist: always the same one's, as for a name that does.

        Users may have hashes of different cost.
        """
        digest = hmac.new(self._key, name.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
        return self._hashes[int.from_bytes(digest[:8]) % len(self._hashes)]
