"""The table of a generic source: the names that another service uses, and their paths in its JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from receiver.model.event import COMPLETED, FAILED
from receiver.model.scheme import Scheme
from receiver.model.signature import PRESETS
from receiver.providers.generic import Generic, generic_provider
from receiver.providers.generic_spec import GenericSpec, status_path
from receiver.providers.json_path import parse_path
from receiver.settings.base import HeaderName, Table
from receiver.settings.signature import PRIVATE_HEADERS

FRAMING_HEADERS = ("accept", "connection", "content-length", "host", "transfer-encoding")
"""Headers that the HTTP client sets itself."""


def _texts(value: Any) -> Any:
    """Read a list of texts, which may also be one text, or JSON from the environment."""
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return [value]
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("looks like JSON, but is not") from None
    return value


def _json_path(value: str) -> str:
    parse_path(value)
    return value


def _word(value: str) -> str:
    word = value.strip().lower()
    if not word or len(word) > 256 or not word.isprintable():
        raise ValueError("is empty, too long, or not printable")
    return word


Texts = BeforeValidator(_texts)
JsonPathText = Annotated[str, AfterValidator(_json_path)]
JsonPaths = Annotated[tuple[JsonPathText, ...], NoDecode, Texts]
Words = Annotated[tuple[Annotated[str, AfterValidator(_word)], ...], NoDecode, Texts]


class GenericTable(Table):
    """A service that is not built in: with webhooks (the source's `signature`), a status request, or both.

    The location of a value is a dotted path, or a list of paths, of which the first one with a value is used.
    """

    event_header: HeaderName | None = None
    event: JsonPaths = ()
    event_id: JsonPaths = ()
    job_id: JsonPaths = ()
    status: JsonPaths = ()
    completed_words: Words = ("completed",)
    failed_words: Words = ("failed",)
    audio_url: JsonPaths = ()
    error_code: JsonPaths = ()
    error_message: JsonPaths = ()
    metadata: JsonPaths = ()
    status_url: str | None = None
    progress: JsonPaths = ()
    auth_header: HeaderName = "Authorization"
    auth_prefix: Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,64}$")] = "Bearer "
    min_poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 1.0
    audio_needs_key: bool = False
    result: JsonPaths = ()
    idempotency_header: HeaderName | None = None

    @model_validator(mode="before")
    @classmethod
    def _moved(cls, given: Any) -> Any:
        """Show the lines that replace the keys of earlier releases."""
        if isinstance(given, dict) and ("scheme" in given or "signature_header" in given):
            raise ValueError(_moved_keys(given))
        return given

    @model_validator(mode="after")
    def _check(self) -> GenericTable:
        if (self.event_header or "").lower() in PRIVATE_HEADERS:
            raise ValueError("event_header: is a header with credentials, and would be stored with each event")
        for key in ("auth_header", "idempotency_header"):
            if (getattr(self, key) or "").lower() in FRAMING_HEADERS:
                raise ValueError(f"{key}: is a header that the HTTP client sets itself")
        if self.status_url is not None and not self.status:
            raise ValueError("status: is missing; it is the path of the status in the response of status_url")
        self._check_words()
        return self

    def _check_deliveries(self) -> None:
        if not self.job_id:
            raise ValueError("job_id: is missing; no delivery could end a job. It is a path such as data.job_id")
        if not (self.event or self.status):
            raise ValueError(
                "event: is missing, and so is status: no delivery could be read. Set one of them to a path in the "
                "signed body; event_header is not signed and can only name a test"
            )

    def _check_words(self) -> None:
        if not self.completed_words:
            raise ValueError("completed_words: is empty; no job would ever be completed")
        both = {*self.completed_words, COMPLETED} & {*self.failed_words, FAILED}
        if both:
            raise ValueError(f"failed_words: {sorted(both)[0]!r} cannot mean both completed and failed")

    def provider(self, base_url: str, signature: Scheme | None = None) -> Generic:
        """The provider that this table describes.

        Args:
            signature: how its deliveries are signed; None if it sends none.

        Raises:
            ValueError: a key is missing, or does not fit `base_url`; the message begins with the key.
        """
        if signature is not None:
            self._check_deliveries()
        path = None
        if self.status_url is not None:
            try:
                path = status_path(self.status_url, base_url)
            except ValueError as error:
                raise ValueError(f"status_url: {error}") from None
        paths = {
            key: tuple(parse_path(text) for text in getattr(self, key))
            for key in (
                "event",
                "event_id",
                "job_id",
                "status",
                "audio_url",
                "error_code",
                "error_message",
                "metadata",
                "progress",
                "result",
            )
        }
        spec = GenericSpec(
            signature=signature,
            event_header=self.event_header,
            completed_words=self.completed_words,
            failed_words=self.failed_words,
            status_path=path,
            auth_header=self.auth_header,
            auth_prefix=self.auth_prefix,
            min_poll_seconds=self.min_poll_seconds,
            audio_needs_key=self.audio_needs_key,
            idempotency_header=self.idempotency_header,
            **paths,
        )
        return generic_provider(spec, base_url)


_MOVED_PRESETS = {"github-like": "github", "stripe-like": "stripe"}
"""The presets whose names differ from those of the earlier `scheme`."""


def _moved_keys(given: dict[str, Any]) -> str:
    """What to write instead of `scheme` and `signature_header`."""
    old = [key for key in ("scheme", "signature_header") if key in given]
    scheme = str(given.get("scheme") or "stripe")
    preset = _MOVED_PRESETS.get(scheme, scheme)
    lines = [f"preset = {json.dumps(preset if preset in PRESETS else '…', ensure_ascii=False)}"]
    if given.get("signature_header") is not None:
        lines.append(f"header = {json.dumps(str(given['signature_header']))}")
    new = " and ".join(lines)
    return f"{old[0]}: has moved. Write {new} in a table [sources.NAME.signature] instead of {' and '.join(old)}"
