"""The account's webhook: registering it and testing it, under /api/user/enterprise/webhook."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .addresses import check_webhook_url
from .envelope import ApiError, invalid, success, unauthorized
from .jobs import AITTS
from .shared import SharedState
from .submissions import read_object
from .webhooks import WebhookSender

PATH = "/api/user/enterprise/webhook"
Endpoint = Callable[[Request], Awaitable[Response]]


class AccountApi:
    """Register and test. Provider's documentation: authorised by an ID token, not the API key."""

    def __init__(self, shared: SharedState, sender: WebhookSender) -> None:
        self._shared = shared
        self._sender = sender

    def routes(self) -> list[Route]:
        """The routes, on the API's origin."""
        return [
            Route(PATH, self._guarded("register", self._register), methods=["PUT"]),
            Route(f"{PATH}/test", self._guarded("test", self._test), methods=["POST"]),
        ]

    def _guarded(self, name: str, endpoint: Endpoint) -> Endpoint:
        async def guarded(request: Request) -> Response:
            shared = self._shared
            shared.count(name, provider=AITTS)
            given = request.headers.get("authorization", "").encode()
            try:
                if not hmac.compare_digest(given, f"Bearer {shared.account.id_token}".encode()):
                    raise unauthorized()
                answer = await endpoint(request)
            except ApiError as error:
                answer = error.response()
            answer.headers.update(shared.limit.headers(shared.now()))
            return answer

        return guarded

    async def _register(self, request: Request) -> Response:
        """Provider's documentation: the answer holds the signing secret once.

        `"regenerateSecret": true` makes a new one. The name of the field that holds it is not
        documented: `secret` here.
        """
        account = self._shared.account
        body = read_object(await request.body())
        allow = self._shared.settings.allow_loopback_webhooks
        url = check_webhook_url(body.get("url"), allow_loopback=allow)
        account.webhook_url = url
        if body.get("regenerateSecret") is True:
            account.signing_secret = self._shared.new_secret()
            account.secret_shown = False
        data = {"url": url}
        if not account.secret_shown:
            data["secret"] = account.signing_secret
            account.secret_shown = True
        self._shared.changes.notify()
        return success(data)

    async def _test(self, request: Request) -> Response:
        """Provider's documentation: 200 with `test_id` on a 2xx, 422 if not or timed out."""
        _ = request
        url = self._shared.account.webhook_url
        if url is None:
            message = "There is no webhook to test."
            raise invalid(message)
        delivery = await self._sender.test(url)
        if not delivery.accepted:
            reason = delivery.error or f"it answered {delivery.status}"
            raise ApiError(422, "WEBHOOK_TEST_FAILED", f"The test was not delivered: {reason}")
        return success({"test_id": str(uuid.UUID(delivery.delivery_id))})
