"""`send`, `sign` and `verify`: send deliveries as the provider does, and explain why a signature is invalid."""

from __future__ import annotations

import json
import secrets
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, NamedTuple

import typer

from receiver.cli.options import Config, parse_key_values
from receiver.cli.text_output import echo, echo_error
from receiver.errors import InvalidJson, MalformedDelivery, NotFound, ReceiverError, SignatureError

if TYPE_CHECKING:
    import httpx

    from receiver.model.scheme import Key, Scheme
    from receiver.providers.protocols import WebhookProvider
    from receiver.settings import Settings, Source

OUTSIDE_TOLERANCE = 3
"""The exit code for a valid signature whose time is too old or too new."""

LAST_TIME = 253_402_300_799
"""The last second of the year 9999."""

SourceName = Annotated[str, typer.Option("--source", help="The configured source.")]


class SendError(ReceiverError):
    """A delivery sent by hand did not arrive."""

    reason = "not_sent"


def _source(settings: Settings, name: str) -> tuple[Source, Scheme]:
    source = settings.source(name)
    if source.scheme is None:
        raise NotFound(f"The provider {source.provider_name} sends no webhooks: there is nothing to sign.")
    if not source.receives_webhooks:
        raise NotFound(
            f"The source {name} has no signing secret: it receives no webhooks, so there is nothing to sign or verify "
            "with. For an account with webhooks, set signing_secrets or signing_secrets_file."
        )
    return source, source.scheme


def _webhooks(source: Source) -> WebhookProvider:
    """The provider of a source that `_source` has accepted."""
    from receiver.providers.protocols import require_webhooks

    return require_webhooks(source.provider)


def _newest_secret(source: Source) -> str:
    """The first secret that is valid now."""
    now = time.time()
    for entry, key in zip(source.signing_secrets, source.signing_keys(), strict=True):
        if key.active(now) and not key.public:
            return entry.secret.get_secret_value()
    raise NotFound("No signing secret of this source is valid now and can sign.")


