"""What a test looks at and turns on a running simulator; apart from what makes it run."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from .faults import Faults
from .jobs import JobBook
from .limits import RateLimit
from .settings import Settings
from .shared import Account, Delivery, SharedState


class Handles:
    """The base of `Simulator`: everything here only reads or sets the `SharedState`."""

    def __init__(self, shared: SharedState) -> None:
        self._shared = shared

    # Where it is and who may use it

    @property
    def base_url(self) -> str:
        """The API's origin, and there aitts's base URL."""
        return self._shared.base_url

    @property
    def base_urls(self) -> dict[str, str]:
        """The base URL of each provider: aitts, audixa, finevoice, miragic."""
        return self._shared.base_urls

    @property
    def storage_url(self) -> str:
        """The storage origin."""
        return self._shared.storage_url

    @property
    def api_key(self) -> str:
        """The key of aitts, for `Authorization: Bearer` under /api/v1."""
        return self._shared.account.api_key

    @property
    def api_keys(self) -> dict[str, str]:
        """The key of each provider."""
        return self._shared.api_keys

    @property
    def id_token(self) -> str:
        """For `Authorization: Bearer` under /api/user."""
        return self._shared.account.id_token

    @property
    def account(self) -> Account:
        """The account: `credits`, `webhook_url`, `signing_secret` may be set."""
        return self._shared.account

    @property
    def signing_secret(self) -> str:
        """What webhooks are signed with."""
        return self._shared.account.signing_secret

    @signing_secret.setter
    def signing_secret(self, secret: str) -> None:
        self._shared.account.signing_secret = secret

    @property
    def webhook_url(self) -> str | None:
        """The account's webhook, as if it had been registered."""
        return self._shared.account.webhook_url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        self._shared.account.webhook_url = url

    @property
    def settings(self) -> Settings:
        """How the providers behave; replace it at any time."""
        return self._shared.settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._shared.settings = settings

    @property
    def limit(self) -> RateLimit:
        """The account's rate limit at aitts."""
        return self._shared.limit

    # What happened

    @property
    def jobs(self) -> JobBook:
        """All jobs of all providers; `jobs.of("audixa")` those of one."""
        return self._shared.jobs

    @property
    def deliveries(self) -> list[Delivery]:
        """All attempts at webhooks, in the order in which they ended."""
        return self._shared.deliveries

    @property
    def leaks(self) -> list[str]:
        """Requests to the storage origin that carried credentials."""
        return self._shared.leaks

    @property
    def requests(self) -> Counter[str]:
        """Requests by provider and endpoint: `audixa.status`, `aitts.submit`, … and `storage`, `loop`.

        Endpoints: submit, status; audio, register and test of aitts; audio of miragic; voices of aitts and audixa;
        history of audixa. Those of aitts are also counted under the endpoint's name alone.
        """
        return self._shared.requests

    @property
    def job_requests(self) -> Counter[tuple[str, str]]:
        """Requests by (endpoint, job id), the endpoint's name alone."""
        return self._shared.job_requests

    @property
    def injected(self) -> Counter[str]:
        """Faults that happened, by name."""
        return self._shared.injector.injected

    async def wait_until(self, predicate: Callable[[], object], timeout: float = 60.0) -> None:  # noqa: ASYNC109
        """Return as soon as `predicate()` is true; checked now and whenever something is recorded here.

        Raises TimeoutError after `timeout` seconds by the machine's clock: it guards a test, and simulates nothing.
        """
        async with asyncio.timeout(timeout):
            await self._shared.changes.wait_until(predicate)

    # What shall happen

    @property
    def faults(self) -> Faults:
        """What goes wrong by chance; replace it at any time."""
        return self._shared.injector.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._shared.injector.faults = faults

    def force(
        self,
        name: str,
        times: int = 1,
        *,
        value: float | str | None = None,
        at: str | None = None,
        job_id: str | None = None,
    ) -> None:
        """Make a fault happen the next `times` times it could.

        `value` is the fault's number or text (see `Faults`); `at` limits it to a provider
        (`audixa`), an endpoint (`status`) or both (`audixa.status`), `job_id` to one job.
        """
        self._shared.injector.force(name, times, value=value, at=at, job_id=job_id)
