"""`webhook`: register an address for deliveries, request a new signing secret, request a test delivery.

The provider shows a new secret only once. It is written to the file that the configuration reads, never to a terminal,
a log or a shell's history.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from receiver.cli.id_token import IdTokenFile, read_id_token
from receiver.cli.options import Config, Json
from receiver.cli.text_output import echo, echo_error, print_model
from receiver.errors import ConfigError, ReceiverError, UnusableAddress

if TYPE_CHECKING:
    from receiver.cli.secret_file import SecretFile
    from receiver.providers.protocols import RegisteringProvider
    from receiver.providers.types import Registered, Request, Response
    from receiver.settings import Settings, Source

app = typer.Typer(no_args_is_help=True, help="A provider's webhook: register it, rotate its secret, test it.")

_Name = Annotated[str, typer.Option("--source", help="The configured source.")]
_Url = Annotated[str, typer.Option("--url", help="The public https address of this source's webhook path.")]

_TEST_FAILED = (
    "Check that the receiver is running, and was restarted after the last rotation. If it refused the test, its log "
    "says why, as delivery.refused."
)
_NEVER_SENT = frozenset({"connect_failed", "dns_failed"})
"""Slugs of errors that occur before the request is sent."""


@app.callback()
def _webhook() -> None:
    """The webhook at a provider."""


@app.command()
def register(source: _Name, url: _Url, id_token: IdTokenFile = None, config: Config = None, json: Json = False) -> None:
    """Register the address for deliveries. The signing secret is stored in the source's signing_secrets_file."""
    _register(source, url, id_token, config, json, rotate=False)


@app.command()
def rotate(source: _Name, url: _Url, id_token: IdTokenFile = None, config: Config = None, json: Json = False) -> None:
    """Request a new signing secret. It becomes the first in signing_secrets_file; the old one stays valid."""
    _register(source, url, id_token, config, json, rotate=True)


@app.command("test")
def send_test(source: _Name, id_token: IdTokenFile = None, config: Config = None, json: Json = False) -> None:
    """Have the provider send a signed test to the registered address. Exit 0 if the response is 2xx."""
    from receiver.cli.provider_request import ProviderRequestError, fetch_response, request_failure
    from receiver.providers.protocols import require_registering
    from receiver.providers.types import Invalid
    from receiver.settings import load

    source_settings = load(config).source(source)
    provider = require_registering(source_settings.provider)
    if not source_settings.receives_webhooks:
        raise ProviderRequestError(
            f"Source {source} has no signing secret: it receives no webhooks, and would answer a test with 404. "
            "No request was sent. Get a secret with `tts-receiver webhook register`."
        )
    token = read_id_token(id_token)
    request = provider.test_request(source_settings.account, token)
    try:
        test_id = provider.read_test(source_settings.account, fetch_response(source_settings, request))
    except ReceiverError as error:
        problem = str(request_failure(source, source_settings, error, token))
        raise ProviderRequestError(f"{problem} {_TEST_FAILED}" if isinstance(error, Invalid) else problem) from error
    if json:
        from receiver.web.api.command_models import WebhookTest

        print_model(WebhookTest(source=source, test_id=test_id))
        return
    echo(f"✓ The test {test_id} was delivered and answered 2xx.")
    echo("  It is an event of its own: `tts-receiver events list --type test` shows it.")


@dataclass(frozen=True, slots=True)
class _Registration:
    """A webhook to register, perhaps with a new signing secret.

    Attributes:
        path: of the file for signing secrets.
        known: whether the source already has a secret.
    """

    name: str
    url: str
    rotate: bool
    source: Source
    provider: RegisteringProvider
    path: Path
    known: bool

    def request(self, token: str) -> Request:
        """The request to the provider."""
        return self.provider.register_request(self.source.account, token, self.url, new_secret=self.rotate)


def _register(name: str, url: str, id_token: Path | None, config: Path | None, json: bool, *, rotate: bool) -> None:
    import asyncio

    from receiver.cli.pending_secrets import load_pending_secrets, no_secrets_file
    from receiver.cli.provider_request import ProviderRequestError, request_failure
    from receiver.cli.public_url import check_public
    from receiver.cli.secret_file import reserve
    from receiver.providers.protocols import RegisteringProvider
    from receiver.providers.types import ProviderError

    at = load_pending_secrets(config, name)
    source = at.source
    if not isinstance(source.provider, RegisteringProvider):
        raise ProviderRequestError(f"Source {name}: {source.provider_name} has no API to register a webhook.")
    if at.path is None:
        raise no_secrets_file(config, name)
    registration = _Registration(name, url, rotate, source, source.provider, at.path, at.known)
    if not source.allow_private_addresses:
        check_public(url)
    token = read_id_token(id_token)
    try:
        request = registration.request(token)
        with reserve(registration.path) as file:
            found = asyncio.run(_register_and_save(registration, request, file))
    except KeyboardInterrupt:
        echo_error(f"Interrupted. {_UNKNOWN}")
        raise
    except (ProviderError, UnusableAddress) as error:
        problem = request_failure(name, source, error, token)
        raise ProviderRequestError(f"{problem} {_UNKNOWN}" if _may_be_accepted(error) else str(problem)) from error
    _print_result(registration, found, at.settings, config, json)


