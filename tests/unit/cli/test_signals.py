"""Signals that make other programs reload do not end this one, and ignored signals stay ignored."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from receiver.cli.serve import watch_signals
from receiver.cli.serve_command import survive_reload_signals
from receiver.cli.stop_signals import stop_signals
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio

RELOADS = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.fixture
def before() -> Iterator[None]:
    kept = {number: signal.getsignal(number) for number in (*RELOADS, signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", RELOADS)
async def test_a_signal_to_reload_is_logged_and_ignored(before: None, number: signal.Signals) -> None:
    stops: list[str] = []
    loop = asyncio.get_running_loop()
    with capture_logs() as logs:
        watch_signals(stops.append)
        signal.raise_signal(number)
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            while not stops:
                await asyncio.sleep(0)
    for handled in (*RELOADS, signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(handled)
    assert stops == ["SIGTERM"]
    assert [(line["event"], line["signal"]) for line in logs] == [("signal.ignored", number.name)]


async def test_what_nohup_ignores_stays_ignored(before: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    watch_signals(lambda name: None)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    for handled in (*RELOADS, signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().remove_signal_handler(handled)


async def test_a_signal_that_comes_while_everything_is_loaded_ends_nothing(before: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    survive_reload_signals()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_command_is_stopped_by_each_signal_that_ends_programs(before: None, number: signal.Signals) -> None:
    signal.signal(number, lambda *_: None)
    stopped_by: list[signal.Signals] = []
    with stop_signals(stopped_by.append):
        signal.raise_signal(number)
        async with asyncio.timeout(PATIENCE):
            while not stopped_by:
                await asyncio.sleep(0)
    assert stopped_by == [number]


async def test_a_signal_that_a_shell_ignores_for_the_background_stops_no_command(before: None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stopped_by: list[signal.Signals] = []
    with stop_signals(stopped_by.append):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            while not stopped_by:
                await asyncio.sleep(0)
    assert stopped_by == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
