"""What a test reads and sets on a running simulator; separate from the servers and the jobs' lifecycle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from .faults import Faults
from .jobs import JobStore
from .limits import RateLimit
from .settings import Settings
from .state import Account, Delivery, SimulatorState


class Controls:
    """The base of `Simulator`: everything here only reads or sets the `SimulatorState`."""

    def __init__(self, state: SimulatorState) -> None:
        self._state = state

    # addresses and credentials

    @property
    def base_url(self) -> str:
        """The origin of the APIs, which is also the base URL of aitts."""
        return self._state.base_url

    @property
    def base_urls(self) -> dict[str, str]:
        """The base URL of each provider: aitts, audixa, finevoice, miragic."""
        return self._state.base_urls

    @property
    def storage_url(self) -> str:
        """The origin of the storage."""
        return self._state.storage_url

    @property
    def api_key(self) -> str:
        """The API key of aitts, for `Authorization: Bearer` under /api/v1."""
        return self._state.account.api_key

    @property
    def api_keys(self) -> dict[str, str]:
        """The API key of each provider."""
        return self._state.api_keys

    @property
    def id_token(self) -> str:
        """The ID token of the account's owner, for `Authorization: Bearer` under /api/user."""
        return self._state.account.id_token

    @property
    def account(self) -> Account:
        """The account at aitts; its `credits`, `webhook_url` and `signing_secret` can be set."""
        return self._state.account

    @property
    def signing_secret(self) -> str:
        """The secret that signs webhooks."""
        return self._state.account.signing_secret

    @signing_secret.setter
    def signing_secret(self, secret: str) -> None:
        self._state.account.signing_secret = secret

    @property
    def webhook_url(self) -> str | None:
        """The account's webhook address; setting it has the effect of a registration."""
        return self._state.account.webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._state.account.webhook_url = url

    @property
    def settings(self) -> Settings:
        """How the providers behave; can be replaced at any time."""
        return self._state.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._state.settings = settings

    @property
    def limit(self) -> RateLimit:
        """The account's rate limit at aitts."""
        return self._state.limit

    # what happened

    @property
    def jobs(self) -> JobStore:
        """The jobs of all providers; `jobs.of("audixa")` returns those of one."""
        return self._state.jobs

    @property
    def deliveries(self) -> list[Delivery]:
        """All attempts to deliver webhooks, in the order in which they ended."""
        return self._state.deliveries

    @property
    def idempotency_keys(self) -> list[str]:
        """The `Idempotency-Key` of each submit to aitts that had one."""
        return self._state.idempotency_keys

    @property
    def leaks(self) -> list[str]:
        """Requests to the storage origin that carried credentials."""
        return self._state.leaks

    @property
    def requests(self) -> Counter[str]:
        """Requests by provider and endpoint: `audixa.status`, `aitts.submit`, … and `storage`, `loop`.

        Endpoints: submit and status of all; stream, audio, register and test of aitts; audio of miragic; voices of
        aitts and audixa; history of audixa. Requests to aitts are also counted under the endpoint's name alone. `live`
        counts requests for a stream's address, `live_with_key` those with a key, `live_disconnected` broken-off ones.
        """
        return self._state.requests

    @property
    def job_requests(self) -> Counter[tuple[str, str]]:
        """Requests by (endpoint, job id), without the provider."""
        return self._state.job_requests

    @property
    def injected(self) -> Counter[str]:
        """How often each fault happened, by name."""
        return self._state.injector.injected

    async def wait_until(self, predicate: Callable[[], object], timeout: float = 60.0) -> None:  # noqa: ASYNC109
        """Return as soon as `predicate()` is true; checked now and whenever something is recorded here.

        Raises TimeoutError after `timeout` seconds by the machine's clock: it guards a test, and simulates nothing.
        """
        async with asyncio.timeout(timeout):
            await self._state.changes.wait_until(predicate)

    # faults

    @property
    def faults(self) -> Faults:
        """The rates of random faults; can be replaced at any time."""
        return self._state.injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._state.injector.faults = faults

    def force(
        self,
        name: str,
        times: int = 1,
        *,
        value: float | str | None = None,
        at: str | None = None,
        job_id: str | None = None,
    ) -> None:
        """Make a fault happen at the next `times` opportunities.

        `value` is the fault's number or text (see `Faults`); `at` limits it to a provider (`audixa`), an endpoint
        (`status`) or both (`audixa.status`), `job_id` to one job.
        """
        self._state.injector.force(name, times, value=value, at=at, job_id=job_id)

    def clear_forced(self) -> None:
        """Discard the forced faults that have not happened yet."""
        self._state.injector.clear()
