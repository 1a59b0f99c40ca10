"""The public API for writing a provider: a pure module that builds requests to one kind of service and reads responses.

A provider implements `Provider` and the protocol of each thing that its service can do. `receiver.contract` has the
tests for it. Everything else in this package is internal.
"""

from __future__ import annotations

from receiver.errors import InvalidJson, MalformedDelivery
from receiver.model.delivery import Headers, Parsed
from receiver.model.event import COMPLETED, FAILED, TEST
from receiver.providers.audio_urls import AudioUrls, audio_payload
from receiver.providers.base import AudioRequest, header_word, origin_of, read_json_object, usable_word
from receiver.providers.fields import ErrorDetail, error_detail, pick, status_word, unwrap, web_addresses
from receiver.providers.outcomes import completed, failed, running, submitted
from receiver.providers.protocols import (
    HistoryProvider,
    PollingProvider,
    Provider,
    RegisteringProvider,
    StreamingProvider,
    SubmittingProvider,
    TaskProvider,
    VersionedProvider,
    VoicesProvider,
    WebhookProvider,
)
from receiver.providers.provider_errors import (
    GenerationFailed,
    InProgress,
    Invalid,
    KeyReused,
    OutOfCredits,
    ProviderError,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnknownJob,
)
from receiver.providers.registry import PROVIDERS, known_providers
from receiver.providers.requests import (
    bearer,
    get,
    key_header,
    path_segment,
    post_empty,
    post_form,
    post_json,
    put_json,
    with_query,
)
from receiver.providers.responses import (
    ErrorMapping,
    RequestContext,
    error_response,
    read_object,
    read_rows,
    unreadable_response,
)
from receiver.providers.tasks import JsonTasks, Task, task_request
from receiver.providers.types import (
    HISTORY_PAGE,
    Account,
    Capabilities,
    Ended,
    Registered,
    Request,
    Response,
    Running,
    Speech,
    Status,
    StreamedJob,
    Submitted,
    Voice,
    VoiceQuery,
)
from receiver.providers.validation import check_speech, check_webhook_address
from receiver.providers.voices import parse_voices

__all__ = [
    "COMPLETED",
    "FAILED",
    "HISTORY_PAGE",
    "PROVIDERS",
    "TEST",
    "Account",
    "AudioRequest",
    "AudioUrls",
    "Capabilities",
    "Ended",
    "ErrorDetail",
    "ErrorMapping",
    "GenerationFailed",
    "Headers",
    "HistoryProvider",
    "InProgress",
    "Invalid",
    "InvalidJson",
    "JsonTasks",
    "KeyReused",
    "MalformedDelivery",
    "OutOfCredits",
    "Parsed",
    "PollingProvider",
    "Provider",
    "ProviderError",
    "RateLimited",
    "Refused",
    "Registered",
    "RegisteringProvider",
    "Request",
    "RequestContext",
    "Response",
    "Running",
    "Speech",
    "Status",
    "StreamedJob",
    "StreamingProvider",
    "Submitted",
    "SubmittingProvider",
    "Task",
    "TaskProvider",
    "Unauthorized",
    "Unavailable",
    "UnknownJob",
    "VersionedProvider",
    "Voice",
    "VoiceQuery",
    "VoicesProvider",
    "WebhookProvider",
    "audio_payload",
    "bearer",
    "check_speech",
    "check_webhook_address",
    "completed",
    "error_detail",
    "error_response",
    "failed",
    "get",
    "header_word",
    "key_header",
    "known_providers",
    "origin_of",
    "parse_voices",
    "path_segment",
    "pick",
    "post_empty",
    "post_form",
    "post_json",
    "put_json",
    "read_json_object",
    "read_object",
    "read_rows",
    "running",
    "status_word",
    "submitted",
    "task_request",
    "unreadable_response",
    "unwrap",
    "usable_word",
    "web_addresses",
    "with_query",
]
