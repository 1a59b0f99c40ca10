"""The report of a batch: the result of each line, so that the same command resumes where it was interrupted.

It is a JSON Lines file. The first object identifies the batch; idempotency keys are derived from its id. The others are
results of lines, in the order in which they finished. A line that was retried has several; the last one counts.
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

from receiver.durable_files import OverwritePolicy, remove_abandoned, write_durably
from receiver.errors import InvalidJson
from receiver.model.charge import NO_CHARGE, Charge, credits_text
from receiver.model.json_body import read_strict_json_object
from receiver.speech.errors import SpeechError

VERSION = 1
MAX_RECORD_BYTES = 1 << 20
MAX_ERROR_LENGTH = 2000
SUBMITTING = "submitting"
"""The state of a line that is being retried. Written before the submit, so that a resumed batch knows the attempt."""
_BATCH = re.compile(r"[A-Za-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineResult:
    """The result of one line.

    Attributes:
        line: its number in the input.
        id: from the input.
        speech: the digest of the request.
        state: the job's, or `submitting`.
        generation: the number of the attempt, from 1.
        job: our id of the job; None if none was created.
        job_id: the provider's id of it.
        files: `path` (relative to the output folder), `sha256` and `bytes` of each file; empty if none was saved.
        error: why no file was saved; None if one was.
        code: the reason slug, or the provider's code, of that error.
        charge: what the provider charged for it. It is written, and not read again.
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
    charge: Charge = NO_CHARGE

    @property
    def saved(self) -> bool:
        """Whether the line is done: its files were saved."""
        return self.state == "completed" and bool(self.files)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object in the report."""
        first = self.files[0] if self.files else {}
        return {
            "line": self.line,
            "id": self.id,
            "job": self.job,
            "job_id": self.job_id,
            "state": self.state,
            "path": first.get("path"),
            "sha256": first.get("sha256"),
            "error": None if self.error is None else self.error[:MAX_ERROR_LENGTH],
            "code": self.code,
            "chars_charged": self.charge.characters,
            "credits_used": None if self.charge.credits is None else credits_text(self.charge.credits),
            "files": [dict(file) for file in self.files],
            "speech": self.speech,
            "generation": self.generation,
        }


class BatchReport:
    """An open report, locked against other processes.

    Attributes:
        batch: the batch's id.
        last: the last result of each line, by its number.
    """

    def __init__(self, path: Path, handle: int, batch: str) -> None:
        self.path = path
        self.batch = batch
        self.last: dict[int, LineResult] = {}
        self._handle = handle

    @classmethod
    def create(cls, path: Path, source: str, new_id: str) -> Self:
        """Create and open the report of a new batch with this id.

        Raises:
            SpeechError: it cannot be created, or another process uses it.
        """
        try:
            _create(path, {"batch": new_id, "version": VERSION, "source": source})
        except OSError as error:
            raise SpeechError(f"The report {path} cannot be created: {error.strerror or error}.") from None
        return cls.open(path, source)

    @classmethod
    def open(cls, path: Path, source: str) -> Self:
        """Open the report at `path`.

        Raises:
            SpeechError: it is not a report, is for another source, or is used by another process.
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
            raise SpeechError(f"This batch is already running: another process has locked the report {path}.") from None
        with open(os.dup(handle), "rb") as file:  # noqa: PTH123 - it is open already
            head = _object(file.readline(MAX_RECORD_BYTES))
            batch = None if head is None else head.get("batch")
            known = head is not None and head.get("version") == VERSION
            if head is None or not known or not isinstance(batch, str) or not _BATCH.fullmatch(batch):
                raise SpeechError(f"{path} is not the report of a batch; name another with --report.")
            if head.get("source") != source:
                raise SpeechError(
                    f"The report {path} belongs to a batch for the source {head.get('source')}; "
                    f"name another for {source}."
                )
            remove_abandoned(path)
            report = cls(path, handle, batch)
            valid_bytes = file.tell()
            number = 1
            while raw := file.readline(MAX_RECORD_BYTES):
                number += 1
                if not raw.endswith(b"\n") and len(raw) < MAX_RECORD_BYTES:
                    break  # incomplete: the process that wrote it was killed
                result = _result(_object(raw))
                if result is None:
                    raise SpeechError(f"Line {number} of the report {path} cannot be read; name another with --report.")
                report.last[result.line] = result
                valid_bytes = file.tell()
        os.ftruncate(handle, valid_bytes)
        return report

    def append(self, result: LineResult) -> None:
        """Record the result of a line.

        Raises:
            SpeechError: it cannot be written.
        """
        text = (json.dumps(result.to_dict(), ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        try:
            while text:
                text = text[os.write(self._handle, text) :]
        except OSError as error:
            raise SpeechError(
                f"The report {self.path} cannot be written: {error.strerror or error}. The same command continues."
            ) from None
        self.last[result.line] = replace(result, error=None)

    def close(self) -> None:
        """Close and unlock it."""
        os.close(self._handle)


def _create(path: Path, head: Mapping[str, Any]) -> None:
    """Publish the file with its first line: the batch's id must not be lost once a job was submitted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):  # another process created it at the same time
        write_durably(path, json.dumps(head).encode() + b"\n", 0o666, OverwritePolicy.REFUSE)


def _object(raw: bytes) -> Mapping[str, Any] | None:
    try:
        return read_strict_json_object(raw)
    except InvalidJson:
        return None


def _result(values: Mapping[str, Any] | None) -> LineResult | None:
    """A result read from the report; None if it is not one."""
    if values is None:
        return None
    line, generation, state, speech = (
        values.get("line"),
        values.get("generation"),
        values.get("state"),
        values.get("speech"),
    )
    files, job, job_id = values.get("files"), values.get("job"), values.get("job_id")
    if not isinstance(line, int) or not isinstance(generation, int) or line < 1 or generation < 1:
        return None
    if not isinstance(state, str) or not isinstance(speech, str) or not isinstance(files, list):
        return None
    if not all(value is None or isinstance(value, str) for value in (job, job_id)):
        return None
    if not all(isinstance(file, dict) and isinstance(file.get("path"), str) for file in files):
        return None
    return LineResult(
        line=line,
        speech=speech,
        state=state,
        generation=generation,
        job=job,
        job_id=job_id,
        files=tuple(files),
        code=values.get("code") if isinstance(values.get("code"), str) else None,
    )
