"""Fetches one file of a completed job's audio, from the provider's addresses to a verified file in the storage.

The addresses are tried in turn until one returns the audio; the error lists all of them.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import structlog

from receiver.clock import Clock
from receiver.errors import AudioDelayed, AudioError, AudioGone, AudioRefused, Reject, StorageFailed
from receiver.model.redact import truncate
from receiver.os_errors import cause_and_advice
from receiver.outbound.addresses import redacted_url
from receiver.outbound.client import Client
from receiver.outbound.decompression import decompress
from receiver.outbound.download import AcceptsDocuments, DownloadPolicy, audio_only, download
from receiver.outbound.folder import try_folder
from receiver.outbound.formats import SNIFF_BYTES, sniff
from receiver.outbound.guard import AddressGuard
from receiver.outbound.names import artifact_name, part_name
from receiver.outbound.part import PartialDownload, PublishedChecksums, sweep
from receiver.outbound.storage_types import Storage, Stored
from receiver.outbound.threads import in_thread
from receiver.outbound.verification import VerifiedFile, hash_large_file, verify_checksums, verify_file
from receiver.providers.base import AudioRequest

logger = structlog.get_logger(__name__)

MAX_CONCURRENT_FACTS = 2
"""Files of one source whose facts are read at the same time: a malicious one occupies a worker thread for seconds, and
only files of its own source wait for it."""


@dataclass(frozen=True, slots=True)
class FetchedAudio:
    """A complete, verified audio file in the storage.

    Attributes:
        address: its address in the storage.
        path: its path, if the storage is a local folder.
        bytes: its length.
        sha256: lower-case hex.
        content_type: media type, determined from the bytes.
        format: determined from the bytes: `wav`, `mp3`, `ogg`, `flac`, `m4a`, `aac`, `webm`, `aiff`; of a task also
            `json`, `srt`, `vtt`, `txt`.
        duration: in seconds; None if uncertain.
        sample_rate: in Hz; likewise.
        channels: likewise.
    """

    address: str
    path: Path | None
    bytes: int
    sha256: str
    content_type: str
    format: str
    duration: float | None
    sample_rate: int | None
    channels: int | None


class AudioFetcher:
    """Fetches audio into a storage. One for each process; to be closed at the end.

    Args:
        storage: for complete files.
        spool: the folder of unfinished files; best on the storage's own file system, such as `.spool` in a local audio
            folder, so that a file is renamed and not copied.
        max_bytes: the largest file that is accepted.
        clock: for ages, rates, durations and waits.
        rng: for jitter.
        min_rate: the minimum rate of a download in bytes a second, see `receiver.outbound.rate`.
        connect: makes the client for requests that may go to private addresses and plain http (True), or not (False).
    """

    def __init__(
        self,
        storage: Storage,
        spool: Path,
        max_bytes: int,
        *,
        clock: Clock,
        rng: random.Random,
        min_rate: float = 1024.0,
        make_client: Callable[[bool], Client] = lambda allow_private: Client(AddressGuard(allow_private=allow_private)),
    ) -> None:
        self._storage = storage
        self._spool = spool
        self._policy = DownloadPolicy(max_bytes, clock, rng, min_rate)
        self._make_client = make_client
        self._clients: dict[bool, Client] = {}
        self._reading: dict[str, asyncio.Semaphore] = {}

    async def fetch(
        self,
        requests: Sequence[AudioRequest],
        *,
        source: str,
        job_id: str,
        allow_private: bool,
        n: int = 0,
        accepts_documents: AcceptsDocuments = audio_only,
    ) -> FetchedAudio:
        """Fetch one output of a job. A call after a failure resumes the download.

        A cancellation also leaves the bytes for the next call, and no open file or lock.

        Args:
            requests: for the addresses of the audio, best first; see `first_success` for when the next is tried.
            source: the source's name; with `job_id` and `n` it determines the file's name.
            job_id: the job's id, any text.
            allow_private: whether private addresses and plain http are allowed.
            n: which output of the job, from 0.
            accepts_documents: whether the job may end with other files than audio; called for one that is none.

        Raises:
            AudioGone: the provider no longer has it. Not to be retried.
            AudioRefused: access is denied, it cannot be fetched safely, or it is too large. Not to be retried.
            AudioDelayed: to be retried after `after` seconds; the download is resumed then.
            AudioError: anything else; to be retried.
        """
        if not requests:
            raise AudioRefused(
                f"There is no address to fetch the audio of job {job_id!r} from; set the source's api_key.",
                reason="no_audio_address",
            )
        policy = replace(self._policy, accepts_documents=accepts_documents)
        try:
            part = await _open(self._spool / part_name(source, job_id, n))
            try:
                await self._download(self.client(allow_private=allow_private), requests, part, policy)
                async with self._decompressed(part) as (plain, published):
                    found = await self._verify(part, plain, published, source)
                    stored = await self._storage.publish(
                        plain.path,
                        artifact_name(source, job_id, n, found.format.extension),
                        found.format.content_type,
                        part.finish,
                    )
            finally:
                if not part.closed:
                    await in_thread(part.close)
        except OSError as error:
            raise self._spool_error(error) from error
        return _fetched(stored, found)

    async def _verify(
        self, part: PartialDownload, plain: PartialDownload, published: PublishedChecksums, source: str
    ) -> VerifiedFile:
        """Verify the complete file; one that fails is fetched from its beginning next time."""
        try:
            sha256 = await hash_large_file(plain, published)
            async with self._reading.setdefault(source, asyncio.Semaphore(MAX_CONCURRENT_FACTS)):
                return await in_thread(verify_file, plain, published, sha256, part.metadata.document)
        except AudioError:
            await in_thread(part.reset)
            raise

    def client(self, *, allow_private: bool) -> Client:
        """The client that fetches files, for other requests of the same loop; closed with the fetcher."""
        if allow_private not in self._clients:
            self._clients[allow_private] = self._make_client(allow_private)
        return self._clients[allow_private]

    async def sweep(self, older_than: float) -> int:
        """Remove unfinished files that no fetch has changed for `older_than` seconds; return their number.

        Raises:
            StorageFailed: the spool folder cannot be used.
        """
        try:
            return await in_thread(sweep, self._spool, older_than, self._policy.clock.now())
        except OSError as error:
            raise self._spool_error(error) from error

    async def aclose(self) -> None:
        """Close the connections."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    def writable(self) -> str | None:
        """Try to write to the storage and the spool; blocks. The problem in a sentence; None without one."""
        folder = self._storage.folder
        stored = self._storage.writable() if folder is None else try_folder(f"The audio folder {folder}", folder)
        return stored or try_folder(f"The spool folder {self._spool}", self._spool)

    def _spool_error(self, error: OSError) -> StorageFailed:
        return StorageFailed(f"The spool folder {self._spool} cannot be used: {cause_and_advice(error)}")

    async def _download(
        self, client: Client, requests: Sequence[AudioRequest], part: PartialDownload, policy: DownloadPolicy
    ) -> None:
        if part.complete and part.size <= self._policy.max_bytes:
            logger.info("audio.already_complete", part=part.path.name)
            return
        await first_success(requests, lambda request: download(client, request, part, policy), lambda: part.size)

    @asynccontextmanager
    async def _decompressed(self, part: PartialDownload) -> AsyncIterator[tuple[PartialDownload, PublishedChecksums]]:
        """The audio: `part`, or its decompressed content in a temporary file; and its published checksums."""
        encoding = part.metadata.encoding
        if encoding is None or sniff(await in_thread(part.head, SNIFF_BYTES)) is not None:
            yield part, part.metadata.published
            return
        await self._verify_compressed(part)
        plain = await _open(part.path.with_suffix(".plain.part"))
        try:
            await in_thread(plain.reset)
            try:
                await decompress(part, plain, encoding, self._policy.max_bytes, self._policy.clock)
            except AudioError:
                await in_thread(part.reset)
                raise
            logger.info("audio.decompressed", part=part.path.name, encoding=encoding, sent=part.size, bytes=plain.size)
            yield plain, PublishedChecksums()
        finally:
            try:
                await in_thread(plain.discard)
            finally:
                await in_thread(plain.close)

    async def _verify_compressed(self, part: PartialDownload) -> None:
        try:
            await verify_checksums(part.path, part.metadata.published)
        except AudioError:
            await in_thread(part.reset)
            raise


