"""The handlers' own HTTP clients, `ctx.http`: one for each handler.

Apart from each other because a client has a bounded number of connections and a jar of cookies: one handler's slow
calls would keep another's waiting, and its cookies would be sent with them.
"""

from __future__ import annotations

import ssl
import threading

import httpx

TIMEOUT_SECONDS = 30.0
"""How long connecting, sending and each wait for an answer's next bytes may take."""


class HandlerClients:
    """Clients by handler, made on first use. They share their certificates, which take memory."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._certificates: ssl.SSLContext | None = None

    def get(self, handler: str) -> httpx.AsyncClient:
        """The handler's client; from any thread."""
        with self._guard:
            client = self._clients.get(handler)
            if client is None:
                self._certificates = self._certificates or httpx.create_ssl_context()
                client = self._clients[handler] = httpx.AsyncClient(timeout=TIMEOUT_SECONDS, verify=self._certificates)
            return client

    async def aclose(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.aclose()
