"""What a provider module implements: `Provider`, and one small protocol for each thing that its service can do.

A provider implements the protocols that apply to its service and has no methods of the others. The rest of the codebase
asks with `isinstance` what a provider can do. Every method is a pure function of its arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from receiver.model.delivery import Headers, Parsed
from receiver.providers.base import AudioRequest
from receiver.providers.tasks import Task
from receiver.providers.types import (
    Account,
    Capabilities,
    Invalid,
    Registered,
    Request,
    Response,
    Speech,
    Status,
    StreamedJob,
    Submitted,
    Voice,
    VoiceQuery,
)


class Provider(Protocol):
    """One kind of service. Stateless: everything about an account is an argument."""

    name: str
    base_url: str
    """The real service's address, the default of a source's `base_url`."""
    capabilities: Capabilities

    def audio_requests(
        self, base_url: str, api_key: str | None, job_id: str, payload: Mapping[str, Any]
    ) -> list[list[AudioRequest]]:
        """Return the files of a completed job, and for each file the requests that can fetch it, best first.

        The first file is the job's audio. The list is empty if the job has no audio; no file is without a request.
        """


@runtime_checkable
class VersionedProvider(Provider, Protocol):
    """A service whose API has several versions; each version is a provider of its own."""

    versions: Mapping[str, Provider]
    """The providers by `api_version`. The first one acts like this provider, which is used if none is configured."""


@runtime_checkable
class WebhookProvider(Provider, Protocol):
    """A service that sends signed webhooks."""

    scheme: str
    """The name of its signature scheme."""
    kept_headers: tuple[str, ...]
    """Lower-case names of the unsigned headers to store with an event."""
    retry_window_seconds: float
    """How long after the first attempt the service may still retry a delivery, seconds."""

    def parse_delivery(self, headers: Headers, body: bytes) -> Parsed:
        """Read a verified delivery.

        The body is signed, the headers are not. They may name a `test` where the body names no event, and decide
        nothing else.

        Raises:
            InvalidJson: the body is not JSON.
            MalformedDelivery: the body cannot be read as this provider's.
        """

    def delivery_headers(self, event: str, delivery_id: str) -> list[tuple[str, str]]:
        """Return the unsigned header lines that the service adds to a delivery."""

    def sample_body(
        self, event: str, job_id: str, created_at: str, metadata: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a body as the service would send it, for `tts-receiver send`.

        Raises:
            Invalid: metadata was given, and the service's deliveries of this event have none.
        """


@runtime_checkable
class PollingProvider(Provider, Protocol):
    """A service that reports the status of a job on request."""

    def status_request(self, account: Account, job_id: str) -> Request:
        """Build the request for one job's status."""

    def read_status(self, account: Account, job_id: str, response: Response) -> Status:
        """Read the response. An unknown status word means that the job is still running.

        Raises:
            ProviderError: the response is an error, or unreadable.
        """


@runtime_checkable
class SubmittingProvider(Provider, Protocol):
    """A service to which jobs can be submitted."""

    def submit_request(self, account: Account, speech: Speech, idempotency_key: str) -> Request:
        """Build the request for a speech job. The key is sent where `capabilities.idempotent_submit` says so.

        Raises:
            Invalid: the service does not accept something in the speech.
        """

    def read_submit(self, account: Account, response: Response) -> Submitted:
        """Read the response.

        Raises:
            ProviderError: the response is an error, or unreadable. `Unavailable` leaves open whether the job exists.
        """


@runtime_checkable
class StreamingProvider(SubmittingProvider, Protocol):
    """A service that delivers the audio of a job while it is being made.

    A request for such a job is not repeated: the engine assumes that the service supports no idempotency key for it.
    """

    def stream_request(self, account: Account, speech: Speech) -> Request:
        """Build the request for a speech job whose audio is streamed.

        Raises:
            Invalid: the service does not accept something in the speech, or not for a stream.
        """

    def read_stream(self, account: Account, response: Response) -> StreamedJob:
        """Read the response.

        Raises:
            ProviderError: as `SubmittingProvider.read_submit`.
        """


@runtime_checkable
class TaskProvider(PollingProvider, Protocol):
    """A service to which tasks of other kinds can be submitted, whose status is polled as that of speech."""

    def task_request(self, account: Account, task: Task, idempotency_key: str) -> Request:
        """Build the request for a task. The key is sent where `is_idempotent_task` says so.

        Raises:
            Invalid: the task cannot be sent.
        """

    def read_task(self, account: Account, response: Response) -> Submitted:
        """Read the response.

        Raises:
            ProviderError: as `SubmittingProvider.read_submit`.
        """

    def is_idempotent_task(self, task: Task) -> bool:
        """Return whether the request can be repeated under the same key without being charged twice."""


@runtime_checkable
class VoicesProvider(Provider, Protocol):
    """A service that lists its voices."""

    def voices_request(self, account: Account, query: VoiceQuery) -> Request:
        """Build the request for the list of voices.

        Raises:
            Invalid: the service cannot filter by this query.
        """

    def read_voices(self, account: Account, response: Response) -> list[Voice]:
        """Read the response; rows without a usable id are skipped.

        Raises:
            ProviderError: the response is an error, or unreadable.
        """


