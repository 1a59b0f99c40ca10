"""Every operation of the API: the source of the routes, the validation and the OpenAPI document."""

from __future__ import annotations

from receiver.model.audit import AuditOperation
from receiver.web.api.artifacts import list_artifacts
from receiver.web.api.audio import get_audio
from receiver.web.api.audio_audit import AudioAudit, audit_audio
from receiver.web.api.bulk import (
    cancel_runs,
    get_operation,
    list_operations,
    release_events,
    replay_events,
    replay_runs,
    resume_operation,
    retry_runs,
    stop_operation,
)
from receiver.web.api.bulk_models import BulkOperation, BulkOperationPage, DryRun
from receiver.web.api.changes import list_changes
from receiver.web.api.counts import Counts, get_counts
from receiver.web.api.events import edit, get_event, list_events, replay
from receiver.web.api.jobs import cancel_job, get_job, list_jobs, watch_job
from receiver.web.api.models import (
    ChangePage,
    Edited,
    EventDetail,
    EventPage,
    Job,
    JobPage,
    Replayed,
    RunErrors,
    RunPage,
    StoredAudioPage,
    VoiceList,
)
from receiver.web.api.operations import Operation, ResponseSpec
from receiver.web.api.runs import list_run_errors, list_runs
from receiver.web.api.series import HandlerStatsList, SeriesList, list_handler_stats, list_series
from receiver.web.api.setup import list_processes, list_sources
from receiver.web.api.setup_models import ProcessList, SourceList
from receiver.web.api.speech import speak
from receiver.web.api.status import Status, get_status
from receiver.web.api.stream import MEDIA_TYPE, stream
from receiver.web.api.tasks import submit_task
from receiver.web.api.usage import UsageList, list_usage
from receiver.web.api.voices import list_voices

_LOCATION = {"Location": "The job's path."}
_RANGED = {"ETag": "The SHA-256, in quotes.", "Accept-Ranges": "`bytes`", "Content-Disposition": "A file name."}
_NO_SOURCE = "There is no such source."
_NOT_INDEXED = {422: "The metadata is not indexed by this key; the detail says what to do."}
_NO_HANDLER = "There is no such source, event type or handler; the detail names the nearest."
_NO_NAME = {404: "There is no such source or event type; the detail names the nearest."}

_ACCEPTED = {
    202: ResponseSpec("The operation: done in the background.", BulkOperation, headers={"Location": "Its path."}),
    200: ResponseSpec("What matches, for `dry_run`.", DryRun),
}
_NO_SUCH = {404: _NO_HANDLER, **_NOT_INDEXED}
_SUBMITTED = {202: ResponseSpec("The job: submitted, or about to be.", Job, headers=_LOCATION)}
_NOT_SUBMITTED = {
    402: "The account at the service cannot pay.",
    404: _NO_SOURCE,
    422: "The service does not accept it, or the idempotency key belongs to another request, or the text alone exceeds "
    "the source's daily budget.",
    429: "The source's budget of this day (UTC) has no place for it; see `budget` and `Retry-After`.",
    502: "The service refused the API key, or it is unknown whether it accepted the job.",
}

