"""The simulated providers as one object: it starts both servers and runs each job through its states.

What a test reads and sets is in `controls.py`.
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
from starlette.routing import BaseRoute, Mount, Route

from receiver.clock import Clock, SystemClock

from .account import AccountApi
from .aitts import Aitts
from .audixa import Audixa
from .client_requests import submit_request, submitted_id
from .controls import Controls
from .faults import FaultInjector, Faults
from .finevoice import Finevoice
from .jobs import AITTS, FAILURE_MARKER, PROVIDERS, Job, Submission
from .limits import ENTERPRISE_LIMIT, WINDOW_SECONDS, RateLimit
from .miragic import Miragic
from .polled import PolledApi
from .serving import LoopServer
from .settings import SettingFields, Settings
from .signing import COMPLETED, FAILED
from .state import Account, SimulatorState
from .storage import Storage
from .streams import PATH, Streams
from .webhooks import WebhookSender

POLLED: tuple[type[PolledApi], ...] = (Audixa, Finevoice, Miragic)
QUEUE_SHARE = 0.25
"""The share of a job's duration that it is pending, at the providers that are polled."""


class Simulator(Controls):
    """Four providers on this machine: `async with Simulator(seed=7) as sim: await sim.submit("Hello")`.

    Each has its own base URL (`sim.base_urls["audixa"]`) and key (`sim.api_keys["audixa"]`); aitts is also at
    `sim.base_url` itself. Arguments are the fields of `Settings` by name (`job_seconds=`, …), and:

    - api_key, id_token, signing_secret: of aitts; api_keys: of the others, by provider.
    - faults: the rates of random faults; later `sim.faults = replace(sim.faults, duplicate=1.0)`.
    - webhook_url: the account's webhook address; can be set later, too.
    - rate_limit, rate_window: how many requests to aitts in how many seconds.
    - credits: characters that aitts accepts before its credits are used up; None: unlimited.
    - clock: for signatures and expiry, and for every wait: the life of a job, retries, slow responses.
    - port, storage_port: 0 selects a free one.

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
        rate_limit: int = ENTERPRISE_LIMIT,
        rate_window: float = WINDOW_SECONDS,
        credits: int | None = None,
        clock: Clock | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        storage_port: int = 0,
        **settings: Unpack[SettingFields],
    ) -> None:
        state = SimulatorState(
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
        state.account.signing_secret = signing_secret or state.new_secret()
        super().__init__(state)
        self._streams = Streams(state)
        self._listen = (host, port, storage_port)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start both servers."""
        host, port, storage_port = self._listen
        async with AsyncExitStack() as stack:
            webhook_client = await stack.enter_async_context(self._new_client(connections=64))
            self._client = await stack.enter_async_context(self._new_client(connections=16))
            self._sender = WebhookSender(self._state, webhook_client, self._spawn)
            api = LoopServer(Starlette(routes=self._routes()), host, port)
            self._state.base_url = (await stack.enter_async_context(api)).url
            storage = LoopServer(Storage(self._state, self._streams).app(), host, storage_port)
            self._state.storage_url = (await stack.enter_async_context(storage)).url
            stack.push_async_callback(self._cancel_tasks)
            stack.callback(self._state.close)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop everything: end pauses, cancel tasks, close the servers."""
        await self._stack.aclose()

    @property
    def stream_tokens(self) -> list[str]:
        """What makes the addresses of the streams of aitts secret, of all that were issued."""
        return self._streams.tokens

    def hold_submits(self) -> AbstractContextManager[None]:
        """`with sim.hold_submits():` inside the block, submits to aitts are received and not answered."""
        return self._api.hold_submits()

    async def submit(
        self,
        text: str,
        *,
        provider: str = AITTS,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> str:
        """Submit a job over HTTP, as a client does; return its id.

        `fields` go into the body; for audixa, `version="v3"` selects the API. The idempotency key is for aitts only.
        Raises httpx.HTTPStatusError if the response is not 2xx.
        """
        # aitts without its prefix, so that the addresses in its responses are those below `base_url`
        base_url = self.base_url if provider == AITTS else self.base_urls.get(provider, "")
        api_key = self.api_keys.get(provider, "")
        request = submit_request(
            provider, text, fields, base_url=base_url, api_key=api_key, idempotency_key=idempotency_key
        )
        response = await self._client.send(request)
        response.raise_for_status()
        return submitted_id(provider, response.content)

    def create_task(self, kind: str, *, text: str = "", outputs: int = 1) -> str:
        """Create a task of another kind (`separation`, `podcast`, …) at finevoice; return its id.

        A task of the kind `speech_to_text` ends without audio.
        """
        submission = Submission(text=text, voice_id="", output_format="mp3")
        job = self.jobs.create(submission, self._state.now(), provider="finevoice", kind=kind, outputs=outputs)
        self._start_job(job)
        return job.id

    def finish(self, job_id: str) -> Job:
        """Complete a job now, and send its webhook if its provider has webhooks."""
        return self._send_webhook(self.jobs.complete(job_id, self._state.now()))

    def fail(self, job_id: str, error: dict[str, str] | str | None = None) -> Job:
        """Fail a job now, and send its webhook if its provider has webhooks. `error` may be a string."""
        return self._send_webhook(self.jobs.fail(job_id, self._state.now(), error))

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
        """Send one extra delivery now, without retries; return the response's status, or None if there is none.

        By default the event is that of the job's state, the address that of its webhook, the secret the account's, and
        the time now. Raises ValueError if there is no address.
        """
        job = self.jobs[job_id]
        address = url or job.submission.webhook_url or self.webhook_url
        if address is None:
            message = "there is no webhook address: set webhook_url, or pass url"
            raise ValueError(message)
        default = FAILED if job.error is not None else COMPLETED
        request = self._sender.build(job, event or default, url=address, secret=secret, t=t, kind="extra")
        delivery = await self._sender.send(request if body is None else replace(request, body=body))
        return delivery.status

    def _new_client(self, connections: int) -> httpx.AsyncClient:
        # bounded: for every request the client's pool iterates over all its connections
        return httpx.AsyncClient(
            trust_env=False,
            verify=_tls(),
            timeout=httpx.Timeout(self.settings.webhook_timeout, pool=None),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=16),
        )

    def _routes(self) -> list[BaseRoute]:
        self._api = Aitts(self._state, self._start_job, self._streams)
        aitts = [*self._api.routes(), *AccountApi(self._state, self._sender).routes()]
        polled = [api(self._state, self._start_job) for api in POLLED]
        mounts = [Mount(f"/{api.provider}", routes=api.routes()) for api in polled]
        live = Route(PATH, self._streams.serve)
        return [Mount(f"/{AITTS}", routes=aitts), *mounts, *aitts, live]

    def _send_webhook(self, job: Job) -> Job:
        if job.provider == AITTS:
            self._sender.enqueue(job)
        return job

    def _start_job(self, job: Job) -> None:
        self._spawn(self._run_job(job))

    async def _run_job(self, job: Job) -> None:
        """Run a job through its states. Without `job_seconds` it stays processing at aitts, and pending elsewhere."""
        seconds = self.settings.job_seconds
        duration = 0.0 if seconds is None else seconds * self.jobs.jitter(job)
        queued = 0.0 if job.provider == AITTS else duration * QUEUE_SHARE
        if seconds is None and job.provider != AITTS:
            return
        if queued:
            await self._state.shutdown.pause(queued)
        self.jobs.process(job.id)
        if seconds is None:
            return
        await self._state.shutdown.pause(duration - queued)
        if self._state.shutdown.started or job.ended:
            return
        if FAILURE_MARKER in job.submission.text:
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
    # cached: loading the authorities' certificates takes longer than the rest of a start
    return httpx.create_ssl_context()
