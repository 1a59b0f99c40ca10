"""Further classes of hooks: one records every report, as a tracer would get it, and one is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from receiver.telemetry.hooks import EVENTS, SPANS, Telemetry, Token

ENDS = {end for ends in SPANS.values() for end in ends}


class Report(NamedTuple):
    """One call of a hook. `token` is what the call returned, or what it got."""

    hook: str
    token: str | None
    arguments: tuple[Any, ...]


class Recorder(Telemetry):
    """Keeps the reports in their order; a token is the hook that began and a number."""

    def __init__(self, notify: Callable[[], None] = lambda: None) -> None:
        self.reports: list[Report] = []
        self._notify = notify
        for hook in (*SPANS, *ENDS, *EVENTS):
            setattr(self, hook, self._recording(hook))

    def _recording(self, hook: str) -> Callable[..., str | None]:
        def begin(*arguments: Any) -> str:
            token = f"{hook} {sum(report.hook == hook for report in self.reports)}"
            self._keep(Report(hook, token, arguments))
            return token

        def end(token: str, *arguments: Any) -> None:
            self._keep(Report(hook, token, arguments))

        def happen(*arguments: Any) -> None:
            self._keep(Report(hook, None, arguments))

        return begin if hook in SPANS else end if hook in ENDS else happen

    def _keep(self, report: Report) -> None:
        self.reports.append(report)
        self._notify()

    @property
    def calls(self) -> list[tuple[str, str | None]]:
        """Hooks and tokens, in the order of the calls."""
        return [(report.hook, report.token) for report in self.reports]

    def arguments(self, hook: str) -> list[tuple[Any, ...]]:
        """What the calls of one hook reported."""
        return [report.arguments for report in self.reports if report.hook == hook]

    def unended(self) -> list[str | None]:
        """Tokens that have not ended exactly once."""
        ended = [report.token for report in self.reports if report.hook in ENDS]
        begun = [report.token for report in self.reports if report.hook in SPANS]
        return [token for token in begun if ended.count(token) != 1]


class Broken(Telemetry):
    """Raises in every hook."""

    def _raise(self, *arguments: Any) -> Token:
        raise RuntimeError("telemetry is broken")


for _hook in (*SPANS, *ENDS, *EVENTS):
    setattr(Broken, _hook, Broken._raise)