ROUTES = (
    Operation(
        "POST",
        "/v1/speech",
        speak,
        "Submit speech",
        "speech",
        {
            **_SUBMITTED,
            200: ResponseSpec(
                "The job that this idempotency key created before; or, for `stream`, the audio while it is made.",
                Job,
                "audio/*",
                headers={**_LOCATION, "Job-Id": "The job's id, where the response is audio."},
            ),
        },
        _NOT_SUBMITTED,
    ),
    Operation(
        "POST",
        "/v1/tasks",
        submit_task,
        "Submit a task of any kind",
        "speech",
        _SUBMITTED | {200: ResponseSpec("The job that this idempotency key created before.", Job, headers=_LOCATION)},
        _NOT_SUBMITTED,
    ),
    Operation(
        "GET",
        "/v1/voices",
        list_voices,
        "List voices",
        "speech",
        {200: ResponseSpec("The matching voices.", VoiceList)},
        {
            404: _NO_SOURCE,
            422: "The service has no list of voices, or does not support a filter.",
            429: "The service limits requests; see `Retry-After`.",
            502: "The request to the service failed, or its response cannot be read.",
        },
    ),
    Operation(
        "POST",
        "/v1/jobs",
        watch_job,
        "Watch a job",
        "jobs",
        {
            201: ResponseSpec("The job is watched from now on.", Job, headers=_LOCATION),
            200: ResponseSpec("The job was known before.", Job, headers=_LOCATION),
        },
        {404: _NO_SOURCE, 422: "The source cannot poll jobs, or the id is invalid."},
    ),
    Operation(
        "GET",
        "/v1/jobs",
        list_jobs,
        "List jobs",
        "jobs",
        {200: ResponseSpec("A page of jobs.", JobPage)},
        {404: _NO_SOURCE, **_NOT_INDEXED},
    ),
    Operation("GET", "/v1/jobs/{id}", get_job, "Show a job", "jobs", {200: ResponseSpec("The job.", Job)}),
    Operation(
        "DELETE",
        "/v1/jobs/{id}",
        cancel_job,
        "Cancel a job",
        "jobs",
        {200: ResponseSpec("The job, cancelled.", Job)},
        {409: "It has ended, or is being submitted."},
    ),
    Operation(
        "GET",
        "/v1/usage",
        list_usage,
        "Show what was used by day",
        "jobs",
        {200: ResponseSpec("What was used.", UsageList)},
        {404: _NO_SOURCE},
    ),
    Operation(
        "GET",
        "/v1/events",
        list_events,
        "List events",
        "events",
        {200: ResponseSpec("A page of events.", EventPage)},
        {**_NO_NAME, **_NOT_INDEXED},
    ),
    Operation(
        "POST",
        "/v1/events/replay",
        replay_events,
        "Replay all events that match",
        "events",
        _ACCEPTED,
        _NO_SUCH,
        AuditOperation.REPLAY,
    ),
    Operation(
        "POST",
        "/v1/events/release",
        release_events,
        "Release all events that match",
        "events",
        _ACCEPTED,
        _NO_SUCH,
        AuditOperation.RELEASE,
    ),
    Operation(
        "GET", "/v1/events/{id}", get_event, "Show an event", "events", {200: ResponseSpec("The event.", EventDetail)}
    ),
    Operation(
        "POST",
        "/v1/events/{id}/replay",
        replay,
        "Run an event's handlers again",
        "events",
        {202: ResponseSpec("Whose runs are due now.", Replayed)},
        {409: "It is in quarantine, a handler is not active, or its stored body no longer matches its signature."},
    ),
    Operation(
        "POST",
        "/v1/events/{id}/edit",
        edit,
        "Edit an event and replay it",
        "events",
        {
            201: ResponseSpec("The new event.", Edited, headers={"Location": "Its path."}),
            200: ResponseSpec(
                "The event that this idempotency key made before.", Edited, headers={"Location": "Its path."}
            ),
        },
        {
            409: "It is in quarantine, a handler is not active, its stored body no longer matches its signature, or "
            "nothing was edited.",
            422: "The payload is too large, a `[redacted]` in it is none of the event's, or the idempotency key "
            "belongs to another edit.",
        },
    ),
    Operation(
        "GET",
        "/v1/events/{id}/audio",
        get_audio,
        "Fetch an event's audio",
        "events",
        {
            200: ResponseSpec("The whole file.", media_type="*/*", headers=_RANGED),
            206: ResponseSpec(
                "The requested range.",
                media_type="*/*",
                headers={"Content-Range": "The range and the length of the file.", **_RANGED},
            ),
        },
        {
            404: "There is no such event or file, or no handler has fetched it yet.",
            416: "The range begins after the end.",
            502: "The storage cannot be read.",
        },
    ),
    Operation(
        "GET",
        "/v1/runs",
        list_runs,
        "List runs",
        "runs",
        {200: ResponseSpec("A page of runs.", RunPage)},
        {404: _NO_HANDLER, **_NOT_INDEXED},
    ),
    Operation(
        "GET",
        "/v1/runs/errors",
        list_run_errors,
        "Count failed runs by their errors",
        "runs",
        {200: ResponseSpec("The largest groups of failed runs.", RunErrors)},
        _NO_SUCH,
    ),
    Operation("POST", "/v1/runs/replay", replay_runs, "Replay all runs that match", "runs", _ACCEPTED, _NO_SUCH),
    Operation("POST", "/v1/runs/retry-now", retry_runs, "Retry all runs that match", "runs", _ACCEPTED, _NO_SUCH),
    Operation("POST", "/v1/runs/cancel", cancel_runs, "Cancel all runs that match", "runs", _ACCEPTED, _NO_SUCH),
    Operation(
        "GET",
        "/v1/operations",
        list_operations,
        "List operations",
        "operations",
        {200: ResponseSpec("A page of operations.", BulkOperationPage)},
    ),
    Operation(
        "GET",
        "/v1/operations/{id}",
        get_operation,
        "Show an operation's progress",
        "operations",
        {200: ResponseSpec("The operation.", BulkOperation)},
    ),
    Operation(
        "POST",
        "/v1/operations/{id}/stop",
        stop_operation,
        "Stop an operation",
        "operations",
        {200: ResponseSpec("The operation.", BulkOperation)},
    ),
    Operation(
        "GET",
        "/v1/audio/audit",
        audit_audio,
        "Compare completed jobs with the stored audio",
        "audio",
        {200: ResponseSpec("What is missing among so many jobs.", AudioAudit)},
        {502: "The storage cannot be read."},
    ),
    Operation(
        "POST",
        "/v1/operations/{id}/resume",
        resume_operation,
        "Resume an operation",
        "operations",
        {200: ResponseSpec("The operation.", BulkOperation)},
    ),
    Operation(
        "GET",
        "/v1/artifacts",
        list_artifacts,
        "List stored audio",
        "audio",
        {200: ResponseSpec("A page of files.", StoredAudioPage)},
    ),
    Operation(
        "GET",
        "/v1/sources",
        list_sources,
        "List sources",
        "status",
        {200: ResponseSpec("The configured sources.", SourceList)},
    ),
    Operation(
        "GET",
        "/v1/processes",
        list_processes,
        "List processes",
        "status",
        {200: ResponseSpec("The processes.", ProcessList)},
    ),
    Operation("GET", "/v1/status", get_status, "Show the status", "status", {200: ResponseSpec("The status.", Status)}),
    Operation(
        "GET",
        "/v1/series",
        list_series,
        "Show counts over time",
        "status",
        {200: ResponseSpec("The largest series.", SeriesList)},
        {404: _NO_HANDLER, 422: "The time has too many steps, or this is not counted by source, or by handler."},
    ),
    Operation(
        "GET",
        "/v1/handlers/stats",
        list_handler_stats,
        "Show failures and durations by handler",
        "status",
        {200: ResponseSpec("Every handler that had attempts.", HandlerStatsList)},
    ),
    Operation(
        "GET",
        "/v1/counts",
        get_counts,
        "Count what has not ended well",
        "status",
        {200: ResponseSpec("The counts.", Counts)},
    ),
    Operation(
        "GET",
        "/v1/changes",
        list_changes,
        "List changes",
        "changes",
        {200: ResponseSpec("A page of changes.", ChangePage)},
    ),
    Operation(
        "GET",
        "/v1/stream",
        stream,
        "Follow new events",
        "events",
        {200: ResponseSpec("Server-sent events, until the client or the receiver ends.", media_type=MEDIA_TYPE)},
        {**_NO_NAME, **_NOT_INDEXED},
    ),
)