def send(
    source: SourceName,
    config: Config = None,
    event: Annotated[str | None, typer.Option(help="The event type. Default: test.")] = None,
    job: Annotated[str | None, typer.Option(help="The job id. Default: a new one.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="KEY=VALUE, for the end of a job; repeatable.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="A file with the complete body, sent unchanged; - is standard input.", allow_dash=True
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(help="The target. Default: the configured receiver's address.")] = None,
) -> None:
    """Sign and send one delivery as the provider would: a test, another event, or your own body.

    Exit 0 if the response is 2xx.
    """
    from receiver.settings import load

    if data is not None and (event or job or metadata):
        raise typer.BadParameter("the file is the whole body: omit --event, --job and --metadata.", param_hint="--data")
    settings = load(config)
    source_settings, scheme = _source(settings, source)
    target = url or _receiver_url(settings, source)
    if data is None:
        delivery = _sample_delivery(
            source_settings,
            event or "test",
            job or f"job-{secrets.token_hex(6)}",
            parse_key_values(metadata, "--metadata"),
        )
    else:
        delivery = _read_delivery(source_settings, data, settings.server.max_body_bytes)
    delivery_id = str(uuid.uuid4())
    headers = [
        ("Content-Type", "application/json"),
        *scheme.sign(_newest_secret(source_settings), delivery.body, int(time.time()), delivery_id),
        *_unsigned_headers(source_settings, delivery.event, delivery_id),
    ]
    response = _post(target, delivery.body, headers)
    echo(f"{response.status_code} {response.text}")
    echo_error(f"{delivery.name} to {target}")
    raise typer.Exit(0 if response.is_success else 1)


def _receiver_url(settings: Settings, source: str) -> str:
    """The source's webhook address at the configured receiver."""
    host = "127.0.0.1" if settings.server.host in ("0.0.0.0", "::") else settings.server.host  # noqa: S104
    host = f"[{host}]" if ":" in host else host
    return f"http://{host}:{settings.server.port}{settings.webhook_path(source)}"


def _post(url: str, body: bytes, headers: list[tuple[str, str]]) -> httpx.Response:
    """Send the delivery.

    Raises:
        SendError: there was no response.
        typer.BadParameter: the address cannot be used.
    """
    import httpx

    from receiver.outbound.guarded_transport import trusted_certificates

    try:
        return httpx.post(
            url, content=body, headers=headers, timeout=30, trust_env=False, verify=trusted_certificates()
        )
    except (httpx.UnsupportedProtocol, httpx.InvalidURL):
        raise typer.BadParameter(f"{url!r} is not an http or https address.", param_hint="--url") from None
    except httpx.HTTPError as error:
        raise SendError(f"Nothing was delivered to {url}: {error}. Is the receiver running there?") from None


def _unsigned_headers(source_settings: Source, event: str | None, delivery_id: str) -> list[tuple[str, str]]:
    """The headers that the provider adds, without those that could not be sent: an event may be any word."""
    if event is None:
        return []
    headers = _webhooks(source_settings).delivery_headers(event, delivery_id)
    return [(name, value) for name, value in headers if value.isascii() and value.isprintable()]


class _Delivery(NamedTuple):
    """A delivery to send.

    Attributes:
        event: the event type for the unsigned header; None if the body names none.
        name: of the delivery in the output.
    """

    body: bytes
    event: str | None
    name: str


def _sample_delivery(source_settings: Source, event: str, job: str, metadata: dict[str, str] | None) -> _Delivery:
    """A delivery as the provider would send it."""
    from difflib import get_close_matches

    from receiver.model.event import COMPLETED, FAILED, TEST
    from receiver.providers.types import Invalid

    known = (COMPLETED, FAILED, TEST)
    near = get_close_matches(event, known, n=1, cutoff=0.85)
    if near and event not in known:
        raise typer.BadParameter(
            f"there is no event {event!r}; did you mean {near[0]!r}? With --data FILE any event can be sent.",
            param_hint="--event",
        )
    created = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    try:
        body = _webhooks(source_settings).sample_body(event, job, created, metadata)
    except Invalid as error:
        raise typer.BadParameter(str(error), param_hint="--metadata") from None
    return _Delivery(json.dumps(body, separators=(",", ":")).encode(), event, f"{event} {job}")


def _read_delivery(source_settings: Source, data: Path, limit: int) -> _Delivery:
    """The body in a file, even if it is invalid: the receiver's response says what is wrong with it."""
    if str(data) == "-":
        body, name = read_body(sys.stdin.buffer, limit), "standard input"
    else:
        try:
            with data.open("rb") as file:
                body, name = read_body(file, limit), str(data)
        except OSError as error:
            raise typer.BadParameter(f"{data} cannot be read: {error.strerror}.", param_hint="--data") from None
    try:
        return _Delivery(body, _webhooks(source_settings).parse_delivery((), body).type, name)
    except (MalformedDelivery, InvalidJson):
        return _Delivery(body, None, name)


def read_body(file: BinaryIO, limit: int) -> bytes:
    """The body of a delivery.

    Args:
        limit: bytes that a receiver accepts.

    Raises:
        typer.BadParameter: it is longer.
    """
    body = file.read(limit + 1)
    if len(body) > limit:
        raise typer.BadParameter(f"the body is longer than server.max_body_bytes, {limit} bytes.")
    return body


def sign(
    source: SourceName,
    config: Config = None,
    at: Annotated[
        int | None, typer.Option(min=0, max=LAST_TIME, help="Time of the signature in unix seconds. Default: now.")
    ] = None,
) -> None:
    """Print the signature headers for a body on standard input, as in curl -H "$(tts-receiver sign … < body)"."""
    from receiver.settings import load

    settings = load(config)
    source_settings, scheme = _source(settings, source)
    body = read_body(sys.stdin.buffer, settings.server.max_body_bytes)
    now = int(time.time()) if at is None else at
    for name, value in scheme.sign(_newest_secret(source_settings), body, now, str(uuid.uuid4())):
        echo(f"{name}: {value}")


def verify(
    source: SourceName,
    header: Annotated[list[str], typer.Option("--header", "-H", help="A header line of the delivery; repeatable.")],
    config: Config = None,
) -> None:
    """Explain why a signature of the body on standard input is valid or not.

    Exit 0 if it is valid, 1 if not, 3 if it is valid but too old or too new.
    """
    from receiver.model.diagnose import explain
    from receiver.settings import load

    settings = load(config)
    source_settings, scheme = _source(settings, source)
    headers = []
    for line in header:
        name, colon, value = line.partition(":")
        if not colon:
            name = "-".join(part.capitalize() for part in scheme.headers[-1].split("-"))
            what = f"{line!r} is not 'Name: value', as in -H '{name}: …'."
            raise typer.BadParameter(what, param_hint="--header")
        headers.append((name.strip().lower().encode(), value.strip().encode()))
    body = read_body(sys.stdin.buffer, settings.server.max_body_bytes)
    now = time.time()
    keys = source_settings.signing_keys()
    try:
        verified = scheme.verify(headers, body, keys, now)
    except SignatureError as error:
        echo(f"✗ The signature is invalid ({error.reason}): {error}")
        _print_steps(scheme, headers, body, keys, now)
        hint = explain(scheme, headers, body, keys, now) or _explain_other_source(settings, source, headers, body, now)
        if hint:
            echo(f"  {hint}")
        echo(f"  Tried: {', '.join(key.id for key in keys)}, over {len(body)} bytes of body.")
        raise typer.Exit(1) from None
    echo(f"✓ The signature is valid: made with {verified.key_id} over {len(body)} bytes of body.")
    _print_steps(scheme, headers, body, keys, now)
    if verified.skew is None:
        echo("  No time is signed: it is never too old. Sent again, it is a duplicate while its event is stored.")
        return
    echo(f"  Signed {abs(verified.skew):.0f} s {'ago' if verified.skew >= 0 else 'in the future'}.")
    if abs(verified.skew) > source_settings.tolerance_seconds:
        word = "too old" if verified.skew > 0 else "too new (compare the clocks)"
        done = "put in quarantine" if source_settings.stale == "quarantine" else "rejected"
        echo(
            f"✗ It is {word}: the tolerance is {source_settings.tolerance_seconds:.0f} s. "
            f"A delivery with it would be {done} now."
        )
        raise typer.Exit(OUTSIDE_TOLERANCE)


def _print_steps(
    scheme: Scheme, headers: list[tuple[bytes, bytes]], body: bytes, keys: tuple[Key, ...], now: float
) -> None:
    from receiver.model.signature_steps import verification_steps

    for step in verification_steps(scheme, headers, body, keys, now):
        echo(f"  {'✓' if step.done else '✗'} {step.name:11} {step.text}")


def _explain_other_source(
    settings: Settings, source: str, headers: list[tuple[bytes, bytes]], body: bytes, now: float
) -> str | None:
    """A sentence if the signature was made with another source's secret."""
    for name, other in settings.sources.items():
        if name == source or other.scheme is None or not other.receives_webhooks:
            continue
        try:
            key_id = other.scheme.verify(headers, body, other.signing_keys(), now).key_id
        except SignatureError:
            continue
        path = settings.webhook_path(name)
        return f"It was made with the secret {key_id} of the source {name}, whose deliveries belong to {path}."
    return None
