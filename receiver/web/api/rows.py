"""Makes the API's models of rows of the store, without secrets: for responses, and for the JSON of commands."""

from __future__ import annotations

from typing import Any

from receiver.engine.replay import NotReplayable, reverify
from receiver.model.file_kind import kind_of_file
from receiver.model.json_body import document_of
from receiver.model.redact import Redactor
from receiver.model.redact_json import redact_json, redact_own_secrets
from receiver.model.timestamps import utc
from receiver.model.trace import trace_id
from receiver.providers import types
from receiver.providers.pass_through import show_options
from receiver.providers.protocols import WebhookProvider
from receiver.settings import Settings
from receiver.store.jobs import kind_of
from receiver.web.api.fields import optional_utc
from receiver.web.api.models import (
    Artifact,
    Attempt,
    EventDetail,
    HeaderLine,
    Job,
    Run,
    RunOfEvent,
    StoredAudio,
    Traceback,
    Voice,
)
from receiver.web.api.redaction import header_lines


def run_of(row: Any, redact: Redactor) -> RunOfEvent:
    """A row of `store.views.list_runs`."""
    times = {name: optional_utc(row[name]) for name in ("due_at", "started_at", "finished_at")}
    error = None if row["error"] is None else redact(row["error"])
    return RunOfEvent(**{**row, **times, "error": error, "result": redact_json(row["result"], redact)})


def job_of(row: Any, redact: Redactor) -> Job:
    """A row of the jobs table."""
    ended = row["state"] not in ("submitting", "watching")
    return Job(
        id=row["id"],
        kind=kind_of(row),
        source=row["source"],
        job_id=row["job_id"],
        state=row["state"],
        progress=row["progress"],
        created_at=utc(row["created_at"]),
        submitted_at=optional_utc(row["submitted_at"]),
        due_at=None if ended else optional_utc(row["due_at"]),
        deadline_at=utc(row["deadline_at"]),
        ended_at=optional_utc(row["ended_at"]),
        polls=row["polls"],
        streamed=bool(row["streamed"]),
        event_id=row["event_id"],
        error_code=row["error_code"],
        error=None if row["error"] is None else redact(row["error"]),
        chars_charged=row["chars_charged"],
        credits_used=row["credits_used"],
        request=redact_own_secrets(_shown_request(row["request"]), redact),
    )


def _shown_request(request: Any) -> Any:
    """What was submitted, without the texts of options and of a task's fields such as `api_key`."""
    if not request:
        return request
    return request | {name: show_options(request[name]) for name in ("options", "body") if name in request}


def voice_of(voice: types.Voice, redact: Redactor) -> Voice:
    """A voice that a provider listed."""
    same = {name: getattr(voice, name) for name in ("id", "name", "language", "gender", "model")}
    return Voice(**same, details=redact_json(dict(voice.details), redact))


def event_detail_of(row: Any, settings: Settings, redact: Redactor) -> EventDetail:
    """A row of `store.views.get_event`."""
    source = settings.sources.get(row["source"])
    provider = source.provider if source is not None else None
    unsigned = provider.kept_headers if isinstance(provider, WebhookProvider) else ()
    try:
        signature = "valid" if reverify(settings, row) else "cannot be checked"
    except NotReplayable:
        signature = "invalid"
    traced = settings.console.trace_url is not None
    summary = {name: row[name] for name in ("id", "source", "type", "job_id", "origin", "state", "duplicates")}
    return EventDetail(
        **summary,
        conflict=row["conflict"],
        edited_from=row["edited_from"],
        edited_to=row["edited_to"],
        received_at=utc(row["received_at"]),
        key_id=row["key_id"],
        skew=row["skew"],
        signature=signature,
        payload=redact_json(row["payload"], redact),
        headers=[HeaderLine(**line) for line in header_lines(row["headers"], unsigned, redact)],
        body=redact(row["body"].decode("utf-8", "backslashreplace")),
        document=redact_json(document_of(row["body"]), redact),
        runs=[_run(run, redact) for run in row["runs"]],
        attempts=[
            Attempt(
                handler=attempt["handler"],
                number=attempt["number"],
                started_at=utc(attempt["started"]),
                seconds=round(attempt["ended"] - attempt["started"], 6),
                outcome=attempt["outcome"],
                error=None if attempt["error"] is None else redact(attempt["error"]),
                **_why(attempt),
                trace_id=trace_id(row["id"], attempt["handler"], attempt["number"]) if traced else None,
            )
            for attempt in row["attempts"]
        ],
        artifacts=[artifact_of(artifact, settings) for artifact in row["artifacts"]],
    )


def _why(row: Any) -> dict[str, Any]:
    """Kind and reason of the error of a run or an attempt."""
    return {name: row[name] for name in ("error_kind", "reason")}


def _run(run: Any, redact: Redactor) -> Run:
    traced = run["traceback"]
    return Run(
        handler=run["handler"],
        state=run["state"],
        attempts=run["attempt"] - run["forgiven"],
        crashes=run["crashes"],
        due_at=utc(run["due_at"]),
        started_at=optional_utc(run["started_at"]),
        finished_at=optional_utc(run["finished_at"]),
        result=redact_json(run["result"], redact),
        error=None if run["error"] is None else redact(run["error"]),
        **_why(run),
        traceback=None if traced is None else Traceback(attempt=traced["attempt"], text=redact(traced["text"])),
    )


def stored_audio_of(row: Any, event: Any, settings: Settings) -> StoredAudio:
    """A row of the table of artifacts, with that of its event in `store.views.summaries`."""
    return StoredAudio(**dict(artifact_of(row, settings)), event_id=event["id"], **_names(event))


def _names(event: Any) -> dict[str, Any]:
    return {name: event[name] for name in ("source", "job_id")}


def artifact_of(row: Any, settings: Settings) -> Artifact:
    """A row of the table of artifacts."""
    return Artifact(
        n=row["n"],
        kind=kind_of_file(row["content_type"]),
        audio=f"{settings.server.root_path}/v1/events/{row['event_id']}/audio?n={row['n']}",
        address=row["address"],
        bytes=row["bytes"],
        sha256=row["sha256"],
        content_type=row["content_type"],
        format=row["format"],
        duration_seconds=row["duration"],
        sample_rate=row["sample_rate"],
        channels=row["channels"],
        fetched_at=utc(row["fetched_at"]),
        fetch_seconds=row["fetch_seconds"],
    )
