"""The simulated provider as one object: it starts both origins and plays the life of each job.

What a test looks at and turns is in `handles.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, AsyncExitStack
from dataclasses import replace
from typing import Any, Self, Unpack

import httpx
from starlette.applications import Starlette

from .account import AccountApi
from .aitts import Aitts
from .faults import Dice, Faults
from .handles import Handles
from .jobs import FAIL_MARK, Job
from .limits import ENTERPRISE, WINDOW_SECONDS, RateLimit
from .serving import LoopServer
from .signing import COMPLETED, FAILED
from .storage import Storage
from .voices import VOICES
from .webhooks import WebhookSender
from .world import Account, SettingFields, Settings, World


class Simulator(Handles):
    """`aitts` on this machine: `async with Simulator(seed=7) as sim: await sim.submit("Hello")`.

    Every field of `Settings` can be given by name (`job_seconds=`, …). Beside them:

    - faults: what goes wrong by chance; `sim.faults = replace(sim.faults, duplicate=1.0)` later.
    - webhook_url: the account's; can be set later as well.
    - rate_limit, rate_window: requests in so many seconds.
    - credits: characters that can be paid for; None: no end.
    - now: unix seconds, for signatures and expiry.
    - port, storage_port: 0 lets the system choose.

    Everything runs in the event loop that enters it.
    """

    def __init__(
        self,
        seed: int = 7,
        *,
        faults: Faults | None = None,
        api_key: str | None = None,
        id_token: str | None = None,
        signing_secret: str | None = None,
        webhook_url: str | None = None,
        rate_limit: int = ENTERPRISE,
        rate_window: float = WINDOW_SECONDS,
        credits: int | None = None,
        now: Callable[[], float] = time.time,
        host: str = "127.0.0.1",
        port: int = 0,
        storage_port: int = 0,
        **settings: Unpack[SettingFields],
    ) -> None:
        world = World(
            settings=Settings(seed=seed, **settings),
            dice=Dice(seed, faults or Faults()),
            account=Account(
                api_key=api_key or f"tts_simulated_{seed}",
                id_token=id_token or f"id-token-of-the-simulated-user-{seed}",
                signing_secret="",
                webhook_url=webhook_url,
                credits=credits,
            ),
            now=now,
            limit=RateLimit(rate_limit, rate_window),
        )
        world.account.signing_secret = signing_secret or world.new_secret()
        super().__init__(world)
        self._listen = (host, port, storage_port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start both servers."""
        host, port, storage_port = self._listen
        async with AsyncExitStack() as stack:
            hooks = await stack.enter_async_context(self._new_client(connections=64))
            self._client = await stack.enter_async_context(self._new_client(connections=16))
            self._sender = WebhookSender(self._world, hooks, self._spawn)
            self._api = Aitts(self._world, lambda job: self._spawn(self._run(job)))
            routes = [*self._api.routes(), *AccountApi(self._world, self._sender).routes()]
            api = LoopServer(Starlette(routes=routes), host, port)
            self._world.base_url = (await stack.enter_async_context(api)).url
            storage = LoopServer(Storage(self._world).app(), host, storage_port)
            self._world.storage_url = (await stack.enter_async_context(storage)).url
            stack.push_async_callback(self._cancel_tasks)
            stack.callback(self._world.closing.close)
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
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> str:
        """Submit a job over HTTP, as a customer does; returns its id.

        `fields` go into the body. Raises httpx.HTTPStatusError for any answer but 202.
        """
        answer = await self._client.post(
            f"{self.base_url}/api/v1/tts",
            json={"text": text, "voice_id": VOICES[0].voice_id, **fields},
            headers={
                "Authorization": f"Bearer {self.api_key}",
                "Idempotency-Key": idempotency_key or str(uuid.uuid4()),
            },
        )
        answer.raise_for_status()
        return str(answer.json()["data"]["job_id"])

    def finish(self, job_id: str) -> Job:
        """End a job well now, and announce it."""
        job = self.jobs.complete(job_id, self._world.now())
        self._sender.announce(job)
        return job

    def fail(self, job_id: str, error: dict[str, str] | str | None = None) -> Job:
        """End a job badly now, and announce it. `error` may be a string (seen in the wild)."""
        job = self.jobs.fail(job_id, self._world.now(), error)
        self._sender.announce(job)
        return job

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
            timeout=httpx.Timeout(self.settings.webhook_timeout, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=16),
        )

    async def _run(self, job: Job) -> None:
        """The life of a job after its submit."""
        self.jobs.process(job.id)
        if self.settings.job_seconds is None:
            return
        await self._world.closing.pause(self.settings.job_seconds * self.jobs.jitter(job))
        if self._world.closing.closed or job.ended:
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
