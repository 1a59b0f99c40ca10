"""The options of the command `serve`. The module `serve` runs it, and imports everything that runs."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from receiver.cli.options import Config, Only, parse_role


def serve(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Public address, instead of server.host.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Public port, instead of server.port.")] = None,
    private_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Private port, instead of server.private_port.")
    ] = None,
    only: Only = None,
) -> None:
    """Receive deliveries and run handlers until SIGTERM or Ctrl-C."""
    survive_reload_signals()
    role = parse_role(only)
    if not role.receives and not (host is None and port is None):
        raise typer.BadParameter(f"A {role} has no public listener: remove --host and --port.", param_hint="--only")
    from receiver.cli.serve import serve as run
    from receiver.settings import load
    from receiver.settings.exposure import exposed_secrets

    settings = load(config)
    given = {"host": host, "port": port, "private_port": private_port}
    server = settings.server.model_copy(update={name: value for name, value in given.items() if value is not None})
    run(settings.model_copy(update={"server": server}), exposed_secrets(config), role)


def survive_reload_signals() -> None:
    """Ignore signals that make other programs reload, while modules are imported; later `serve` logs them."""
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, frame: None)
