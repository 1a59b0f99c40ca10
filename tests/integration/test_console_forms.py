"""Forms of the console: forged ones change nothing, and a viewer changes nothing either."""

from __future__ import annotations

from inspect import getclosurevars
from pathlib import Path

import pytest

from receiver import Settings
from receiver.web.console.pages import PageRoute
from tests.integration.api_support import BEARER, HOST, Api, api
from tests.integration.console_support import COOKIE, csrf, is_inside, logged_in, send_form, with_users
from tests.integration.intake_support import configured, logged

pytestmark = pytest.mark.anyio

ADVICE = "Open the console by its own address, load the page again"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_users(tmp_path)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"Origin": "https://evil.test"}, "foreign_origin"),
        ({"Origin": "null"}, "foreign_origin"),
        ({"Origin": HOST, "Sec-Fetch-Site": "cross-site"}, "foreign_origin"),
        ({"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-site"}, "foreign_origin"),
        ({"Sec-Fetch-Site": "none"}, "foreign_origin"),
    ],
)
async def test_a_form_from_elsewhere_changes_nothing_even_with_the_right_token(
    settings: Settings, headers: dict[str, str], reason: str
) -> None:
    with logged() as lines:
        async with api(settings) as client:
            await logged_in(client)
            fields = {"csrf": await csrf(client)}
            answer = await client.client.post("/console/logout", data=fields, headers=headers)
            assert answer.status_code == 403
            assert ADVICE in answer.text
            assert await is_inside(client)
            assert [line["outcome"] for line in lines.of("api.refused")] == [reason]


async def test_a_form_without_the_token_of_its_session_changes_nothing(settings: Settings) -> None:
    async with api(settings) as client:
        await logged_in(client, "ben")
        bens = await csrf(client)
        client.client.cookies.clear()
        await logged_in(client, "anna")
        own = await csrf(client)
        assert own != bens
        for fields in (
            {"x": ""},
            {"csrf": ""},
            {"csrf": bens},
            {"csrf": own[:-1]},
            {"csrf": own + "0"},
            {"csrf": "\u00e9"},
        ):
            answer = await send_form(client, "/console/logout", **fields)
            assert answer.status_code == 403, fields
            assert ADVICE in answer.text
        assert await is_inside(client)
        assert (await send_form(client, "/console/logout", csrf=own)).status_code == 303


async def test_a_forged_login_logs_nobody_in(settings: Settings) -> None:
    """Otherwise a page could make somebody work as somebody else."""
    async with api(settings) as client:
        for origin in (None, "https://evil.test", "null"):
            answer = await send_form(client, "/console/login", origin, name="anna", password="correct horse battery")
            assert answer.status_code == 403
            assert ADVICE in answer.text
            assert "set-cookie" not in answer.headers


async def test_without_a_login_a_form_needs_the_token_of_the_process(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={})) as client:
        assert (await send_form(client, "/console/logout", csrf="x")).status_code == 403
        assert (await send_form(client, "/console/logout", "https://evil.test", csrf="x")).status_code == 403


async def test_no_page_and_no_header_shows_the_cookie_or_its_token(settings: Settings) -> None:
    async with api(settings) as client:
        value = await logged_in(client)
        answer = await client.get("/console")
        assert value not in answer.text
        assert COOKIE not in answer.text
        assert "set-cookie" not in answer.headers


def changing_paths(client: Api) -> list[str]:
    """The paths of all forms but the login's and the logout's."""
    app = getclosurevars(client.up.receiver.private).nonlocals["console"]._app  # type: ignore[arg-type]
    routes = [route for route in app.routes if isinstance(getattr(route, "app", None), PageRoute)]
    found = [route.path for route in routes if "POST" in route.app._handlers]
    assert "/console/logout" in found
    return [path for path in found if path != "/console/logout"]


async def test_no_form_at_all_is_accepted_from_a_viewer_or_without_its_token(settings: Settings) -> None:
    async with api(settings) as client:
        (event,) = await client.add(1)
        await logged_in(client, "ben")
        own = await csrf(client)
        paths = [path.replace("{id}", event) for path in changing_paths(client)]
        assert len(paths) > 1
        for path in paths:
            answer = await send_form(client, path, csrf=own)
            assert answer.status_code == 403, path
            assert "may only read" in answer.text, path
        client.client.cookies.clear()
        await logged_in(client, "anna")
        for path in paths:
            assert (await send_form(client, path, csrf=own)).status_code == 403, path
            assert (await send_form(client, path, "https://evil.test", csrf=await csrf(client))).status_code == 403, (
                path
            )
        client.client.cookies.clear()
        for path in paths:
            assert (await send_form(client, path, csrf=own)).status_code == 401, path
        changes = (await client.get("/v1/changes", **BEARER)).json()["items"]
        assert {change["operation"] for change in changes} == {"log_in"}
