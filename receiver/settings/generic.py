"""The table of a generic source: what other services call things, and where in their JSON they stand."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import NoDecode

from receiver.model.event import COMPLETED, FAILED
from receiver.model.scheme import Scheme
from receiver.model.signature import SCHEMES, timestamped
from receiver.providers.generic import Generic, generic_provider
from receiver.providers.generic_spec import GenericSpec, status_path
from receiver.providers.json_path import parse_path
from receiver.settings.base import Table

STRIPE_LIKE = "stripe-like"
PRIVATE_HEADERS = ("authorization", "cookie", "proxy-authorization")
"""These are not kept with an event, nor read for a word."""
FRAMING_HEADERS = ("accept", "connection", "content-length", "host", "transfer-encoding")
"""These are the client's own."""


def _texts(value: Any) -> Any:
    """A list of texts, which may also be one text, or JSON where it is from the environment."""
    if isinstance(value, str):
        if not value.lstrip().startswith("["):
            return [value]
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            raise ValueError("looks like JSON, but is not") from None
    return value


def _place(value: str) -> str:
    parse_path(value)
    return value


def _word(value: str) -> str:
    word = value.strip().lower()
    if not word or len(word) > 256 or not word.isprintable():
        raise ValueError("is empty, too long, or not printable")
    return word


Texts = BeforeValidator(_texts)
Places = Annotated[tuple[Annotated[str, AfterValidator(_place)], ...], NoDecode, Texts]
Words = Annotated[tuple[Annotated[str, AfterValidator(_word)], ...], NoDecode, Texts]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class GenericTable(Table):
    """A service that is not built in: with webhooks (`scheme`), a status to ask for (`status_url`), or both.

    A place is a dotted path, or a list of them, of which the first that says something counts.
    """

    scheme: Literal["tts", "elevenlabs", "standard-webhooks", "github-like", "stripe-like"] | None = None
    signature_header: HeaderName | None = None
    event_header: HeaderName | None = None
    event: Places = ()
    job_id: Places = ()
    status: Places = ()
    completed_words: Words = ("completed",)
    failed_words: Words = ("failed",)
    audio_url: Places = ()
    error_code: Places = ()
    error_message: Places = ()
    metadata: Places = ()
    status_url: str | None = None
    progress: Places = ()
    auth_header: HeaderName = "Authorization"
    auth_prefix: Annotated[str, Field(pattern=r"^[\x20-\x7e]{0,64}$")] = "Bearer "
    min_poll_seconds: Annotated[float, Field(gt=0, le=86_400)] = 1.0
    audio_needs_key: bool = False

    @model_validator(mode="after")
    def _check(self) -> GenericTable:
        if self.scheme is None and self.status_url is None:
            raise ValueError(
                "scheme: is missing, and status_url as well: nothing would ever be heard of a job. Say how deliveries "
                "are signed, or where a job's status is asked for"
            )
        if (self.scheme == STRIPE_LIKE) != (self.signature_header is not None):
            raise ValueError(
                f"signature_header: {'is missing' if self.scheme == STRIPE_LIKE else 'is not for this scheme'}; "
                f"it names the header of scheme = {STRIPE_LIKE!r}, the others have their own"
            )
        for key in ("signature_header", "event_header"):
            if (getattr(self, key) or "").lower() in PRIVATE_HEADERS:
                raise ValueError(f"{key}: is a header that holds credentials, and would be stored with each event")
        if self.auth_header.lower() in FRAMING_HEADERS:
            raise ValueError("auth_header: is a header that the request needs for something else")
        self._check_places()
        self._check_words()
        return self

    def _check_places(self) -> None:
        if self.scheme is not None:
            if not self.job_id:
                raise ValueError("job_id: is missing; no delivery could end a job. It is a place such as data.job_id")
            if not (self.event or self.status):
                raise ValueError(
                    "event: is missing, and so is status: no delivery could be read. Set one of them to a place in the "
                    "signed body; event_header is not signed and can only name a test"
                )
        if self.status_url is not None and not self.status:
            raise ValueError("status: is missing; it is the place of the status word in the answer from status_url")

    def _check_words(self) -> None:
        if not self.completed_words:
            raise ValueError("completed_words: is empty; no job would ever be completed")
        both = {*self.completed_words, COMPLETED} & {*self.failed_words, FAILED}
        if both:
            raise ValueError(f"failed_words: {sorted(both)[0]!r} cannot mean both, completed and failed")

    @property
    def signature(self) -> Scheme | None:
        """How its deliveries are signed; None if it sends none."""
        if self.scheme == STRIPE_LIKE and self.signature_header is not None:
            return timestamped(STRIPE_LIKE, self.signature_header, "v1")
        return SCHEMES[self.scheme] if self.scheme is not None else None

    def provider(self, base_url: str) -> Generic:
        """Return the provider that this table describes.

        Raises:
            ValueError: `status_url` or `audio_needs_key` does not fit the base address; begins with the key.
        """
        signature = self.signature
        path = None
        if self.status_url is not None:
            try:
                path = status_path(self.status_url, base_url)
            except ValueError as error:
                raise ValueError(f"status_url: {error}") from None
        places = {
            key: tuple(parse_path(text) for text in getattr(self, key))
            for key in ("event", "job_id", "status", "audio_url", "error_code", "error_message", "metadata", "progress")
        }
        spec = GenericSpec(
            scheme=self.scheme,
            signed_headers=signature.headers if signature else (),
            event_header=self.event_header,
            completed_words=self.completed_words,
            failed_words=self.failed_words,
            status_path=path,
            auth_header=self.auth_header,
            auth_prefix=self.auth_prefix,
            min_poll_seconds=self.min_poll_seconds,
            audio_needs_key=self.audio_needs_key,
            **places,
        )
        return generic_provider(spec, base_url)
