"""Searches the settings with which a signature is valid, for `tts-receiver verify`. The intake never uses it."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterator, Sequence
from itertools import islice, product

from receiver.model.delivery import Headers
from receiver.model.scheme import Key
from receiver.model.signature_spec import DIGEST_BYTES, SignatureSpec

WEAK_DIGESTS = ("sha1",)
"""Digests that services use and that are not accepted."""
MAX_VALUES = 4
"""At most so many signatures, times and ids of a delivery are tried."""

_DIGESTS = ("sha256", *(digest for digest in DIGEST_BYTES if digest != "sha256"), *WEAK_DIGESTS)
_CONTENTS = (
    "{body}",
    "{timestamp}.{body}",
    "{timestamp}:{body}",
    "v0:{timestamp}:{body}",
    "{timestamp}{body}",
    "{id}.{timestamp}.{body}",
    "{id}{timestamp}{body}",
)
_PARTS = re.compile(r"[ ,;]+")
_NAME = re.compile(r"[A-Za-z0-9-]{1,20}[=,](?=.)")
"""The name of an element, or a prefix such as `sha256=`."""
_TIME = re.compile(r"[0-9]{9,14}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+(?:Z|[+-][0-9:]+)")
_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")


def other_settings(spec: SignatureSpec, headers: Headers, body: bytes, keys: Sequence[Key]) -> dict[str, str] | None:
    """The settings with which one of the keys makes a signature in these headers; None if none was found.

    Returns:
        `signed_content`, `digest` and `encoding`, if they differ from those of `spec`.
    """
    values = list(_values(headers))
    signatures = list(islice(_signatures(values), MAX_VALUES * 2))
    times = list(islice(dict.fromkeys(value for value in values if _TIME.fullmatch(value)), MAX_VALUES)) or [""]
    ids = list(islice(dict.fromkeys(value for value in values if _ID.fullmatch(value)), MAX_VALUES)) or [""]
    contents = dict.fromkeys((spec.signed_content, *_CONTENTS))
    for (encoding, signature), content, digest, key in product(signatures, contents, _DIGESTS, keys):
        if key.public or len(signature) != hmac.new(b"", b"", digest).digest_size:
            continue
        for time, id_ in product(times if "{timestamp}" in content else [""], ids if "{id}" in content else [""]):
            before, _, after = content.replace("{timestamp}", time).replace("{id}", id_).partition("{body}")
            if hmac.compare_digest(hmac.digest(key.secret, before.encode() + body + after.encode(), digest), signature):
                found = {"signed_content": content, "digest": digest, "encoding": encoding}
                return {name: value for name, value in found.items() if value != getattr(spec, name)}
    return None


def _values(headers: Headers) -> Iterator[str]:
    """The values of headers, and the elements of those that are lists; with and without their names."""
    for _, raw in headers:
        value = raw.decode("latin-1").strip()
        for part in dict.fromkeys((value, *islice(_PARTS.split(value), MAX_VALUES * 2))):
            yield part
            yield _NAME.sub("", part, count=1)


def _signatures(values: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The values that can be signatures: (encoding, bytes)."""
    for value in dict.fromkeys(values):
        if re.fullmatch(r"(?:[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})", value):
            yield "hex", bytes.fromhex(value)
        elif re.fullmatch(r"[A-Za-z0-9+/]{26,86}={0,2}", value) and len(value) % 4 == 0:
            yield "base64", base64.b64decode(value)
