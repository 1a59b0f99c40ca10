"""What a configuration says of a service that is not built in, checked and ready to be spoken.

Apart from the provider that is made of it because the configuration is checked by the same rules.
"""

from __future__ import annotations

from dataclasses import dataclass

from receiver.providers.places import Place

JOB_ID = "{job_id}"
"""What stands for the job id in a status address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the configuration says of a service. A place that is not given is empty.

    Attributes:
        scheme: the signature scheme's name; None for a service that sends no webhooks.
        signed_headers: lower-case names of the headers that the scheme reads, and makes.
        event_header: an unsigned header with the event word; it can name a `test`, and nothing else.
        event: where the event word is, and so on; of several places the first that says something counts.
        completed_words: event and status words that mean `job.completed`, in lower case.
        failed_words: likewise for `job.failed`; they count for more.
        status_path: the address that a job is asked for by, below the base address, with `{job_id}` in it; None for a
            service that cannot be asked.
        auth_header: the header that the API key goes in, after `auth_prefix`.
        min_poll_seconds: the service's limit between two polls of one job.
        audio_needs_key: whether audio at the service's own origin is fetched with the API key.
    """

    scheme: str | None = None
    signed_headers: tuple[str, ...] = ()
    event_header: str | None = None
    event: tuple[Place, ...] = ()
    job_id: tuple[Place, ...] = ()
    status: tuple[Place, ...] = ()
    audio_url: tuple[Place, ...] = ()
    error_code: tuple[Place, ...] = ()
    error_message: tuple[Place, ...] = ()
    metadata: tuple[Place, ...] = ()
    progress: tuple[Place, ...] = ()
    completed_words: tuple[str, ...] = ()
    failed_words: tuple[str, ...] = ()
    status_path: str | None = None
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    min_poll_seconds: float = 1.0
    audio_needs_key: bool = False


def status_path(template: str, base_url: str) -> str:
    """The part of a status address below the base address.

    Args:
        template: a path with `{job_id}` in it, or a whole address that begins with the base address.

    Raises:
        ValueError: it leaves the base address, or names no job; in words for a person.
    """
    base = base_url.rstrip("/")
    path = template.removeprefix(base) if base and template.startswith(f"{base}/") else template
    if path.count(JOB_ID) != 1:
        raise ValueError(f"must have {JOB_ID} in it once, as in /v1/jobs/{JOB_ID}")
    bare = path.replace(JOB_ID, "id")
    if not bare.startswith("/") or bare.startswith("//"):
        raise ValueError("must be a path below base_url that begins with one slash: the API key goes nowhere else")
    if not bare.isascii() or not bare.isprintable() or any(char in bare for char in ' \\#{}<>"'):
        raise ValueError("must be an address's path in ASCII, quoted, without # and with no other braces")
    if any(part in (".", "..") for part in bare.partition("?")[0].split("/")):
        raise ValueError("must not lead back with . or ..")
    return path
