"""The users of the console: what each logs in with, and what it may do."""

from __future__ import annotations

from pydantic import SecretStr, field_validator

from receiver.model.audit import LOCAL
from receiver.model.password_hash import hash_problem
from receiver.settings.api import TokenRole
from receiver.settings.base import Secret, Table


class ConsoleUser(Table):
    """A user of the console; the name is the actor of the audit log."""

    password_hash: Secret
    role: TokenRole = TokenRole.VIEWER

    @field_validator("password_hash")
    @classmethod
    def _usable(cls, hash: SecretStr) -> SecretStr:
        problem = hash_problem(hash.get_secret_value())
        if problem is not None:
            raise ValueError(problem)
        return hash


def check_user_names(users: dict[str, ConsoleUser], token_ids: set[str]) -> None:
    """Refuse a user whose name is another actor's: the audit log would not tell the two apart.

    Raises:
        ValueError: names the user.
    """
    for name in users:
        if name == LOCAL:
            raise ValueError(f"the user {name} has the name of the actor of an API without tokens; use another name")
        if name in token_ids:
            raise ValueError(f"the user {name} has the id of one of [api] tokens as its name; use another name or id")