@runtime_checkable
class HistoryProvider(PollingProvider, Protocol):
    """A service that reports the status of many jobs in one response."""

    def history_request(self, account: Account, offset: int) -> Request:
        """Build the request for `HISTORY_PAGE` jobs, after the `offset` newest ones."""

    def read_history(self, account: Account, response: Response) -> dict[str, Status]:
        """Read the response: each job's status by its id, in the response's order; unreadable rows are skipped.

        An `Ended` has its own row as its `document`.

        Raises:
            ProviderError: the response is an error, or unreadable.
        """


@runtime_checkable
class RegisteringProvider(WebhookProvider, Protocol):
    """A service whose webhook address can be registered and tested through its API, with a user's ID token."""

    def register_request(self, account: Account, id_token: str, url: str, *, new_secret: bool) -> Request:
        """Build the request that registers the webhook address. The API key is not sent.

        Args:
            new_secret: ask for a new signing secret; the service then stops using the old one.

        Raises:
            Invalid: the service would not accept the address or the token.
        """

    def read_register(self, account: Account, response: Response) -> Registered:
        """Read the response.

        Raises:
            ProviderError: the response is an error, or unreadable.
        """

    def test_request(self, account: Account, id_token: str) -> Request:
        """Build the request for a test delivery to the registered address.

        Raises:
            Invalid: the service would not accept the token.
        """

    def read_test(self, account: Account, response: Response) -> str:
        """Read the response: the id of a test that was delivered.

        Raises:
            ProviderError: the response is an error (the test was not delivered), or unreadable.
        """


PROTOCOLS: Mapping[str, type] = {
    "webhooks": WebhookProvider,
    "polling": PollingProvider,
    "submit": SubmittingProvider,
    "streaming": StreamingProvider,
    "tasks": TaskProvider,
    "voices": VoicesProvider,
    "registers_webhooks": RegisteringProvider,
    "history": HistoryProvider,
}
"""The protocol of each capability, by the name that the documentation and the command line use."""


def describe_capabilities(provider: Provider) -> dict[str, Any]:
    """Return whether a provider has each capability of `PROTOCOLS`, and the values of its `Capabilities`."""
    implemented = {name: isinstance(provider, protocol) for name, protocol in PROTOCOLS.items()}
    return implemented | provider.capabilities.values()


def require_polling(provider: Provider) -> PollingProvider:
    """Return the provider if it reports the status of jobs.

    Raises:
        Invalid: it does not.
    """
    if isinstance(provider, PollingProvider):
        return provider
    raise Invalid(f"{provider.name} only sends webhooks; its jobs cannot be polled.")


def require_submitting(provider: Provider) -> SubmittingProvider:
    """Return the provider if jobs can be submitted to it.

    Raises:
        Invalid: they cannot; says what to do instead.
    """
    if isinstance(provider, SubmittingProvider):
        return provider
    raise Invalid(
        f"Jobs cannot be submitted to provider {provider.name!r} by the receiver. Submit them to the service yourself, "
        "and watch them with `tts-receiver jobs watch`."
    )


def require_streaming(provider: Provider) -> StreamingProvider:
    """Return the provider if it streams the audio of jobs.

    Raises:
        Invalid: it does not; says what to do instead.
    """
    if isinstance(provider, StreamingProvider):
        return provider
    raise Invalid(f"{provider.name} does not stream audio while it is made: submit the speech without streaming.")


def require_tasks(provider: Provider) -> TaskProvider:
    """Return the provider if tasks can be submitted to it; raise Invalid if they cannot."""
    if isinstance(provider, TaskProvider):
        return provider
    raise Invalid(f"The provider module {provider.name!r} cannot submit tasks.")


def require_history(provider: Provider) -> HistoryProvider:
    """Return the provider if it has a history.

    Raises:
        Invalid: it has none.
    """
    if isinstance(provider, HistoryProvider):
        return provider
    raise Invalid(f"{provider.name} has no history; each job is polled on its own.")


def require_webhooks(provider: Provider) -> WebhookProvider:
    """Return the provider if it sends webhooks.

    Raises:
        Invalid: it does not.
    """
    if isinstance(provider, WebhookProvider):
        return provider
    raise Invalid(f"{provider.name} sends no webhooks; its jobs are polled.")


def require_voices(provider: Provider) -> VoicesProvider:
    """Return the provider if it lists its voices.

    Raises:
        Invalid: it does not; names the voices that are known.
    """
    if isinstance(provider, VoicesProvider):
        return provider
    known = provider.capabilities.known_voices
    hint = f"known voices: {', '.join(known)}" if known else "see the service's own pages"
    raise Invalid(f"{provider.name} has no list of voices; {hint}.")


def require_registering(provider: Provider) -> RegisteringProvider:
    """Return the provider if its webhook can be registered and tested through its API.

    Raises:
        Invalid: it cannot; says what to do instead.
    """
    if isinstance(provider, RegisteringProvider):
        return provider
    require_webhooks(provider)
    raise Invalid(f"{provider.name} has no API for webhook addresses; set the address on the service's own pages.")
