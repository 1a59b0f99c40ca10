"""The jobs of all providers, in memory: no I/O. Ids depend on the seed alone."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .library import Audio, Library

FAILURE_MARKER = "[fail]"
AITTS = "aitts"
PROVIDERS = (AITTS, "audixa", "finevoice", "miragic")


class JobState(StrEnum):
    """A job's `status`. Provider's documentation: these four."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Submission:
    """The validated fields of a submit."""

    text: str
    voice_id: str
    output_format: str = "wav"
    sample_rate_hertz: int | None = None
    output_bitrate_kbps: int | None = None
    speed: float | None = None
    model_type: str | None = None
    webhook_url: str | None = None
    metadata: object = None
    parameters: Mapping[str, object] = field(default_factory=dict, hash=False)
    """Fields of the request that the documentation does not name."""


@dataclass(slots=True)
class Job:
    """One job of one provider."""

    id: str
    number: int
    submission: Submission
    audio: Audio
    created_at: float
    provider: str = AITTS
    kind: str = "speech"
    """The kind of task at finevoice: speech, separation, podcast, …"""
    additional_audio: tuple[Audio, ...] = ()
    """Further outputs of a task that has several."""
    documents: tuple[Audio, ...] = ()
    """The outputs of a task without audio."""
    transcript: str | None = None
    """What a task reports in its status, beside its outputs."""
    root_path: str = ""
    """The path under which the client reached the API, such as `/aitts`."""
    state: JobState = JobState.PENDING
    extra_characters: int = 0
    """Characters that are charged besides those of the text."""
    error: dict[str, str] | str | None = None
    ended_at: float | None = None
    visible_from: float = 0.0
    """From when on its id is known, unix seconds; earlier requests get 404."""
    audio_urls_issued: int = 0
    """How many addresses of its audio have been issued."""

    @property
    def chars_charged(self) -> int:
        """Characters charged: by default the length of the text."""
        return len(self.submission.text) + self.extra_characters

    @property
    def ended(self) -> bool:
        """Whether it has completed or failed."""
        return self.state in (JobState.COMPLETED, JobState.FAILED)

    @property
    def object_name(self) -> str:
        """The name of its audio at the storage origin."""
        return f"{self.id}{self.audio.suffix}"

    @property
    def objects(self) -> dict[str, Audio]:
        """All its outputs by their names at the storage origin."""
        if self.documents:
            return {f"{self.id}.{n}{file.suffix}": file for n, file in enumerate(self.documents, start=1)}
        additional = {f"{self.id}.{n}{audio.suffix}": audio for n, audio in enumerate(self.additional_audio, start=2)}
        return {self.object_name: self.audio} | additional

    @property
    def error_message(self) -> str:
        """The message of its error; empty if it has not failed."""
        if isinstance(self.error, dict):
            return self.error.get("message", "")
        return self.error or ""


class JobStore:
    """All jobs, in the order in which they were submitted."""

    def __init__(self, seed: int, library: Library, on_change: Callable[[], None] = lambda: None) -> None:
        self._seed = seed
        self._library = library
        self._on_change = on_change
        self._jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._jobs

    def __getitem__(self, job_id: str) -> Job:
        return self._jobs[job_id]

    def get(self, job_id: str) -> Job | None:
        """Return the job, or None if there is none with this id."""
        return self._jobs.get(job_id)

    def of(self, provider: str) -> list[Job]:
        """Return the jobs of one provider, in the order in which they were submitted."""
        return [job for job in self if job.provider == provider]

    def create(
        self,
        submission: Submission,
        now: float,
        *,
        provider: str = AITTS,
        kind: str = "speech",
        outputs: int = 1,
        root_path: str = "",
    ) -> Job:
        """Create a pending job at `now` (unix seconds); its audio is the next recording of the library."""
        number = len(self._jobs)
        rng = random.Random(f"{self._seed}:job:{number}")
        job = Job(
            id=str(uuid.UUID(int=rng.getrandbits(128), version=4)),
            number=number,
            submission=submission,
            audio=self._library.pick(submission.output_format, number),
            created_at=now,
            provider=provider,
            kind=kind,
            additional_audio=tuple(self._library.pick(submission.output_format, number + n) for n in range(1, outputs)),
            root_path=root_path,
        )
        self._jobs[job.id] = job
        self._on_change()
        return job

    def jitter(self, job: Job) -> float:
        """Return the factor, 0.75 to 1.25, of this job's duration."""
        return 0.75 + 0.5 * random.Random(f"{self._seed}:jitter:{job.number}").random()

    def process(self, job_id: str) -> Job:
        """Start a pending job."""
        job = self._jobs[job_id]
        if job.state is JobState.PENDING:
            job.state = JobState.PROCESSING
            self._on_change()
        return job

    def complete(self, job_id: str, now: float) -> Job:
        """Complete the job without a webhook; `Simulator.finish` also sends that."""
        return self._end(job_id, JobState.COMPLETED, now, None)

    def fail(self, job_id: str, now: float, error: dict[str, str] | str | None = None) -> Job:
        """Fail the job with `error`; the default is the documented `GENERATION_FAILED`."""
        default = {"code": "GENERATION_FAILED", "message": "The audio could not be generated."}
        return self._end(job_id, JobState.FAILED, now, default if error is None else error)

    def set_audio(self, job_id: str, audio: Audio) -> None:
        """Replace the job's audio, for instance by a `GeneratedWav`."""
        self._jobs[job_id].audio = audio
        self._on_change()

    def by_object(self, name: str) -> Job | None:
        """Return the completed job that has an output of this name, or None."""
        job = self._jobs.get(name.partition(".")[0])
        found = job is not None and job.state is JobState.COMPLETED and name in job.objects
        return job if found else None

    def _end(self, job_id: str, state: JobState, now: float, error: dict[str, str] | str | None) -> Job:
        job = self._jobs[job_id]
        job.state, job.error, job.ended_at = state, error, now
        self._on_change()
        return job
