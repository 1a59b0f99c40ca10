"""What an audio file is called: safe against any job id, the same for the same job, never the same for two. Pure.

A job id is somebody else's text. One that is a plain word is used as it is, so that people find the file; any other
becomes a readable stump and a hash. `~` is in no plain word, so the two kinds cannot meet; all is lower case, so they
cannot meet on a file system that ignores case either.
"""

from __future__ import annotations

import hashlib
import re

MAX_OUTPUTS = 10_000
"""One job has fewer outputs than this; so an output's number is never as long as a hash."""

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
        ValueError: `n` or `extension` is not one of ours.
    """
    if not 0 <= n < MAX_OUTPUTS:
        raise ValueError(f"a job has no output number {n}")
    if not _EXTENSION.fullmatch(extension):
        raise ValueError(f"{extension!r} is not a file extension")
    mark = f"~{n}" if n else ""
    return f"{_word(source, _SOURCE)}/{_word(job_id, _JOB)}{mark}.{extension}"


def part_name(source: str, job_id: str, n: int) -> str:
    """The name of the unfinished file of the same output, in the spool folder.

    Raises:
        ValueError: `n` is not an output's number.
    """
    if not 0 <= n < MAX_OUTPUTS:
        raise ValueError(f"a job has no output number {n}")
    return f"{_word(source, _SOURCE)}-{_hash(job_id)}-{n}.part"


def _word(text: str, plain: re.Pattern[str]) -> str:
    if plain.fullmatch(text):
        return text
    stump = re.sub(r"[^a-z0-9]+", "-", text[:200].lower()).strip("-")[:40].strip("-")
    return f"{stump or 'x'}~{_hash(text)}"


def _hash(text: str) -> str:
    # An unpaired surrogate can come out of JSON; it is as good a part of an id as any.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