async def _open(path: Path) -> PartialDownload:
    """Open a part; if this is cancelled meanwhile, close the part that the thread opened, which releases its lock."""
    opened: list[PartialDownload] = []
    try:
        await in_thread(lambda: opened.append(PartialDownload.open(path)))
    except asyncio.CancelledError:
        for part in opened:
            part.close()
        raise
    return opened[0]


def _fetched(stored: Stored, found: VerifiedFile) -> FetchedAudio:
    return FetchedAudio(
        address=stored.address,
        path=stored.path,
        bytes=found.size,
        sha256=found.sha256,
        content_type=found.format.content_type,
        format=found.format.name,
        duration=found.facts.duration,
        sample_rate=found.facts.sample_rate,
        channels=found.facts.channels,
    )


NO_AUDIO_REASONS = frozenset(
    {"not_audio", "empty_audio", "content_encoding", "unexpected_status", "too_many_redirects"}
)
"""Reasons that mean that this address has no audio now, but may have it later."""
MAX_LISTED = 8
"""The number of addresses whose errors a message lists, and the characters of each."""
MAX_CHARACTERS = 220


class Failure(NamedTuple):
    """The error of one address."""

    request: AudioRequest
    error: AudioError


async def first_success(
    requests: Sequence[AudioRequest], fetch: Callable[[AudioRequest], Awaitable[None]], size: Callable[[], int]
) -> None:
    """Fetch from the first address that returns the audio.

    The next one is tried after an error that is not to be retried, and after a response without audio; after a
    temporary address, which may have expired at the next request, also if it sent no more bytes. It is not tried if the
    response asks for a delay, or if the audio itself is too large.

    Args:
        requests: at least one.
        fetch: sends one of them.
        size: returns the number of bytes that can be resumed.

    Raises:
        AudioError: no address returned it. Of several errors the most important one determines the type: one that is to
            be retried, else a refusal that an operator can act on. The message lists all of them.
    """
    failures: list[Failure] = []
    for request in requests:
        before = size()
        try:
            await fetch(request)
        except AudioError as error:
            failures.append(Failure(request, error))
            if len(failures) == len(requests) or not _tries_next(failures[-1], gained=size() - before):
                if len(failures) == 1:
                    raise
                raise summary(failures) from error
            logger.info("audio.next_address", where=redacted_url(request.url), reason=error.reason, why=str(error))
        else:
            return


