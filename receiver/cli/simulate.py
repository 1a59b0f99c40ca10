"""`simulate`: run simulators of the four providers, to develop against."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import signal
from dataclasses import fields
from operator import itemgetter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.cli.id_token import VARIABLE
from receiver.cli.text_output import echo, print_model_line
from receiver.errors import ReceiverError

if TYPE_CHECKING:
    from receiver.simulator import Faults, Simulator

DEFAULT_PORT = 8765
RECEIVER_URL = "http://127.0.0.1:8080/webhooks/aitts"
"""Where a receiver with the default configuration accepts deliveries."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SimulateError(ReceiverError):
    """The simulator cannot be started."""

    reason = "simulate"


def simulate(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the APIs; 0: any free port.")] = DEFAULT_PORT,
    storage_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the audio storage; 0: any free port.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the ids and the random faults.")] = 7,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", metavar="NAME=RATE", help="A fault and its rate from 0 to 1; repeatable."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print one line of JSON.")] = False,
    webhook_url: Annotated[str | None, typer.Option(help="Where aitts sends its webhooks.")] = None,
) -> None:
    """Run simulators of all four providers until Ctrl-C, each under its own base URL."""
    import asyncio

    from receiver.simulator import Simulator

    simulator = Simulator(
        seed, faults=read_faults(fault or []), webhook_url=webhook_url, port=port, storage_port=storage_port
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(simulator, json_))


def read_faults(given: list[str]) -> Faults:
    """The faults that `NAME=RATE` options describe; `clock_skew` is in seconds, the others are rates.

    Raises:
        typer.BadParameter: there is no such fault (the message has the nearest name), or the rate is invalid.
    """
    from receiver.simulator import Faults

    known = [field.name for field in fields(Faults)]
    rates: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        name = name.strip().replace("-", "_")
        if name not in known:
            from receiver.settings import suggestion

            raise typer.BadParameter(f"--fault: there is no fault {name!r}{suggestion(name, known)}")
        try:
            rates[name] = float(number)
        except ValueError:
            raise typer.BadParameter(f"--fault {text}: write {name}=RATE, a number from 0 to 1.") from None
        if not math.isfinite(rates[name]):
            raise typer.BadParameter(f"--fault {text}: {number} is not a finite number.")
    try:
        return Faults(**rates)
    except ValueError as error:
        raise typer.BadParameter(f"--fault: {error}.") from None


def describe(simulator: Simulator) -> dict[str, dict[str, str]]:
    """Each running provider's base URL and key; for aitts also the signing secret and the ID token."""
    described = {
        provider: {"base_url": base_url, "api_key": simulator.api_keys[provider]}
        for provider, base_url in simulator.base_urls.items()
    }
    described["aitts"] |= {"signing_secret": simulator.signing_secret, "id_token": simulator.id_token}
    return described


async def _run(simulator: Simulator, as_json: bool) -> None:
    import asyncio

    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    async with contextlib.AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(simulator)
        except OSError as error:
            raise SimulateError(f"The simulator cannot listen: {error.strerror}. Name another --port.") from None
        for number in SIGNALS:
            # where the loop cannot watch signals, Ctrl-C still ends it
            with contextlib.suppress(NotImplementedError):
                loop.add_signal_handler(number, stop.set)
                stack.callback(loop.remove_signal_handler, number)
        described = describe(simulator)
        if as_json:
            from receiver.web.api.command_models import SimulatedProviders

            print_model_line(SimulatedProviders.model_validate(described))
        else:
            _print(simulator, described)
        await stop.wait()


def _print(simulator: Simulator, described: dict[str, dict[str, Any]]) -> None:
    from receiver.cli.lists import print_table
    from receiver.cli.table_layout import Column

    rows = [(provider, row["base_url"], row["api_key"]) for provider, row in described.items()]
    print_table(
        [Column(name, itemgetter(index)) for index, name in enumerate(("provider", "base URL", "API key"))], rows
    )
    url = simulator.webhook_url or RECEIVER_URL
    # Not with rich, which would break lines that the user copies.
    text = (
        f"Webhooks of aitts are signed with {simulator.signing_secret}\n"
        f"and sent to {simulator.webhook_url or 'the webhook_url of each job'}.\n\n"
        f"In receiver.toml (the other providers likewise, without the last line):\n\n"
        f"{_source_table(described['aitts'])}\n"
        "Then, in the same folder, register the webhook, as the owner of the account does at the real provider:\n\n"
        f"{VARIABLE}={shlex.quote(simulator.id_token)} "
        f"tts-receiver webhook register --source aitts --url {shlex.quote(url)}\n\n"
        "A text with [fail] in it makes a job fail. Ctrl-C stops the simulators."
    )
    echo(*text.split("\n"))


def _source_table(aitts: dict[str, Any]) -> str:
    """The table of a source for the simulated aitts."""
    return (
        f'[sources.aitts]\nprovider = "aitts"\nbase_url = {json.dumps(aitts["base_url"])}\n'
        f"api_key = {json.dumps(aitts['api_key'])}\nallow_private_addresses = true\n"
        'signing_secrets_file = "aitts.secrets"\n'
    )
