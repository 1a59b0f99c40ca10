"""Logging in to the console and out of it, by its forms."""

from __future__ import annotations

from pathlib import Path
from posixpath import normpath
from urllib.parse import unquote, urlsplit

import pytest

from receiver import Settings
from tests.integration.api_support import BEARER, HOST, TOKEN, api, problem
from tests.integration.console_support import (
    COOKIE,
    HASH,
    PASSWORD,
    VIEWERS_TOKEN,
    cookie_of,
    csrf,
    is_inside,
    log_in,
    logged_in,
    send_form,
    with_users,
)
from tests.integration.intake_support import configured, logged

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return with_users(tmp_path)


async def test_a_page_leads_to_the_login_and_the_login_to_the_page(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/console/nothing?state=dead&q=a%20b")
        assert answer.status_code == 303
        to = answer.headers["location"]
        assert to == "/console/login?next=%2Fnothing%3Fstate%3Ddead%26q%3Da%2520b"
        page = await client.get(to)
        assert page.status_code == 200
        assert 'name="next" value="/nothing?state=dead&amp;q=a%20b"' in page.text
        answer = await log_in(client, next="/nothing?state=dead&q=a%20b")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/nothing?state=dead&q=a%20b")
        assert (await client.get(to)).headers["location"] == "/console/nothing?state=dead&q=a%20b"


@pytest.mark.parametrize(
    "wanted",
    [
        "//evil.test",
        "https://evil.test",
        "/\\evil.test",
        "\\/evil.test",
        "evil",
        "/a\r\nSet-Cookie: x=y",
        "/\u00e9",
        "/" * 3000,
        "/../v1/events",
        "/events/../../other",
        "/%2e%2E/other",
        "/.%2e",
        "/./..?state=dead",
        "/..#a",
    ],
)
async def test_a_login_leads_to_no_other_address(settings: Settings, wanted: str) -> None:
    async with api(settings) as client:
        answer = await log_in(client, next=wanted)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console")
        path = unquote(urlsplit(answer.headers["location"]).path)
        assert normpath(path).startswith("/console"), "a browser resolves dots"
        assert "\\" not in answer.headers["location"]
        assert "set-cookie: x" not in str(answer.headers).lower()


async def test_what_a_login_page_loads_is_open_and_nothing_else_is(settings: Settings) -> None:
    async with api(settings) as client:
        page = (await client.get("/console/login")).text
        style = page.partition('stylesheet" href="')[2].partition('"')[0]
        assert (await client.get(style)).status_code == 200
        for path in ("/console", "/console/events", "/console/stream", "/console/nothing"):
            answer = await client.get(path, sec_fetch_mode="cors")
            assert answer.status_code == 401, path
            assert "Log in to see this page." in answer.text
        assert (await client.client.post("/console/logout", headers={"Origin": HOST})).status_code == 401
        assert (await client.client.put("/console/login")).status_code == 405


@pytest.mark.parametrize(
    ("fields", "inside"),
    [
        ({"name": "anna", "password": PASSWORD}, True),
        ({"token": TOKEN}, True),
        ({"token": f" {TOKEN} "}, True),
        ({"name": "anna", "password": PASSWORD + " "}, False),
        ({"name": "anna", "password": ""}, False),
        ({"name": "anna", "password": HASH}, False),
        ({"name": "nobody", "password": PASSWORD}, False),
        ({"name": "ANNA", "password": PASSWORD}, False),
        ({"name": "", "password": PASSWORD}, False),
        ({"name": "shop", "password": TOKEN}, False),
        ({"name": "anna", "password": PASSWORD, "token": "x"}, True),
        ({"token": TOKEN[:-1]}, False),
        ({"token": "\ud7ff\u0000"}, False),
        ({"token": ""}, False),
        ({"next": "/"}, False),
    ],
)
async def test_a_login_is_with_a_password_or_a_token_as_they_are(
    settings: Settings, fields: dict[str, str], inside: bool
) -> None:
    async with api(settings) as client:
        answer = await send_form(client, "/console/login", **fields)
        assert answer.status_code == (303 if inside else 401)
        assert ("set-cookie" in answer.headers) == inside
        assert await is_inside(client) == inside


async def test_a_field_that_is_given_twice_is_none(settings: Settings) -> None:
    async with api(settings) as client:
        headers = {"Origin": HOST, "Content-Type": "application/x-www-form-urlencoded"}
        body = f"token={TOKEN}&token={TOKEN}"
        assert (await client.client.post("/console/login", content=body, headers=headers)).status_code == 401


async def test_a_wrong_name_and_a_wrong_password_are_the_same_to_their_sender(settings: Settings) -> None:
    async with api(settings) as client:
        known = await log_in(client, "anna", "not the password")
        unknown = await log_in(client, "nobody", "not the password")
        assert known.text == unknown.text
        assert "The name or the password is wrong." in known.text
        assert {k: v for k, v in known.headers.items() if k != "date"} == dict(unknown.headers)


async def test_a_cookie_is_of_the_console_alone_and_no_script_reads_it(settings: Settings) -> None:
    async with api(settings) as client:
        set_cookie = (await log_in(client)).headers["set-cookie"]
        assert set_cookie == f"{COOKIE}={cookie_of_text(set_cookie)}; Path=/console; HttpOnly; SameSite=Strict"
        client.client.cookies.clear()
        headers = {"Origin": "https://tts.test", "Sec-Fetch-Site": "same-origin"}
        answer = await client.client.post("/console/login", data={"token": TOKEN}, headers=headers)
        secure = answer.headers["set-cookie"]
        assert secure.startswith(f"__Host-{COOKIE}=")
        assert secure.endswith("; Path=/; Secure; HttpOnly; SameSite=Strict")


def cookie_of_text(header: str) -> str:
    return header.partition("=")[2].partition(";")[0]


async def test_the_api_never_accepts_the_cookie(settings: Settings) -> None:
    async with api(settings) as client:
        value = await logged_in(client)
        for path in ("/v1/events", "/v1/stream?seconds=0", "/metrics", "/consoles"):
            answer = await client.get(path, cookie=f"{COOKIE}={value}; __Host-{COOKIE}={value}")
            assert problem(answer) == (401, "no_token")
        assert (await client.get("/console", **BEARER)).status_code == 200


async def test_a_logout_ends_the_session_in_the_store_and_the_browser_forgets_it(settings: Settings) -> None:
    async with api(settings) as client:
        value = await logged_in(client)
        answer = await send_form(client, "/console/logout", csrf=await csrf(client))
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/login")
        assert answer.headers["clear-site-data"] == '"cache"'
        assert all("Max-Age=0" in header for header in answer.headers.get_list("set-cookie"))
        assert not await is_inside(client)
        assert not await is_inside(client, cookie=f"{COOKIE}={value}"), "the cookie is worth nothing afterwards"


async def test_each_login_has_a_new_session_and_ends_the_one_of_the_same_browser(settings: Settings) -> None:
    """A session that somebody else put into the browser is not the one that is used after a login."""
    async with api(settings) as client:
        first = await logged_in(client, "ben")
        second = await logged_in(client, "anna")
        assert first != second
        client.client.cookies.clear()
        assert not await is_inside(client, cookie=f"{COOKIE}={first}")
        assert await is_inside(client, cookie=f"{COOKIE}={second}")


async def test_a_value_that_the_browser_brings_is_never_made_a_session(settings: Settings) -> None:
    async with api(settings) as client:
        planted = "A" * 43
        answer = await client.client.post(
            "/console/login", data={"token": TOKEN}, headers={"Origin": HOST, "Cookie": f"{COOKIE}={planted}"}
        )
        assert cookie_of(answer) != planted
        client.client.cookies.clear()
        assert not await is_inside(client, cookie=f"{COOKIE}={planted}")


async def test_logins_and_logouts_are_recorded_counted_and_logged_without_secrets(settings: Settings) -> None:
    with logged(secrets=()) as lines:
        async with api(settings) as client:
            await log_in(client, "anna", "a wrong password")
            await log_in(client, PASSWORD, PASSWORD)
            await logged_in(client)
            await send_form(client, "/console/logout", csrf=await csrf(client))
            await send_form(client, "/console/login", token=VIEWERS_TOKEN)
            changes = (await client.get("/v1/changes", **BEARER)).json()["items"]
            metrics = (await client.get("/metrics", **BEARER)).text
        assert [(change["actor"], change["via"], change["operation"]) for change in changes] == [
            ("dashboard", "console", "log_in"),
            ("anna", "console", "log_out"),
            ("anna", "console", "log_in"),
        ]
        assert changes[2]["filter"] == {"credential": "user", "client": "127.0.0.1"}
        assert 'tts_receiver_console_logins_total{outcome="logged_in"} 2.0' in metrics
        assert 'tts_receiver_console_logins_total{outcome="wrong_password"} 2.0' in metrics
        refused = lines.of("console.login_refused")
        assert [(line["outcome"], line.get("user")) for line in refused] == [
            ("wrong_password", "anna"),
            ("wrong_password", None),
        ]
        assert [line["user"] for line in lines.of("console.logged_in")] == ["anna", "dashboard"]
        for secret in (PASSWORD, HASH, "a wrong password", VIEWERS_TOKEN):
            assert secret not in lines.text
            assert secret not in str(changes)


async def test_a_link_from_elsewhere_is_asked_for_again_by_the_page_itself(settings: Settings) -> None:
    """A browser sends no cookie with `SameSite=Strict` for it."""
    async with api(settings) as client:
        page = await client.get("/console/login?next=/events", sec_fetch_site="cross-site")
        assert '<meta http-equiv="refresh" content="0; url=/console/login?next=%2Fevents">' in page.text
        again = await client.get("/console/login?next=/events", sec_fetch_site="same-origin")
        assert "http-equiv" not in again.text


@pytest.mark.parametrize("host", ["127.0.0.1:8081", "tts.example.com", "receiver:8081"])
async def test_a_session_by_https_works_whatever_a_proxy_does_with_the_host(settings: Settings, host: str) -> None:
    browser = {"Host": host, "Sec-Fetch-Site": "same-origin", "X-Forwarded-For": "203.0.113.7"}
    form = {**browser, "Origin": "https://tts.example.com"}
    async with api(settings) as client:
        answer = await client.client.post("/console/login", data={"name": "anna", "password": PASSWORD}, headers=form)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        assert cookie.startswith(f"__Host-{COOKIE}=")
        client.client.cookies.clear()
        page = await client.client.get("/console", headers={**browser, "Cookie": cookie})
        token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        answer = await client.client.post("/console/logout", data={"csrf": token}, headers={**form, "Cookie": cookie})
        assert answer.status_code == 303


async def test_the_form_shows_what_one_can_log_in_with(tmp_path: Path) -> None:
    async with api(with_users(tmp_path, api={})) as client:
        page = (await client.get("/console/login")).text
        assert 'name="password"' in page
        assert 'name="token"' not in page
        assert (await send_form(client, "/console/login", token=TOKEN)).status_code == 401
    async with api(with_users(tmp_path / "b", console={})) as client:
        page = (await client.get("/console/login")).text
        assert 'name="password"' not in page
        assert 'name="token"' in page
        assert (await log_in(client)).status_code == 401


async def test_without_tokens_and_users_there_is_no_login(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={})) as client:
        assert (await client.get("/console/login")).headers["location"] == "/console"
        assert (await client.get("/console/login", host="evil.test")).status_code == 403
        assert "/console/logout" not in (await client.get("/console")).text


async def test_a_form_that_is_too_long_or_is_none_is_refused(settings: Settings) -> None:
    async with api(settings) as client:
        assert (await send_form(client, "/console/login", name="anna", password="x" * 70_000)).status_code == 413
        for kind, body, status in (
            ("application/json", "{}", 415),
            ("application/x-www-form-urlencoded", "name=%FF", 400),
            ("application/x-www-form-urlencoded", "&".join(f"n{i}=1" for i in range(200)), 400),
        ):
            headers = {"Origin": HOST, "Content-Type": kind}
            answer = await client.client.post("/console/login", content=body, headers=headers)
            assert answer.status_code == status, body[:20]