def _tries_next(failure: Failure, gained: int) -> bool:
    error = failure.error
    if isinstance(error, AudioDelayed) or error.reason == "audio_too_large":
        return False
    if isinstance(error, Reject) or error.reason in NO_AUDIO_REASONS:
        return True
    return not failure.request.durable and gained <= 0


def summary(failures: Sequence[Failure]) -> AudioError:
    """One error for all of them."""
    decisive = max((failure.error for failure in failures), key=_priority)
    lines = [_described(n, failure) for n, failure in enumerate(failures[:MAX_LISTED], 1)]
    more = f" And {len(failures) - MAX_LISTED} more." if len(failures) > MAX_LISTED else ""
    message = f"None of {len(failures)} addresses returned the audio. {' '.join(lines)}{more}"
    if isinstance(decisive, AudioDelayed):
        made: AudioError = AudioDelayed(message, after=decisive.after, reason=decisive.reason)
    else:
        format = next((format for format in (AudioGone, AudioRefused) if isinstance(decisive, format)), AudioError)
        made = format(message, reason=decisive.reason)
    made.not_found = any(failure.error.not_found for failure in failures)
    made.expired = any(failure.error.expired for failure in failures)
    return made


def _priority(error: AudioError) -> tuple[bool, bool, bool]:
    return isinstance(error, AudioDelayed), not isinstance(error, Reject), isinstance(error, AudioRefused)


def _described(n: int, failure: Failure) -> str:
    """The address and its error, which may be about another address at the end of its redirects."""
    at, text = redacted_url(failure.request.url), str(failure.error)
    line = text if text.startswith(at) else f"{at}: {text}"
    return f"({n}) {truncate(line, MAX_CHARACTERS)}"
