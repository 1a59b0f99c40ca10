"""The account API of `aitts`: register and test the webhook, under /api/user/enterprise/webhook."""

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
from .state import SimulatorState
from .submissions import read_object
from .webhooks import WebhookSender

PATH = "/api/user/enterprise/webhook"
Endpoint = Callable[[Request], Awaitable[Response]]


class AccountApi:
    """The endpoints. Provider's documentation: authorised by an ID token, not the API key."""

    def __init__(self, state: SimulatorState, sender: WebhookSender) -> None:
        self._state = state
        self._sender = sender

    def routes(self) -> list[Route]:
        """The routes, on the API's origin."""
        return [
            Route(PATH, self._wrap("register", self._register), methods=["PUT"]),
            Route(f"{PATH}/test", self._wrap("test", self._test), methods=["POST"]),
        ]

    def _wrap(self, name: str, endpoint: Endpoint) -> Endpoint:
        async def wrapped(request: Request) -> Response:
            state = self._state
            state.count_request(name, provider=AITTS)
            authorization = request.headers.get("authorization", "").encode()
            try:
                if not hmac.compare_digest(authorization, f"Bearer {state.account.id_token}".encode()):
                    raise unauthorized()
                response = await endpoint(request)
            except ApiError as error:
                response = error.response()
            response.headers.update(state.limit.headers(state.now()))
            return response

        return wrapped

    async def _register(self, request: Request) -> Response:
        """Provider's documentation: the response contains the signing secret once.

        `"regenerateSecret": true` creates a new one. The name of its field is not documented: `secret` here.
        """
        account = self._state.account
        body = read_object(await request.body())
        allow_loopback = self._state.settings.allow_loopback_webhooks
        url = check_webhook_url(body.get("url"), allow_loopback=allow_loopback)
        account.webhook_url = url
        if body.get("regenerateSecret") is True:
            account.signing_secret = self._state.new_secret()
            account.secret_shown = False
        data = {"url": url}
        if not account.secret_shown:
            data["secret"] = account.signing_secret
            account.secret_shown = True
        self._state.changes.notify()
        return success(data)

    async def _test(self, request: Request) -> Response:
        """Provider's documentation: 200 with `test_id` if the receiver answered 2xx, 422 if it did not or timed out."""
        _ = request
        url = self._state.account.webhook_url
        if url is None:
            message = "No webhook is registered."
            raise invalid(message)
        delivery = await self._sender.test(url)
        if not delivery.accepted:
            reason = delivery.error or f"it answered {delivery.status}"
            raise ApiError(422, "WEBHOOK_TEST_FAILED", f"The test was not delivered: {reason}")
        return success({"test_id": str(uuid.UUID(delivery.delivery_id))})