_UNKNOWN = (
    "It is unknown whether the provider accepted the request; a secret that it made is lost. Repeat the command. "
    "Until then deliveries may be signed with a secret that is not configured here."
)


def _may_be_accepted(error: ReceiverError) -> bool:
    from receiver.providers.types import ProviderError, is_definite_refusal

    return isinstance(error, ProviderError) and not is_definite_refusal(error) and error.reason not in _NEVER_SENT


async def _register_and_save(registration: _Registration, request: Request, file: SecretFile) -> Registered:
    """Register, and save the secret in the same step, so that Ctrl-C cannot come between the two."""
    from receiver.cli.provider_request import request_once

    return _save_secret(registration, file, await request_once(registration.source, request))


def _save_secret(registration: _Registration, file: SecretFile, response: Response) -> Registered:
    from receiver.cli.provider_request import ProviderRequestError, request_failure
    from receiver.providers.types import ProviderError

    provider, account = registration.provider, registration.source.account
    try:
        found = provider.read_register(account, response)
    except ProviderError as error:
        if not 200 <= response.status <= 299:
            raise
        raise ProviderRequestError(
            f"{request_failure(registration.name, registration.source, error)} {_save_response(response)}"
        ) from error
    if found.secret is not None:
        file.prepend(found.secret)
    elif registration.rotate:
        raise ProviderRequestError(
            f"Source {registration.name}: {provider.name} accepted the address, but its response has no signing "
            f"secret; {registration.path} is unchanged. {_save_response(response)}"
        )
    elif not registration.known:
        raise ProviderRequestError(
            f"Source {registration.name}: {provider.name} accepted the address, but shows no signing secret: it "
            "shows it only once. `tts-receiver webhook rotate` requests a new one and stores it in "
            f"{registration.path}."
        )
    return found


def _save_response(response: Response) -> str:
    """Save the complete response: it may have a secret in an undocumented field. A sentence that says where it is."""
    from receiver.cli.secret_file import save_elsewhere

    path = save_elsewhere(response.body, "webhook-answer")
    if path is None:
        return "Its complete response could not be saved either."
    return f"Its complete response is in {path}, which only you can read: if it has a secret, configure that."


def _print_result(
    registration: _Registration, found: Registered, settings: Settings, config: Path | None, json: bool
) -> None:
    """Print the result as the configuration reads it, and the next step."""
    from receiver.cli.pending_secrets import load_pending_secrets

    try:
        keys = [key.id for key in load_pending_secrets(config, registration.name).source.signing_keys()]
        wrong = None
    except ConfigError as error:
        keys, wrong = [], error
    if json:
        from receiver.web.api.command_models import WebhookRegistration

        print_model(
            WebhookRegistration(
                source=registration.name,
                url=registration.url,
                new_secret=found.secret is not None,
                signing_secrets_file=str(registration.path),
                signing_secrets=keys,
            )
        )
    else:
        for line in _result_lines(registration, found, settings, keys):
            echo(line)
    if wrong is not None:
        raise wrong


def _result_lines(registration: _Registration, found: Registered, settings: Settings, keys: list[str]) -> list[str]:
    lines = [
        f"✓ {registration.provider.name} sends the deliveries of source {registration.name} to {registration.url}."
    ]
    wanted, given = settings.webhook_path(registration.name), urlsplit(registration.url).path
    if given not in (wanted, settings.server.root_path + wanted):
        lines.append(f"  ! This receiver listens at {wanted}: configure the proxy to forward {given or '/'} to it.")
    if found.secret is None:
        return [*lines, f"  The provider showed no secret; {', '.join(keys) or 'the configured one'} stays in use."]
    named = f"; it is called {keys[0]} here" if keys else ""
    lines.append(f"  The signing secret is in {registration.path}, which only you can read{named}.")
    lines.append("  A receiver reads it only at startup: start or restart it now.")
    if len(keys) > 1:
        hours = registration.provider.retry_window_seconds / 3600
        lines.append(
            f"  Still accepted: {', '.join(keys[1:])}; retries signed with it may arrive for {hours:.0f} more hours. "
            "`tts-receiver sources list` says when an old secret can be retired: then remove its line and restart."
        )
    return [*lines, f"  Next: `tts-receiver webhook test --source {registration.name}`."]
