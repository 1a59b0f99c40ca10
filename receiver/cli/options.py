"""Options that several commands share, and the parsing of their values."""

from __future__ import annotations

import difflib
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from receiver.model.event import Origin
from receiver.model.metadata import Pair, parse_pairs
from receiver.model.role import Role
from receiver.store.states import EVENT_STATES

if TYPE_CHECKING:
    from receiver.store.event_pages import Filter

MAX_LIMIT = 1_000_000_000
"""More than a store holds, and within the range of SQLite's integers."""

DEFAULT_API = "http://127.0.0.1:8081"
"""The private listener of a receiver on this machine, as configured by default."""

TIME_FORMS = "an age (30m, 2h, 3d) or an ISO time"

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The TOML file. Default: $TTS_RECEIVER_CONFIG, else ./receiver.toml."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV, with the names and values of --json.")]
All = Annotated[bool, typer.Option("--all", help="Everything that matches, whatever --limit says.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]
Source = Annotated[str | None, typer.Option("--source", help="Only of this source.")]
Type = Annotated[str | None, typer.Option("--type", help="Only of this event type, such as job.completed.")]
Job = Annotated[str | None, typer.Option("--job", help="Only of this job id.")]
Since = Annotated[str | None, typer.Option("--since", help=f"Received since: {TIME_FORMS}.")]
Until = Annotated[str | None, typer.Option("--until", help=f"Received before: {TIME_FORMS}.")]
Handler = Annotated[str | None, typer.Option("--handler", help="Only of this handler.")]
ErrorKind = Annotated[
    str | None, typer.Option("--error-kind", help="Only with an error of this kind, such as rejected or KeyError.")
]
Reason = Annotated[str | None, typer.Option("--reason", help="Only with an error for this reason; '': without one.")]
Metadata = Annotated[
    list[str] | None,
    typer.Option(
        "--metadata",
        metavar="KEY=VALUE",
        help="Only with this value in the metadata; repeatable: all must match. search.metadata names the keys.",
    ),
]
After = Annotated[
    str | None,
    typer.Option("--after", help="Only events after this one, by its id or a unique beginning."),
]
ErrorText = Annotated[
    str | None,
    typer.Option(
        "--error-text",
        help="Dead runs whose error has all these words, in any case. Reads up to 10,000 errors, and says where it "
        "stopped.",
    ),
]
Before = Annotated[
    str | None,
    typer.Option("--before", help="Only what is listed after this one: an id, its beginning, or a page's `next`."),
]
Oldest = Annotated[bool, typer.Option("--oldest", help="Begin with the oldest.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=MAX_LIMIT, help="At most this many.")]
EventState = Annotated[str | None, typer.Option("--state", help=f"Only in this state: {', '.join(EVENT_STATES)}.")]
ORIGINS = tuple(str(origin) for origin in Origin)
EventOrigin = Annotated[str | None, typer.Option("--origin", help=f"Only those received so: {', '.join(ORIGINS)}.")]

Only = Annotated[
    str | None,
    typer.Option(
        "--only", help="intake: receive deliveries. worker: do all other work. Default: both, in one process."
    ),
]

_AGE = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)([smhd])\Z")
_EVENT_ID = re.compile(r"evt_[0-9a-f]{32}\Z")
EXAMPLE = "2026-11-26T08:00"
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_time(text: str | None, option: str) -> float | None:
    """Unix seconds of an age or an ISO time (UTC if it has no zone).

    Raises:
        typer.BadParameter: the text is neither.
    """
    if text is None:
        return None
    if match := _AGE.match(text.strip()):
        return time.time() - float(match[1]) * _UNITS[match[2]]
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        what = f"{option}: {text!r} is neither an age such as 2h nor an ISO time such as {EXAMPLE}."
        raise typer.BadParameter(what) from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def parse_range(since: str | None, until: str | None) -> tuple[float | None, float | None]:
    """Unix seconds of `--since` and `--until`.

    Raises:
        typer.BadParameter: one is invalid, or nothing can be between them.
    """
    after, before = parse_time(since, "--since"), parse_time(until, "--until")
    if after is not None and before is not None and after >= before:
        raise typer.BadParameter(f"--since {since} is later than --until {until}.")
    return after, before


def check_event_id(text: str | None, option: str) -> str | None:
    """The text, if it is a complete event id.

    Raises:
        typer.BadParameter: it is not.
    """
    if text is not None and not _EVENT_ID.match(text):
        raise typer.BadParameter(f"{option}: {text!r} is not a complete event id, evt_ and 32 hex digits.")
    return text


def check_choice(text: str | None, known: tuple[str, ...], option: str) -> str | None:
    """The text, if it is one of the known words.

    Raises:
        typer.BadParameter: it is not.
    """
    if text is not None and text not in known:
        near = difflib.get_close_matches(text, known, n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise typer.BadParameter(f"{option}: {text!r} is none of {', '.join(known)}.{hint}")
    return text


def parse_role(only: str | None) -> Role:
    """The role that `--only` names; without it a process does everything.

    Raises:
        typer.BadParameter: it names none.
    """
    if only is None:
        return Role.ALL
    if only not in (Role.INTAKE, Role.WORKER):
        what = f"--only: {only!r} is neither intake nor worker. Leave --only out to do the work of both in one process."
        raise typer.BadParameter(what)
    return Role(only)


def parse_key_values(pairs: list[str] | None, option: str) -> dict[str, str] | None:
    """The values of `KEY=VALUE` options by key; None if there are none.

    Raises:
        typer.BadParameter: an option does not have this form.
    """
    found = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE.", param_hint=option)
        found[key] = value
    return found or None


def parse_options(pairs: list[str] | None, option: str = "--option") -> dict[str, Any] | None:
    """The values of `KEY=VALUE` options that may be JSON: a value that is not is a text.

    Raises:
        typer.BadParameter: an option does not have this form, or its value begins as an object, a list or a text in
            quotation marks does, and is not JSON.
    """
    from receiver.errors import InvalidJson
    from receiver.model.json_body import read_strict_json

    found: dict[str, Any] = {}
    for name, text in (parse_key_values(pairs, option) or {}).items():
        try:
            found[name] = read_strict_json(text.encode())
        except (InvalidJson, UnicodeEncodeError):
            if text.lstrip().startswith(("{", "[", '"')):
                what = f"the value of {name} is not JSON. A text that begins so is put in quotation marks: "
                raise typer.BadParameter(what + f"'{name}=\"[happy] Hello\"'.", param_hint=option) from None
            found[name] = text
    return found or None


def parse_metadata(pairs: list[str] | None) -> tuple[Pair, ...]:
    """The pairs that `--metadata` options name.

    Raises:
        typer.BadParameter: one does not have the form, or there are too many.
    """
    try:
        return parse_pairs(pairs or ())
    except ValueError as error:
        raise typer.BadParameter(f"{error}.", param_hint="--metadata") from None


def event_filter(
    source: str | None, type_: str | None, state: str | None, job: str | None, since: str | None, until: str | None,
    error_kind: str | None = None, reason: str | None = None,
    metadata: list[str] | None = None,
) -> Filter:  # fmt: skip
    """The filter that the options of the events commands describe.

    Raises:
        typer.BadParameter: an option is invalid, or no event can match.
    """
    from receiver.store.event_pages import Filter

    after, before = parse_range(since, until)
    return Filter(
        source=source,
        type=type_,
        state=check_choice(state, EVENT_STATES, "--state"),
        job=job,
        after=after,
        before=before,
        error_kind=error_kind,
        reason=reason,
        metadata=parse_metadata(metadata),
    )
