"""The models of what commands print that work beside the API: on files, at a provider, or as one.

They are in the API's document, as those of `setup_models` are.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue, RootModel

from receiver.model.file_kind import FileKind
from receiver.web.api.budgets import Amount
from receiver.web.api.fields import ResponseModel, SafeText
from receiver.web.api.models import Job

SignedAmount = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", description="A decimal number as text.")]


class SavedFile(ResponseModel):
    """A file that `speech` or `task submit` has saved."""

    path: Annotated[SafeText, Field(description="A file, or the address in the audio storage without `--output`.")]
    bytes: int
    sha256: str
    kind: FileKind
    content_type: str
    format: str
    duration_seconds: float | None
    sample_rate: Annotated[int | None, Field(description="Hz.")]
    channels: int | None


class SpeechResult(Job):
    """What `speech` did: the job, and its audio."""

    files: Annotated[list[SavedFile], Field(description="Empty if the job failed, or its audio was not saved.")]
    result: Annotated[
        JsonValue,
        Field(description="What the service reports beside its files, such as a transcript; null if nothing."),
    ]
    elapsed_seconds: Annotated[float, Field(description="From the start of the command to its end.")]
    error: Annotated[SafeText | None, Field(description="Why there are no files.")]


class SpeechBatch(ResponseModel):
    """What `speech --file` did."""

    total: Annotated[int, Field(description="Valid lines.")]
    completed: int
    failed: int
    unknown: Annotated[int, Field(description="Of those that failed: it is unknown whether they were charged for.")]
    remaining: Annotated[int, Field(description="Not finished.")]
    skipped: Annotated[int, Field(description="Invalid lines.")]
    chars_charged: Annotated[int | None, Field(description="For the lines that finished in this run, as reported.")]
    credits_used: Annotated[Amount | None, Field(description="Likewise.")]
    folder: SafeText
    report: SafeText


class AccountBalance(ResponseModel):
    """What a source's account has left, as the service says."""

    source: str
    balance: SignedAmount


class BalanceList(ResponseModel):
    """The balances of the sources that say where to find it."""

    items: list[AccountBalance]


class SpeechEstimate(ResponseModel):
    """What the service says that a speech would cost; nothing was submitted."""

    source: str
    estimate: SignedAmount
    characters: Annotated[int, Field(description="Of the text.")]


class WebhookRegistration(ResponseModel):
    """A webhook that was registered at a provider."""

    source: str
    url: str
    new_secret: Annotated[bool, Field(description="Whether the provider made a new signing secret.")]
    signing_secrets_file: SafeText
    signing_secrets: Annotated[list[str], Field(description="Their ids, the newest first.")]


class WebhookTest(ResponseModel):
    """A test delivery that was answered with success."""

    source: str
    test_id: Annotated[SafeText, Field(description="The provider's id of the delivery.")]


class SimulatedProvider(ResponseModel):
    """A provider that `simulate` runs: what the configuration of its source needs."""

    base_url: str
    api_key: str
    signing_secret: Annotated[str | None, Field(description="null: it sends no webhooks.")] = None
    id_token: Annotated[str | None, Field(description="Of the account's owner, to register the webhook.")] = None


class SimulatedProviders(RootModel[dict[str, SimulatedProvider]]):
    """The simulated providers, by name."""


OF_COMMANDS = (
    SpeechResult,
    SpeechBatch,
    BalanceList,
    SpeechEstimate,
    WebhookRegistration,
    WebhookTest,
    SimulatedProviders,
)
