"""The simulated providers as one object: it starts both origins and plays the life of each job.

What a test looks at and turns is in `handles.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Coroutine, Mapping
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self, Unpack

import httpx
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from receiver.clock import Clock, SystemClock

from .account import AccountApi
from .aitts import Aitts
from .audixa import Audixa
from .client_requests import submit_request, submitted_id
from .faults import FaultInjector, Faults
from .finevoice import Finevoice
from .handles import Handles
from .jobs import AITTS, FAIL_MARK, PROVIDERS, Job, Submission
from .limits import ENTERPRISE, WINDOW_SECONDS, RateLimit
from .miragic import Miragic
from .polled import PolledApi
from .serving import LoopServer
from .settings import SettingFields, Settings
from .shared import Account, SharedState
from .signing import COMPLETED, FAILED
from .storage import Storage
from .webhooks import WebhookSender

POLLED: tuple[type[PolledApi], ...] = (Audixa, Finevoice, Miragic)
QUEUE_SHARE = 0.25
"""The part of a job's time that it waits in the queue, at the providers that are polled."""


class Simulator(Handles):
    """Four providers on this machine: `async with Simulator(seed=7) as sim: await sim.submit("Hello")`.

    Each has its own base URL (`sim.base_urls["audixa"]`) and key (`sim.api_keys["audixa"]`); aitts
    is also at `sim.base_url` itself. Every field of `Settings` can be given by name
    (`job_seconds=`, …). Beside them:

    - api_key, id_token, signing_secret: of aitts; api_keys: of the others, by provider.
    - faults: what goes wrong by chance; `sim.faults = replace(sim.faults, duplicate=1.0)` later.
    - webhook_url: the account's; can be set later as well.
    - rate_limit, rate_window: requests in so many seconds.
    - credits: characters that can be paid for; None: no end.
    - clock: for signatures and expiry, and for every wait: the life of a job, retries, slow responses.
    - port, storage_port: 0 lets the system choose.

    Everything runs in the event loop that enters it.
    """

    def __init__(
        self,
        seed: int = 7,
        *,
        faults: Faults | None = None,
        api_key: str | None = None,
        api_keys: Mapping[str, str] | None = None,
        id_token: str | None = None,
        signing_secret: str | None = None,
        webhook_url: str | None = None,
        rate_limit: int = ENTERPRISE,
        rate_window: float = WINDOW_SECONDS,
        credits: int | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        storage_port: int = 0,
        **settings: Unpack[SettingFields],
    ) -> None:
        shared = SharedState(
            settings=Settings(seed=seed, **settings),
            injector=FaultInjector(seed, faults or Faults()),
            account=Account(
                api_key=api_key or f"tts_simulated_{seed}",
                id_token=id_token or f"id-token-of-the-simulated-user-{seed}",
                signing_secret="",
                webhook_url=webhook_url,
                credits=credits,
            ),
            clock=clock or SystemClock(),
            limit=RateLimit(rate_limit, rate_window),
            other_keys={name: f"{name}_simulated_{seed}" for name in PROVIDERS if name != AITTS} | dict(api_keys or {}),
        )
        shared.account.signing_secret = signing_secret or shared.new_secret()
        super().__init__(shared)
        self._listen = (host, port, storage_port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start both servers."""
        host, port, storage_port = self._listen
        async with AsyncExitStack() as stack:
            hooks = await stack.enter_async_context(self._new_client(connections=64))
            self._client = await stack.enter_async_context(self._new_client(connections=16))
            self._sender = WebhookSender(self._shared, hooks, self._spawn)
            api = LoopServer(Starlette(routes=self._routes()), host, port)
            self._shared.base_url = (await stack.enter_async_context(api)).url
            storage = LoopServer(Storage(self._shared).app(), host, storage_port)
            self._shared.storage_url = (await stack.enter_async_context(storage)).url
            stack.push_async_callback(self._cancel_tasks)
            stack.callback(self._shared.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop everything: pauses end, tasks are cancelled, servers close."""
        await self._stack.aclose()

    def hold_submits(self) -> AbstractContextManager[None]:
        """`with sim.hold_submits():` submits are begun and not ended until the block is left."""
        return self._api.hold_submits()

    async def submit(
        self,
        text: str,
        *,
        provider: str = AITTS,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> str:
        """Submit a job over HTTP, as a customer does; returns its id.

        `fields` go into the body; for audixa, `version="v3"` chooses the API. The key is for aitts
        alone. Raises httpx.HTTPStatusError for any answer but 2xx.
        """
        # aitts without its prefix, so that the addresses it gives are those under `base_url`
        base_url = self.base_url if provider == AITTS else self.base_urls.get(provider, "")
        api_key = self.api_keys.get(provider, "")
        request = submit_request(
            provider, text, fields, base_url=base_url, api_key=api_key, idempotency_key=idempotency_key
        )
        answer = await self._client.send(request)
        answer.raise_for_status()
        return submitted_id(provider, answer.content)

    def create_task(self, kind: str, *, text: str = "", outputs: int = 1) -> str:
        """A task of another kind at finevoice (`separation`, `podcast`, …) with so many outputs; its id.

        One of the kind `speech_to_text` ends without audio.
        """
        submission = Submission(text=text, voice_id="", output_format="mp3")
        job = self.jobs.create(submission, self._shared.now(), provider="finevoice", kind=kind, outputs=outputs)
        self._begin(job)
        return job.id

    def finish(self, job_id: str) -> Job:
        """End a job well now, and announce it if its provider does."""
        return self._announced(self.jobs.complete(job_id, self._shared.now()))

    def fail(self, job_id: str, error: dict[str, str] | str | None = None) -> Job:
        """End a job badly now, and announce it if its provider does. `error` may be a string (seen in the wild)."""
        return self._announced(self.jobs.fail(job_id, self._shared.now(), error))

    async def deliver(
        self,
        job_id: str,
        event: str | None = None,
        *,
        url: str | None = None,
        secret: str | None = None,
        t: int | None = None,
        body: bytes | None = None,
    ) -> int | None:
        """Send one extra delivery now, without retries; the answer's status, None for no answer.

        By default the event is the one that the job's state calls for, sent where the job's webhook
        goes, signed with the account's secret at this moment. Raises ValueError without an address.
        """
        job = self.jobs[job_id]
        where = url or job.submission.webhook_url or self.webhook_url
        if where is None:
            message = "there is no webhook address: set webhook_url or give url"
            raise ValueError(message)
        usual = FAILED if job.error is not None else COMPLETED
        out = self._sender.outgoing(job, event or usual, url=where, secret=secret, t=t, kind="extra")
        sent = await self._sender.send(out if body is None else replace(out, body=body))
        return sent.status

    def _new_client(self, connections: int) -> httpx.AsyncClient:
        # bounded: the client's pool looks at each of its connections for every request
        return httpx.AsyncClient(
            trust_env=False,
            verify=_tls(),
            timeout=httpx.Timeout(self.settings.webhook_timeout, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=16),
        )

    def _routes(self) -> list[BaseRoute]:
        self._api = Aitts(self._shared, self._begin)
        aitts = [*self._api.routes(), *AccountApi(self._shared, self._sender).routes()]
        polled = [api(self._shared, self._begin) for api in POLLED]
        mounts = [Mount(f"/{api.provider}", routes=api.routes()) for api in polled]
        return [Mount(f"/{AITTS}", routes=aitts), *mounts, *aitts]

    def _announced(self, job: Job) -> Job:
        if job.provider == AITTS:
            self._sender.announce(job)
        return job

    def _begin(self, job: Job) -> None:
        self._spawn(self._run(job))

    async def _run(self, job: Job) -> None:
        """The life of a job after its submit. Without a time it waits: at aitts at work, else in the queue."""
        seconds = self.settings.job_seconds
        whole = 0.0 if seconds is None else seconds * self.jobs.jitter(job)
        queued = 0.0 if job.provider == AITTS else whole * QUEUE_SHARE
        if seconds is None and job.provider != AITTS:
            return
        if queued:
            await self._shared.closing.pause(queued)
        self.jobs.process(job.id)
        if seconds is None:
            return
        await self._shared.closing.pause(whole - queued)
        if self._shared.closing.closed or job.ended:
            return
        if FAIL_MARK in job.submission.text:
            self.fail(job.id)
        else:
            self.finish(job.id)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel_tasks(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    # reading the authorities' certificates takes longer than all else that a start does
    return httpx.create_ssl_context()
