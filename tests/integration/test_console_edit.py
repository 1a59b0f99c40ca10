"""Editing an event in the console: the form, its errors, and the event that comes of it."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from receiver import Settings
from tests.integration.api_support import Api, api, event_number
from tests.integration.console_support import logged_in, send_form, with_users
from tests.integration.intake_support import configured
from tests.integration.test_console_event import HOSTILE, csrf_of, foreign_markup

pytestmark = pytest.mark.anyio

PATH = f"/console/events/{event_number(1)}/edit"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={"log": {}})


async def add_event(client: Api, payload: dict[str, object]) -> None:
    """An event that can be edited: not signed."""
    await client.add(1, origin="poll", payload=json.dumps(payload))


def textarea(page: str) -> str:
    """What a browser shows in the form."""
    found = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", page, re.DOTALL)
    assert found is not None
    return html.unescape(found[1])


def key_of(page: str) -> str:
    """The form's idempotency key."""
    found = re.search(r'name="key" value="([^"]+)"', page)
    assert found is not None
    return found[1]


async def test_an_edited_event_is_a_new_one_with_the_payload_of_the_form(settings: Settings) -> None:
    payload = {"metadata": {"order": 1, "note": HOSTILE + "</textarea>"}, "size": 1.5}
    async with api(settings) as client:
        await add_event(client, payload)
        page = (await client.get(PATH)).text
        assert foreign_markup(page) == []
        assert json.loads(textarea(page)) == payload
        text = textarea(page).replace('"order": 1', '"order": 2').replace("\n", "\r\n")
        fields = {"csrf": csrf_of(page), "key": key_of(page), "payload": text, "handlers": "log"}
        answers = [await send_form(client, PATH, **fields) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [303, 303], answers[0].text
        assert len({answer.headers["location"] for answer in answers}) == 1, "sent twice, it is made once"
        path = answers[0].headers["location"]
        made = await client.json(path.replace("/console", "/v1"))
        assert made["payload"] == {**payload, "metadata": {**payload["metadata"], "order": 2}}  # type: ignore[dict-item]
        assert (made["origin"], made["edited_from"]) == ("edited", event_number(1))
        shown = (await client.get(path)).text
        assert f'href="/console/events/{event_number(1)}"' in shown
        (entry,) = (await client.json("/v1/changes"))["items"]
        assert (entry["operation"], entry["via"]) == ("edit", "console")


@pytest.mark.parametrize(
    ("text", "status", "what"),
    [
        ('{\n\t"a": 1,\n}', 400, "line 3"),
        ("[1]", 400, "but not an object"),
        ("", 400, "JSON"),
        ('{"a": "\u202e</textarea><script>alert(1)</script>"', 400, "line 1"),
        ('{"a": 1}', 409, "nothing was edited"),
    ],
)
async def test_an_error_is_beside_what_was_typed(settings: Settings, text: str, status: int, what: str) -> None:
    async with api(settings) as client:
        await add_event(client, {"a": 1})
        page = (await client.get(PATH)).text
        fields = {"csrf": csrf_of(page), "key": key_of(page), "handlers": "log"}
        answer = await send_form(client, PATH, payload=text, **fields)
        assert answer.status_code == status
        assert textarea(answer.text) == text.replace("\u202e", "\\u202e")
        assert what in html.unescape(answer.text)
        assert 'value="log" checked' in answer.text
        assert key_of(answer.text) == fields["key"]
        assert foreign_markup(answer.text) == []
        assert len((await client.json("/v1/events"))["items"]) == 1


async def test_a_payload_as_large_as_a_delivery_can_be_edited(settings: Settings) -> None:
    async with api(settings) as client:
        text = "ü" * 200_000
        await add_event(client, {"text": text})
        page = (await client.get(PATH)).text
        fields = {"csrf": csrf_of(page), "key": key_of(page)}
        answer = await send_form(client, PATH, payload=json.dumps({"text": text + "!"}), **fields)
        assert answer.status_code == 303, answer.text[:1000]


async def test_a_payload_that_is_too_large_is_not_lost(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={"log": {}}, server={"max_body_bytes": 4096})) as client:
        await add_event(client, {"a": 1})
        page = (await client.get(PATH)).text
        text = json.dumps({"a": "x" * 5000})
        answer = await send_form(client, PATH, csrf=csrf_of(page), key=key_of(page), payload=text)
        assert answer.status_code == 413
        assert textarea(answer.text) == text
        assert "server.max_body_bytes, which is 4,096" in answer.text


async def test_an_event_that_does_not_exist_or_a_forged_form_makes_nothing(settings: Settings) -> None:
    async with api(settings) as client:
        assert (await client.get(PATH)).status_code == 404
        await add_event(client, {"a": 1})
        page = (await client.get(PATH)).text
        fields = {"key": key_of(page), "payload": '{"a": 2}'}
        assert (await send_form(client, PATH, csrf="0", **fields)).status_code == 403
        answer = await send_form(client, PATH, "https://evil.test", csrf=csrf_of(page), **fields)
        assert answer.status_code == 403
        assert len((await client.json("/v1/events"))["items"]) == 1


async def test_a_viewer_cannot_edit(tmp_path: Path) -> None:
    async with api(with_users(tmp_path)) as client:
        await add_event(client, {"a": 1})
        await logged_in(client, "ben")
        page = await client.get(PATH.removesuffix("/edit"))
        assert page.status_code == 200
        assert "/edit" not in page.text
        assert (await client.get(PATH)).status_code == 403
        answer = await send_form(client, PATH, csrf=csrf_of(page.text), key="k", payload='{"a": 2}')
        assert answer.status_code == 403
