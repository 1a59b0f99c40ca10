"""The names of audio files: safe for any job id, deterministic, and unique for each job. Pure.

A job id is text from outside. A plain one is used as it is, so that operators find the file; any other becomes a
readable prefix and a hash. `~` is in no plain id, so the two kinds cannot collide; all names are lower case, so they
cannot collide on a file system that ignores case either.
"""

from __future__ import annotations

import hashlib
import re

MAX_OUTPUTS = 10_000
"""A job has fewer outputs than this, so that the number of an output is never as long as a hash."""

_JOB = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}")
_SOURCE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_EXTENSION = re.compile(r"[a-z0-9]{1,5}")


def artifact_name(source: str, job_id: str, n: int, extension: str) -> str:
    """The name of a job's output number `n` under the audio folder, such as `aitts/<job>.wav`; at most 200 bytes.

    Args:
        source: the source's name; the folder.
        job_id: any text.
        n: which output of the job, from 0; all but the first are marked `~<n>`.
        extension: the file's extension without the dot.

    Raises:
        ValueError: `n` or `extension` is invalid.
    """
    if not 0 <= n < MAX_OUTPUTS:
        raise ValueError(f"a job has no output number {n}")
    if not _EXTENSION.fullmatch(extension):
        raise ValueError(f"{extension!r} is not a file extension")
    mark = f"~{n}" if n else ""
    return f"{_safe_name(source, _SOURCE)}/{_safe_name(job_id, _JOB)}{mark}.{extension}"


def part_name(source: str, job_id: str, n: int) -> str:
    """The name of the unfinished file of the same output, in the spool folder.

    Raises:
        ValueError: `n` is invalid.
    """
    if not 0 <= n < MAX_OUTPUTS:
        raise ValueError(f"a job has no output number {n}")
    return f"{_safe_name(source, _SOURCE)}-{_hash(job_id)}-{n}.part"


def _safe_name(text: str, plain: re.Pattern[str]) -> str:
    if plain.fullmatch(text):
        return text
    prefix = re.sub(r"[^a-z0-9]+", "-", text[:200].lower()).strip("-")[:40].strip("-")
    return f"{prefix or 'x'}~{_hash(text)}"


def _hash(text: str) -> str:
    # JSON can contain an unpaired surrogate; an id may contain it, too.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
