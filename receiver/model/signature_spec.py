"""What a service's signature consists of, as `[sources.NAME.signature]` or a preset describes it, and its grammar.

One signature must stand for one content: it is refused that a character could move from one placeholder of
`signed_content` to the next without a change of the signed text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from receiver.model.signed_time import DATE, TIME_FORMATS, TimeFormat

ID, TIMESTAMP, BODY = "id", "timestamp", "body"
DIGEST_BYTES = {"sha256": 32, "sha512": 64}
MAX_CONTENT = 200
"""The longest template of the signed content, in characters."""

_MARKS = "=:,"
"""What can stand between the name and the value of an element, as in `v1=…`."""
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureSpec:
    """How one service signs: an HMAC of a text that contains the body.

    A value that breaks the grammar raises ValueError; its message begins with the attribute's name.

    Attributes:
        header: the header with the signature.
        signed_content: the signed text, with `{body}`, and with `{timestamp}` and `{id}` if they are signed.
        prefix: the text before the signature, in the header or in its element.
        separator: the character between the elements of the header; None if the header is one signature.
        encoding: of the signature: `hex` or `base64`.
        digest: of the HMAC: a key of `DIGEST_BYTES`.
        key_encoding: how a secret's text becomes the key: `text`, `hex` or `base64`.
        timestamp_header: the header with the signed time.
        timestamp_prefix: the text before the signed time in an element of `header`, instead of `timestamp_header`.
        timestamp_format: `seconds` or `milliseconds` since 1970, or `iso8601`.
        id_header: the header with the signed message id.
        parts: `signed_content` as literals and names of placeholders in turn; a literal is first and last.
    """

    header: str
    signed_content: str
    prefix: str = ""
    separator: str | None = None
    encoding: str = "hex"
    digest: str = "sha256"
    key_encoding: str = "text"
    timestamp_header: str | None = None
    timestamp_prefix: str | None = None
    timestamp_format: str = "seconds"
    id_header: str | None = None
    parts: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(_PLACEHOLDER.split(self.signed_content)))
        self._check_content()
        self._check_gaps()
        self._check_places()
        self._check_headers()
        self._check_elements()

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the headers that are read, the signature's last."""
        return tuple(name for name in (self.id_header, self.timestamp_header, self.header) if name is not None)

    @property
    def signs_time(self) -> bool:
        """Whether the time of a delivery is signed, so that an old one can be recognised."""
        return TIMESTAMP in self.parts[1::2]

    @property
    def summary(self) -> str:
        """What is signed, how, and the header with the signature."""
        time = (
            "" if self.timestamp_prefix is None else f"{self.timestamp_prefix}<{self.timestamp_format}>{self.separator}"
        )
        header = f"{self.header}: {time}{self.prefix}<{self.encoding}>"
        return f"HMAC-{self.digest.upper()} of {self.signed_content} in {header}"

    @property
    def accepts_public_keys(self) -> bool:
        """Whether the signatures are those of Standard Webhooks, which may also be made with ed25519 (`v1a`)."""
        form = (self.prefix, self.separator, self.encoding, self.digest, self.key_encoding)
        return form == ("v1,", " ", "base64", "sha256", "base64")

    @property
    def time_format(self) -> TimeFormat:
        """How the signed time is written."""
        return TIME_FORMATS[self.timestamp_format]

    @property
    def time_pattern(self) -> str:
        """The regular expression of a time; of a fixed length if the text beside it does not show where it ends."""
        beside = [char for name, char in self._beside_placeholders() if name == TIMESTAMP]
        ends_itself = any(not char or char.isdigit() for char in beside)
        return self.time_format.fixed if ends_itself else self.time_format.pattern

    @property
    def refused_in_id(self) -> str:
        """The regular expression of what no message id may contain, because it shows where the id ends."""
        beside = [char for name, char in self._beside_placeholders() if name == ID]
        return "|".join(re.escape(char) if char else DATE for char in beside)

    @property
    def signature_pattern(self) -> str:
        """The regular expression of an encoded signature."""
        size = DIGEST_BYTES[self.digest]
        if self.encoding == "hex":
            return f"[0-9a-fA-F]{{{size * 2}}}"
        groups, rest = divmod(size, 3)
        return f"[A-Za-z0-9+/]{{{groups * 4 + rest + 1}}}{'=' * (3 - rest)}"

    @property
    def signature_form(self) -> str:
        """The form of an encoded signature, in words."""
        size = DIGEST_BYTES[self.digest]
        return f"{size * 2} hex digits" if self.encoding == "hex" else f"base64 of {size} bytes"

    def _gaps(self) -> list[tuple[str, str, str]]:
        """The literals between placeholders: (placeholder, literal, placeholder)."""
        return [self.parts[at : at + 3] for at in range(1, len(self.parts) - 2, 2)]  # type: ignore[misc]

    def _beside_placeholders(self) -> list[tuple[str, str]]:
        """Each placeholder with the character that parts it from another one; empty if there is none."""
        found = [[(left, literal[:1]), (right, literal[-1:])] for left, literal, right in self._gaps()]
        return [pair for pairs in found for pair in pairs]

    def _check_content(self) -> None:
        text, names = self.signed_content, self.parts[1::2]
        if len(text) > MAX_CONTENT or not text.isascii() or not text.isprintable():
            raise ValueError(f"signed_content: must be printable ASCII of at most {MAX_CONTENT} characters")
        for name in names:
            if name not in (ID, TIMESTAMP, BODY):
                raise ValueError(
                    f"signed_content: there is no {{{name}}}, only {{id}}, {{timestamp}} and {{body}}; write a text "
                    "that is always the same, such as an address, as it is"
                )
            if names.count(name) > 1:
                raise ValueError(f"signed_content: {{{name}}} must occur once")
        if any(brace in literal for literal in self.parts[::2] for brace in "{}"):
            raise ValueError("signed_content: has a brace that is no part of {id}, {timestamp} or {body}")
        if BODY not in names:
            raise ValueError(
                "signed_content: must contain {body}; otherwise the signature could be sent again with another body"
            )

    def _check_gaps(self) -> None:
        for left, literal, right in self._gaps():
            parts_itself = TIMESTAMP in (left, right) and (
                ID not in (left, right) or self.timestamp_format == "iso8601"
            )
            if not literal and not parts_itself:
                raise ValueError(
                    f"signed_content: {{{left}}} and {{{right}}} need a character between them that shows where the id "
                    f"ends, such as {{{left}}}.{{{right}}}; only a time in iso8601 shows it by itself"
                )
        for name, char in self._beside_placeholders():
            if name == ID and char.isalnum():
                raise ValueError(
                    f"signed_content: {char!r} cannot show where the id ends, because ids contain letters and digits"
                )

    def _check_places(self) -> None:
        """Check that each placeholder has one place to be read from, and that nothing else is read."""
        names = self.parts[1::2]
        times = [key for key in ("timestamp_header", "timestamp_prefix") if getattr(self, key) is not None]
        if len(times) > 1:
            raise ValueError(
                "timestamp_prefix: is set, and timestamp_header as well; the time has one place: remove one"
            )
        if self.signs_time and not times:
            raise ValueError(
                "timestamp_header: is missing; signed_content has {timestamp}. Set the header that contains the time, "
                "or timestamp_prefix if it is an element of the signature's header, such as t=…"
            )
        for key, name in ((times[0] if times else "", TIMESTAMP), ("id_header" if self.id_header else "", ID)):
            if key and name not in names:
                raise ValueError(
                    f"{key}: its value is not signed; add {{{name}}} to signed_content if the service signs it, "
                    f"otherwise remove {key}"
                )
        if ID in names and self.id_header is None:
            raise ValueError("id_header: is missing; signed_content has {id}. Set the header that contains the id")

    def _check_headers(self) -> None:
        known = {self.header.lower(): "header"}
        for key in ("timestamp_header", "id_header"):
            name: str | None = getattr(self, key)
            if name is None:
                continue
            if name.lower() in known:
                hint = "; if it has elements such as t=…, set timestamp_prefix instead" if key != "id_header" else ""
                raise ValueError(f"{key}: {name} is already set as {known[name.lower()]}; each value has its own{hint}")
            known[name.lower()] = key

    def _check_elements(self) -> None:
        """Check that each element of the header can be of one kind only."""
        if self.separator is None:
            if self.timestamp_prefix is not None:
                raise ValueError(
                    "separator: is missing; with timestamp_prefix the header has several elements. Set the character "
                    'between them: "," for t=…,v1=…'
                )
            return
        prefixes = {"prefix": self.prefix}
        if self.timestamp_prefix is not None:
            prefixes["timestamp_prefix"] = self.timestamp_prefix
        for key, prefix in prefixes.items():
            name, mark = prefix[:-1], prefix[-1:]
            if not name or mark not in _MARKS or mark == self.separator or set(name) & {*_MARKS, *" ;"}:
                raise ValueError(
                    f"{key}: must be the name of an element and what follows it, such as v1=, because separator is set"
                )
            if mark != self.prefix[-1:]:
                raise ValueError(
                    f"{key}: ends with {mark!r}, but prefix with {self.prefix[-1:]!r}; set one form for both"
                )
        if self.prefix == self.timestamp_prefix:
            raise ValueError("timestamp_prefix: is the same as prefix; the time and the signature are two elements")
