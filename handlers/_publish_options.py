"""The options of `publish`: the broker's address and where on it a message goes.

Importing this module needs no broker library; validating the options imports that of the address.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Annotated, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator

from receiver import Event

from ._message import MessageOptions

MAX_NAME_BYTES = 255
"""The longest exchange and routing key of AMQP 0-9-1 (a short string)."""
MAX_VALUE_CHARACTERS = 100
"""How much of an event's source or type is used. A type comes from outside."""
PLACEHOLDERS = ("{source}", "{type}")

_BRACES = re.compile(r"\{[^{}]*\}|[{}]")
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_DOTS = re.compile(r"\.\.+")
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Broker:
    """A kind of broker.

    Attributes:
        name: as its users call it.
        library: the module that a connection needs.
        options: the options that say where a message goes.
    """

    name: str
    library: str
    options: tuple[str, ...]


RABBITMQ = Broker("RabbitMQ", "faststream.rabbit", ("exchange", "routing_key"))
NATS = Broker("NATS", "faststream.nats", ("subject",))
REDIS = Broker("Redis", "faststream.redis", ("stream", "max_length"))
SCHEMES = {
    "amqp": (RABBITMQ, 5672),
    "amqps": (RABBITMQ, 5671),
    "nats": (NATS, 4222),
    "tls": (NATS, 4222),
    "redis": (REDIS, 6379),
    "rediss": (REDIS, 6379),
}


class PublishOptions(MessageOptions):
    """The options of a handler that uses `publish`.

    `{source}` and `{type}` in a name are replaced by the event's, with safe characters only.

    Attributes:
        url: the broker's address, with user and password: `amqp://`, `amqps://`, `nats://`, `tls://` (NATS over TLS),
            `redis://` or `rediss://`.
        exchange: RabbitMQ's exchange, which must exist; the default exchange if not given.
        routing_key: RabbitMQ's routing key; with the default exchange the queue's name.
        subject: the NATS subject; a JetStream stream must store it.
        stream: the key of the Redis stream.
        max_length: how many entries the Redis stream keeps at least; without it, all.
    """

    url: SecretStr
    exchange: str = ""
    routing_key: str = ""
    subject: str = ""
    stream: str = ""
    max_length: Annotated[int, Field(ge=1)] | None = None

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        """No message quotes the address: it contains the password."""
        try:
            parts = urlsplit(url.get_secret_value())
            host, port = parts.hostname, parts.port
        except ValueError:  # a port that is no number; brackets that do not close
            raise ValueError("is not an address") from None
        if parts.scheme not in SCHEMES:
            raise ValueError(f"begins with none of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
        if not host or port == 0:
            raise ValueError(f"has no host, as in {parts.scheme}://host:{SCHEMES[parts.scheme][1]}")
        _import(SCHEMES[parts.scheme][0].library)
        return url

    @field_validator("exchange", "routing_key", "subject", "stream")
    @classmethod
    def _check_name(cls, name: str) -> str:
        unknown = [found for found in _BRACES.findall(name) if found not in PLACEHOLDERS]
        if unknown:
            raise ValueError(f"{unknown[0]} is not replaced by anything; {' and '.join(PLACEHOLDERS)} are")
        longest = name
        for placeholder in PLACEHOLDERS:
            longest = longest.replace(placeholder, "_" * MAX_VALUE_CHARACTERS)
        if len(longest.encode()) > MAX_NAME_BYTES:
            raise ValueError(f"can have more than {MAX_NAME_BYTES} bytes")
        return name

    @field_validator("subject")
    @classmethod
    def _check_subject(cls, subject: str) -> str:
        """As NATS demands of a subject to publish to. `$JS.…` and the like are the server's own."""
        if _UNPRINTABLE.search(subject) or "*" in subject or ">" in subject:
            raise ValueError("contains a space or a wildcard")
        if subject.startswith(("$", "_INBOX")) or (subject and "" in subject.split(".")):
            raise ValueError("begins like a subject of the server itself, or has an empty part")
        return subject

    @model_validator(mode="after")
    def _check_broker(self, info: ValidationInfo) -> Self:
        if (info.context or {}).get("tls"):
            raise ValueError(
                "its table tls has no effect: it is for ctx.http, which publish does not use, and no client "
                "certificate is presented to a broker. Remove it; the variable SSL_CERT_FILE names the file of an "
                "authority of your own"
            )
        given = {name: getattr(self, name) for name in (*RABBITMQ.options, *NATS.options, *REDIS.options)}
        foreign = [name for name, value in given.items() if value and name not in self.broker.options]
        if foreign:
            wanted = " and ".join(self.broker.options)
            raise ValueError(f"{foreign[0]} is not an option for {self.broker.name}, which has {wanted}")
        if self.broker is RABBITMQ and not (self.exchange or self.routing_key):
            raise ValueError("RabbitMQ needs routing_key (the queue's name), or exchange")
        if self.broker is NATS and not self.subject:
            raise ValueError("NATS needs subject")
        if self.broker is REDIS and not self.stream:
            raise ValueError("Redis needs stream")
        return self

    @property
    def broker(self) -> Broker:
        """The kind of broker, by the address."""
        return SCHEMES[urlsplit(self.url.get_secret_value()).scheme][0]

    @property
    def server(self) -> str:
        """The broker in an error's words: its kind, host and port, without credentials."""
        parts = urlsplit(self.url.get_secret_value())
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        return f"{self.broker.name} at {host}:{parts.port or SCHEMES[parts.scheme][1]}"

    @property
    def target(self) -> str:
        """Where it sends: the broker."""
        return self.server

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no text may contain: the address, and the password or token in both of its forms."""
        url = self.url.get_secret_value()
        parts = urlsplit(url)
        password = parts.password or (parts.username if self.broker is NATS else None) or ""
        return tuple(text for text in (url, password, unquote(password)) if text)


def fill(template: str, event: Event) -> str:
    """A name with the event's source and type in it.

    A type comes from outside. Whatever is no letter, digit, `_`, `-` or `.` in it becomes `_`, so that it can name
    neither a wildcard nor one of the broker's own subjects; and no part between dots is empty.
    """
    return template.replace("{source}", _safe(event.source)).replace("{type}", _safe(event.type))


def _safe(value: str) -> str:
    safe = _DOTS.sub(".", _UNSAFE.sub("_", value[:MAX_VALUE_CHARACTERS])).strip(".")
    return safe or "_"


def _import(library: str) -> None:
    """Import a broker's library now, at startup: it takes half a second, in which no handler could run."""
    try:
        importlib.import_module(library)
    except ImportError as error:
        missing = str(error).partition("\n")[0] or library
        raise ValueError(f'the extra is not installed ({missing}): pip install "tts-receiver[publish]"') from error
