"""The scenario of the demo, with a receiver whose answers come before the provider's."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from receiver.cli.demo_scenario import DemoError, _submit
from receiver.simulator.serving import LoopServer

pytestmark = pytest.mark.anyio

SUBMITTING = {"id": "job_1", "job_id": None, "state": "submitting"}


async def submit_to(*answers: dict[str, object]) -> str:
    """Submit to a receiver that gives these answers, the first to the submit."""
    left: Iterator[dict[str, object]] = iter(answers)

    async def submitted(request: Request) -> Response:
        return JSONResponse(next(left), status_code=202)

    async def job(request: Request) -> Response:
        return JSONResponse(next(left))

    app = Starlette(routes=[Route("/v1/speech", submitted, methods=["POST"]), Route("/v1/jobs/job_1", job)])
    async with (
        LoopServer(app, "127.0.0.1", 0) as server,
        httpx.AsyncClient(base_url=server.url, trust_env=False) as api,
    ):
        return await _submit(api, "aitts", "Good morning.", "wav")


async def test_the_id_of_a_slow_submit_is_awaited() -> None:
    watching = SUBMITTING | {"job_id": "f3973de3", "state": "watching"}
    assert await submit_to(SUBMITTING, SUBMITTING, watching) == "f3973de3"


async def test_a_submit_that_fails_late_is_an_error_with_the_jobs_id() -> None:
    with pytest.raises(DemoError, match="job_1 of aitts has no id of the provider; it is failed"):
        await submit_to(SUBMITTING, SUBMITTING | {"state": "failed"})
