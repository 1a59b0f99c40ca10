"""The jobs of all providers: pure state, no I/O. Ids and order come from the seed alone."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from .library import Audio, Library

FAIL_MARK = "[fail]"
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
    """What a submit asked for, already validated."""

    text: str
    voice_id: str
    output_format: str = "wav"
    sample_rate_hertz: int | None = None
    output_bitrate_kbps: int | None = None
    speed: float | None = None
    model_type: str | None = None
    webhook_url: str | None = None
    metadata: object = None


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
    """What finevoice calls the task: speech, separation, podcast, …"""
    more_audio: tuple[Audio, ...] = ()
    """Outputs beside `audio`, for the tasks that have several."""
    mount: str = ""
    """The path under which the customer reached the API, such as `/aitts`."""
    state: JobState = JobState.PENDING
    error: dict[str, str] | str | None = None
    ended_at: float | None = None
    known_from: float = 0.0
    """When its id becomes known, unix seconds: before that, it is answered 404."""
    audio_fetches: int = 0
    """How often an address of its audio was given."""

    @property
    def chars_charged(self) -> int:
        """Characters paid for: those of the text."""
        return len(self.submission.text)

    @property
    def ended(self) -> bool:
        """Whether it is completed or failed."""
        return self.state in (JobState.COMPLETED, JobState.FAILED)

    @property
    def object_name(self) -> str:
        """The name of its audio on the storage origin."""
        return f"{self.id}{self.audio.suffix}"

    @property
    def objects(self) -> dict[str, Audio]:
        """All its outputs by their names on the storage origin."""
        more = {f"{self.id}.{n}{audio.suffix}": audio for n, audio in enumerate(self.more_audio, start=2)}
        return {self.object_name: self.audio} | more

    @property
    def error_message(self) -> str:
        """Why it failed, in words."""
        if isinstance(self.error, dict):
            return self.error.get("message", "")
        return self.error or ""


class JobBook:
    """All jobs, in the order of their submission."""

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
        """The job, or None."""
        return self._jobs.get(job_id)

    def of(self, provider: str) -> list[Job]:
        """The jobs of one provider, in the order of their submission."""
        return [job for job in self if job.provider == provider]

    def create(
        self,
        submission: Submission,
        now: float,
        *,
        provider: str = AITTS,
        kind: str = "speech",
        outputs: int = 1,
        mount: str = "",
    ) -> Job:
        """A new pending job at `now` (unix seconds), with the next of the shipped recordings."""
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
            more_audio=tuple(self._library.pick(submission.output_format, number + n) for n in range(1, outputs)),
            mount=mount,
        )
        self._jobs[job.id] = job
        self._on_change()
        return job

    def jitter(self, job: Job) -> float:
        """The factor from 0.75 to 1.25 on this job's duration."""
        return 0.75 + 0.5 * random.Random(f"{self._seed}:jitter:{job.number}").random()

    def process(self, job_id: str) -> Job:
        """Pending to processing."""
        job = self._jobs[job_id]
        if job.state is JobState.PENDING:
            job.state = JobState.PROCESSING
            self._on_change()
        return job

    def complete(self, job_id: str, now: float) -> Job:
        """Complete the job. Does not announce it: `Simulator.finish` does."""
        return self._end(job_id, JobState.COMPLETED, now, None)

    def fail(self, job_id: str, now: float, error: dict[str, str] | str | None = None) -> Job:
        """Fail the job with `error`; provider's documentation: GENERATION_FAILED."""
        usual = {"code": "GENERATION_FAILED", "message": "The audio could not be generated."}
        return self._end(job_id, JobState.FAILED, now, usual if error is None else error)

    def set_audio(self, job_id: str, audio: Audio) -> None:
        """Give the job other audio, for instance a `GeneratedWav`."""
        self._jobs[job_id].audio = audio
        self._on_change()

    def by_object(self, name: str) -> Job | None:
        """The completed job one of whose outputs has this name on the storage origin."""
        job = self._jobs.get(name.partition(".")[0])
        found = job is not None and job.state is JobState.COMPLETED and name in job.objects
        return job if found else None

    def _end(self, job_id: str, state: JobState, now: float, error: dict[str, str] | str | None) -> Job:
        job = self._jobs[job_id]
        job.state, job.error, job.ended_at = state, error, now
        self._on_change()
        return job
