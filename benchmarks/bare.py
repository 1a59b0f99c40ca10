"""The reference for intake: a bare Starlette endpoint that reads the body and responds 202."""

from __future__ import annotations

import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


async def endpoint(request: Request) -> Response:
    await request.body()
    return JSONResponse({"status": "accepted"}, 202)


app = Starlette(routes=[Route("/webhooks/{source}", endpoint, methods=["POST"])])


def main() -> None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        proxy_headers=False,
        log_level="error",
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
