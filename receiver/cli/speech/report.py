"""The report of a batch: what became of each line, so that the same command goes on where it was ended.

One JSON object a line. The first names the batch, whose id makes the idempotency keys; then one for each line that has
ended, in the order of their ends. A line that is tried again has several: the last one counts.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from receiver.cli.speech.desk import SpeechError
from receiver.durable_files import OverwritePolicy, remove_abandoned, write_durably
from receiver.errors import InvalidJson
from receiver.model.json_body import read_strict_json_object

VERSION = 1
MOST_RECORD_BYTES = 1 << 20
LONGEST_ERROR = 2000
BEGUN = "submitting"
"""The state of a line that is being tried again: it is written before the submit, so that the try is found again."""
_BATCH = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of one line.

    Attributes:
        line: its number in the input.
        id: as the input has it.
        speech: the digest of what was to be spoken.
        state: the job's, or `submitting`.
        generation: which try this is, from 1.
        job: our id; None if none was begun.
        job_id: the provider's.
        files: of each file `path` (relative to the output folder), `sha256`, `bytes`; empty if none was saved.
        error: why there is no file; None if there is one.
        code: the slug or the provider's word for that.
    """

    line: int
    speech: str
    state: str
    generation: int = 1
    id: str | None = None
    job: str | None = None
    job_id: str | None = None
    files: tuple[Mapping[str, Any], ...] = field(default=())
    error: str | None = None
    code: str | None = None

    @property
    def saved(self) -> bool:
        """Whether nothing is left to do."""
        return self.state == "completed" and bool(self.files)

    def told(self) -> dict[str, Any]:
        """As the report has it."""
        first = self.files[0] if self.files else {}
        return {
            "line": self.line,
            "id": self.id,
            "job": self.job,
            "job_id": self.job_id,
            "state": self.state,
            "path": first.get("path"),
            "sha256": first.get("sha256"),
            "error": None if self.error is None else self.error[:LONGEST_ERROR],
            "code": self.code,
            "files": [dict(file) for file in self.files],
            "speech": self.speech,
            "generation": self.generation,
        }


class Report:
    """An open report; nobody else has it at the same time.

    Attributes:
        batch: the batch's id.
        last: what is known of each line that has ended.
    """

    def __init__(self, path: Path, handle: int, batch: str) -> None:
        self.path = path
        self.batch = batch
        self.last: dict[int, Record] = {}
        self._handle = handle

    @classmethod
    def begin(cls, path: Path, source: str, new_id: str) -> Self:
        """Make the report of a new batch with this id, and open it.

        Raises:
            SpeechError: it cannot be made, or somebody else made it meanwhile and has it.
        """
        try:
            _create(path, {"batch": new_id, "version": VERSION, "source": source})
        except OSError as error:
            raise SpeechError(f"The report {path} cannot be made: {error.strerror or error}.") from None
        return cls.open(path, source)

    @classmethod
    def open(cls, path: Path, source: str) -> Self:
        """Open the report at `path`.

        Raises:
            SpeechError: it is another source's, no report of ours, or in another run's hands.
        """
        try:
            handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except OSError as error:
            raise SpeechError(f"The report {path} cannot be opened: {error.strerror or error}.") from None
        try:
            return cls._read(path, handle, source)
        except BaseException:
            os.close(handle)
            raise

    @classmethod
    def _read(cls, path: Path, handle: int, source: str) -> Self:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpeechError(f"This batch is at work already: another process has the report {path}.") from None
        with open(os.dup(handle), "rb") as file:  # noqa: PTH123 - it is open already
            head = _object(file.readline(MOST_RECORD_BYTES))
            batch = None if head is None else head.get("batch")
            known = head is not None and head.get("version") == VERSION
            if head is None or not known or not isinstance(batch, str) or not _BATCH.fullmatch(batch):
                raise SpeechError(f"{path} is not the report of a batch; name another with --report.")
            if head.get("source") != source:
                raise SpeechError(
                    f"The report {path} is of a batch for the source {head.get('source')}; name another for {source}."
                )
            remove_abandoned(path)
            report = cls(path, handle, batch)
            good = file.tell()
            number = 1
            while raw := file.readline(MOST_RECORD_BYTES):
                number += 1
                if not raw.endswith(b"\n") and len(raw) < MOST_RECORD_BYTES:
                    break  # torn by the end of the process that wrote it
                record = _record(_object(raw))
                if record is None:
                    raise SpeechError(f"Line {number} of the report {path} cannot be read; name another with --report.")
                report.last[record.line] = record
                good = file.tell()
        os.ftruncate(handle, good)
        return report

    def append(self, record: Record) -> None:
        """Write down what is known of a line now.

        Raises:
            SpeechError: it cannot be written.
        """
        text = (json.dumps(record.told(), ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        try:
            while text:
                text = text[os.write(self._handle, text) :]
        except OSError as error:
            raise SpeechError(
                f"The report {self.path} cannot be written: {error.strerror or error}. The same command goes on."
            ) from None
        self.last[record.line] = replace(record, error=None)

    def close(self) -> None:
        """Give it up."""
        os.close(self._handle)


def _create(path: Path, head: Mapping[str, Any]) -> None:
    """Make it with its first line, or not at all: the batch's id must not be lost once a job was submitted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another process began it at the same time
        write_durably(path, json.dumps(head).encode() + b"\n", 0o666, OverwritePolicy.REFUSE)


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        return read_strict_json_object(raw)
    except InvalidJson:
        return None


def _record(told: Mapping[str, Any] | None) -> Record | None:
    """A record out of the report; None if it is none."""
    if told is None:
        return None
    line, generation, state, speech = told.get("line"), told.get("generation"), told.get("state"), told.get("speech")
    files, job, job_id = told.get("files"), told.get("job"), told.get("job_id")
    if not isinstance(line, int) or not isinstance(generation, int) or line < 1 or generation < 1:
        return None
    if not isinstance(state, str) or not isinstance(speech, str) or not isinstance(files, list):
        return None
    if not all(value is None or isinstance(value, str) for value in (job, job_id)):
        return None
    if not all(isinstance(file, dict) and isinstance(file.get("path"), str) for file in files):
        return None
    return Record(
        line=line,
        speech=speech,
        state=state,
        generation=generation,
        job=job,
        job_id=job_id,
        files=tuple(files),
        code=told.get("code") if isinstance(told.get("code"), str) else None,
    )
