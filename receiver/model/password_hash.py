"""Hashes of passwords: Argon2id, as text in PHC format, with bounds on what one may cost.

The parameters of a hash come from the configuration, and everybody who can open the login page makes the receiver
compute it. So a hash that takes more memory or time than the bounds is refused when the configuration is read, and so
is one that is weaker than the weakest that OWASP recommends.
"""

from __future__ import annotations

import binascii
import re
import unicodedata
from base64 import b64decode

MEMORY_KIB = 19_456
ITERATIONS = 2
LANES = 1
"""The parameters of new hashes: OWASP's Password Storage Cheat Sheet, Argon2id."""
SALT_BYTES = 16
HASH_BYTES = 32

MIN_MEMORY_KIB = 7_168
MIN_WORK = 35_840
"""Memory times iterations, KiB: the least of OWASP's equivalent parameters (7 MiB, 5 iterations)."""
MAX_MEMORY_KIB = 131_072
MAX_WORK = 524_288
"""Memory times iterations, KiB: about half a second of a processor."""
MAX_LANES = 16
MAX_CHARACTERS = 512
"""Of a hash as text."""

MIN_PASSWORD_CHARACTERS = 12
MAX_PASSWORD_BYTES = 1024
"""In UTF-8."""

_PHC = re.compile(
    r"\$argon2id\$v=19\$m=([1-9]\d{0,9}),t=([1-9]\d{0,9}),p=([1-9]\d{0,9})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)"
)
_ADVICE = "`tts-receiver users hash` makes one"


def hash_problem(text: str) -> str | None:
    """What is wrong with a configured hash, to follow its key in a message; None if it can be used."""
    found = _PHC.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if found is None:
        return f"is not a hash by Argon2id in PHC format ($argon2id$v=19$m=…,t=…,p=…$…$…); {_ADVICE}"
    memory, iterations, lanes = (int(found[number]) for number in (1, 2, 3))
    if not 8 <= _size(found[4]) <= 64 or not 16 <= _size(found[5]) <= 64:
        return f"has a salt that is not base64 of 8 to 64 bytes, or a hash that is not of 16 to 64; {_ADVICE}"
    if memory > MAX_MEMORY_KIB or memory * iterations > MAX_WORK or lanes > MAX_LANES:
        return (
            f"costs too much: at most m={MAX_MEMORY_KIB} KiB, m times t {MAX_WORK} and p={MAX_LANES}, because "
            f"everybody who can open the login page makes the receiver compute it; {_ADVICE}"
        )
    if memory < MIN_MEMORY_KIB or memory * iterations < MIN_WORK:
        return f"is too weak: m must be at least {MIN_MEMORY_KIB} KiB, and m times t {MIN_WORK}; {_ADVICE}"
    return None


def _size(text: str) -> int:
    """How many bytes this is in base64 without padding; 0 if it is none."""
    try:
        return len(b64decode(text + "=" * (-len(text) % 4), validate=True))
    except binascii.Error:
        return 0


def password_problem(password: str) -> str | None:
    """Why a new password is refused, to follow "The password"; None if it can be used."""
    if len(password) < MIN_PASSWORD_CHARACTERS:
        return f"has fewer than {MIN_PASSWORD_CHARACTERS} characters"
    if len(_bytes(password)) > MAX_PASSWORD_BYTES:
        return f"has more than {MAX_PASSWORD_BYTES} bytes"
    if any(unicodedata.category(char) == "Cc" for char in password):
        return "contains a control character, which a login page cannot send"
    return None


def hash_password(password: str, salt: bytes) -> str:
    """A new hash, in PHC format.

    Args:
        salt: `SALT_BYTES` random bytes, used for nothing else.
    """
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    argon = Argon2id(salt=salt, length=HASH_BYTES, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return argon.derive_phc_encoded(_bytes(password))


def verify_password(password: str, hash: str) -> bool:
    """Whether a hash that has no `hash_problem` is the password's. Blocks; another thread goes on meanwhile."""
    from cryptography.exceptions import InvalidKey
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    given = _bytes(password)
    is_possible = len(given) <= MAX_PASSWORD_BYTES
    try:
        Argon2id.verify_phc_encoded(given if is_possible else b"", hash)
    except InvalidKey:
        return False
    return is_possible


def _bytes(password: str) -> bytes:
    """As it is hashed: keyboards and systems compose the same characters differently."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
