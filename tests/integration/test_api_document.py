"""The document, its page, and the answers that every path has: made of the same table as the routes."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from receiver import Settings
from receiver.web.api import events, routes
from receiver.web.api.openapi import document
from receiver.web.api.page import page
from receiver.web.api.problems import ProblemError
from receiver.web.api.routes import ROUTES
from tests.integration.api_support import BEARER, TOKEN, Api, api, event_number, problem
from tests.integration.intake_support import configured, logged
from tests.patience import PATIENCE
from tests.stores import file_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={})


def references(value: Any) -> Iterator[str]:
    """Everything that a document points to."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


async def test_the_document_has_every_operation_and_what_it_points_to(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/openapi.json")
        assert answer.headers["content-type"] == "application/json"
        received = answer.json()
        assert received == document(ROUTES, tokens=False)
        assert received["openapi"].startswith("3.1.")
        listed = {(method.upper(), path) for path, methods in received["paths"].items() for method in methods}
        assert listed == {(operation.method, operation.path) for operation in ROUTES}
        schemas = {f"#/components/schemas/{name}" for name in received["components"]["schemas"]}
        assert set(references(received)) <= schemas
        names = [operation["operationId"] for methods in received["paths"].values() for operation in methods.values()]
        assert len(set(names)) == len(names)


def test_every_operation_says_what_it_does() -> None:
    for operation in ROUTES:
        assert operation.description, operation.name
        assert operation.summary
        for name, model in operation.inputs.items():
            assert model.__doc__, (operation.name, name)


async def test_tokens_are_in_the_document_only_where_they_are_wanted(tmp_path: Path) -> None:
    async with api(configured(tmp_path / "a", handlers={}, api={"tokens": [TOKEN]}), **BEARER) as client:
        received = await client.json("/openapi.json")
        assert received["security"] == [{"token": []}]
        assert received["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
        for methods in received["paths"].values():
            for method, operation in methods.items():
                assert "401" in operation["responses"]
                assert ("403" in operation["responses"]) == (method not in ("get", "head"))
        assert TOKEN not in str(received)
    async with api(configured(tmp_path / "b", handlers={})) as client:
        assert "security" not in await client.json("/openapi.json")


async def test_the_page_needs_nothing_from_anywhere(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/docs")
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        text = answer.text
        (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
        (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
        assert policy == (
            f"default-src 'none'; style-src '{sha256(style)}'; script-src '{sha256(script)}'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        text = text.replace(f"<script>{script}</script>", "")
        assert not re.search(r"<script|<link|<img|<iframe|\son\w+=|\sstyle=|https?://|@import|url\(", text)
        for operation in ROUTES:
            assert f'id="{operation.name}"' in text
        links = set(re.findall(r'href="#([^"]+)"', text))
        assert links <= set(re.findall(r'id="([^"]+)"', text))


def sha256(text: str) -> str:
    """As a policy writes it."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


async def test_nothing_that_is_typed_into_the_page_has_a_name_that_an_address_could_have(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={}, api={"tokens": [TOKEN]})) as client:
        text = (await client.get("/docs")).text
        fields = re.findall(r"<(?:input|textarea)[^>]*>", text)
        assert len(fields) > len(ROUTES)
        assert not [field for field in fields if " name=" in field]
        assert sum('type="password"' in field for field in fields) == 1
    async with api(configured(tmp_path / "open", handlers={})) as client:
        assert 'type="password"' not in (await client.get("/docs")).text


def test_the_page_shows_texts_and_never_runs_them() -> None:
    received = document(ROUTES, tokens=True)
    received["info"]["summary"] = received["paths"]["/v1/events"]["get"]["summary"] = '<script>"x"</script> `<b>`'
    assert page(received).count("<script") == 1
    assert "<code>&lt;b&gt;</code>" in page(received)


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/events/", "/v1/nothing", "/docs/", "/webhooks/aitts"])
async def test_a_path_that_there_is_not_is_a_problem(settings: Settings, path: str) -> None:
    async with api(settings) as client:
        assert problem(await client.get(path)) == (404, "no_such_path")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/v1/events", "GET, HEAD"),
        ("PATCH", f"/v1/events/{event_number(1)}", "GET, HEAD"),
        ("GET", f"/v1/events/{event_number(1)}/replay", "POST"),
        ("DELETE", "/v1/speech", "POST"),
        ("OPTIONS", "/v1/jobs/x", "DELETE, GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("POST", "/metrics", "GET, HEAD"),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_a_problem(
    settings: Settings, method: str, path: str, allowed: str
) -> None:
    async with api(settings) as client:
        answer = await client.client.request(method, path)
        assert problem(answer) == (405, "method_not_allowed")
        assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")


async def test_a_head_is_answered_as_a_get(settings: Settings) -> None:
    async with api(settings) as client:
        for path in ("/v1/events", "/v1/jobs", "/openapi.json", "/docs"):
            assert (await client.client.head(path)).status_code == 200


async def broken(client: Api, monkeypatch: pytest.MonkeyPatch, error: Exception) -> Any:
    """What a list of events is answered with when it raises this."""

    async def breaks(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(client.up.receiver.database, "read_list", breaks)
    return await client.get("/v1/events")


async def test_a_fault_of_ours_says_nothing_of_itself(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with logged() as lines:
        async with api(settings) as client:
            answer = await broken(client, monkeypatch, RuntimeError("the details"))
            assert problem(answer) == (500, "error")
            assert "the details" not in answer.text
        (line,) = lines.of("api.broken")
        assert line["operation"] == "list_events"


async def test_a_status_that_is_not_declared_does_not_go_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logged() as lines:
        async with api(settings) as client:
            answer = await broken(client, monkeypatch, ProblemError(418, "I am a teapot.", reason="error"))
            assert problem(answer) == (500, "error")
        assert lines.of("api.broken")


async def test_a_store_that_is_away_is_told(settings: Settings) -> None:
    async with api(settings) as client:
        (id,) = await client.add(1)
        file = file_of(client.up.receiver.database)
        file.rename(file.with_suffix(".away"))
        answer = await client.post(f"/v1/events/{id}/replay")
        file.with_suffix(".away").rename(file)
        assert problem(answer) == (503, "store_unavailable")
        assert answer.headers["retry-after"] == "10"


async def test_a_receiver_that_stops_answers_that_it_stops(settings: Settings) -> None:
    async with api(settings) as client:
        client.up.receiver.drain()
        answer = await client.get("/v1/events")
        assert problem(answer) == (503, "stopping")
        assert (await client.get("/docs")).status_code == 200


def test_the_models_are_not_built_before_they_are_needed() -> None:
    code = "import sys, receiver.app; print([name for name in sys.modules if name.startswith('receiver.web.api.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    heavy = {module.__name__ for module in (events, routes)} | {"receiver.web.api.models", "receiver.web.api.openapi"}
    assert not heavy & set(eval(done.stdout))
