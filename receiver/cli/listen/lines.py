"""The lines that `listen` prints: what it does at the start, one for each event, and its counts at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import chop_cells

from receiver.cli.event_lines import INDENT, WIDTH, fit, short_job_id, time_of_day, wrap
from receiver.cli.listen.stream import StreamEvent
from receiver.cli.listen.target import Answer
from receiver.model.timestamps import utc_text


@dataclass
class Counts:
    """What it has done so far."""

    accepted: int = 0
    repeated: int = 0
    gone: int = 0
    skipped: int = 0
    quarantined: int = 0
    deleted: int = 0
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Introduction:
    """What is printed first.

    Attributes:
        secret: the secret and where it is kept, or only where.
        begins: with which events it begins.
    """

    remote: str
    forward: str
    secret: Sequence[str]
    begins: str


def introduction_lines(what: Introduction) -> list[str]:
    """From where to where, the secret, and with which events it begins."""
    return [
        f"Receiver  {what.remote}",
        f"Forward   {what.forward}",
        f"Secret    {what.secret[0]}",
        *(f"          {line}" for line in what.secret[1:]),
        f"Events    {what.begins}",
        "Each event is handed over until it is answered 2xx or 410. Ctrl-C stops.",
        "",
    ]


def answer_line(event: StreamEvent, at: float, answer: Answer, attempt: int, note: str) -> str:
    """An answer of the local application.

    Args:
        at: unix seconds.
        note: what else is to be said; may be empty.
    """
    mark = "✓" if answer.is_accepted else "-" if answer.is_final else "!"
    facts = [_answered(answer), f"attempt {attempt}" if attempt > 1 else "", note]
    return fit(f"{mark} {_names(event, at)}  {', '.join(filter(None, facts))}")


def detail_lines(answer: Answer) -> list[str]:
    """What the application says, or why there was no answer."""
    width = WIDTH - len(INDENT)
    return [f"{INDENT}{part}" for line in wrap(answer.detail, "", width) for part in chop_cells(line, width)]


def retry_lines(event: StreamEvent) -> list[str]:
    """What happens to an event that was not accepted."""
    return wrap(
        "  It is handed over until it is accepted, and later events wait for it. To pass it over, "
        f"start again with --skip {event.id}"
    )


def passed_line(event: StreamEvent, at: float, why: str) -> str:
    """An event that is not handed over."""
    return fit(f"- {_names(event, at)}  {why}")


def waiting_line(event: StreamEvent, at: float) -> str:
    """An event whose audio is being fetched."""
    return fit(f"… {_names(event, at)}  the receiver is fetching its audio")


def summary(counts: Counts) -> str:
    """All counts, of which those that are rare only if they are not zero."""
    facts = [f"events: {counts.accepted:,}", f"repeated attempts: {counts.repeated:,}"]
    rare = {
        "answered 410": counts.gone,
        "skipped": counts.skipped,
        "in quarantine": counts.quarantined,
        "deleted before": counts.deleted,
        "possible gaps": counts.gaps,
    }
    facts += [f"{name}: {count:,}" for name, count in rare.items() if count]
    return f"Stopped. {', '.join(facts).capitalize()}."


def resumes_after(position: str, complete_until: float, *, is_event: bool) -> str:
    """With which events it begins, if it has begun before."""
    if is_event:
        return f"after {position}"
    return f"since {utc_text(complete_until)}"


def _names(event: StreamEvent, at: float) -> str:
    names = [time_of_day(at), event.type, event.source]
    return " ".join(names if event.job_id is None else [*names, short_job_id(event.job_id)])


def _answered(answer: Answer) -> str:
    if answer.status is None:
        return "no answer"
    return f"{answer.status} in {answer.seconds * 1000:,.0f} ms"
