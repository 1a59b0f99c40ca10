"""A browser without scripts: it keeps cookies, follows forms, and says from where it sends them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx

from receiver import Settings
from receiver.model.password_hash import hash_password
from tests.integration.api_support import HOST, TOKEN, Api
from tests.integration.intake_support import configured

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD, b"0" * 16)
VIEWERS_TOKEN = "token-of-a-viewer-0123456789"
USERS = {"anna": {"password_hash": HASH, "role": "operator"}, "ben": {"password_hash": HASH}}
TOKENS = [{"id": "shop", "token": TOKEN}, {"id": "dashboard", "token": VIEWERS_TOKEN, "role": "viewer"}]
COOKIE = "tts_receiver_console"


def with_users(tmp_path: Path, **tables: Any) -> Settings:
    """A receiver with two users and two tokens."""
    return configured(tmp_path, handlers={}, **{"console": {"users": USERS}, "api": {"tokens": TOKENS}, **tables})


async def send_form(client: Api, path: str, origin: str | None = HOST, **fields: str) -> httpx.Response:
    """POST of a form."""
    headers = {} if origin is None else {"Origin": origin}
    return await client.client.post(path, data=fields, headers=headers)


async def log_in(client: Api, name: str = "anna", password: str = PASSWORD, **fields: str) -> httpx.Response:
    """The response to the login's form."""
    return await send_form(client, "/console/login", name=name, password=password, **fields)


async def logged_in(client: Api, name: str = "anna") -> str:
    """Log in; the cookie's value."""
    answer = await log_in(client, name)
    assert answer.status_code == 303, answer.text
    return cookie_of(answer)


def cookie_of(answer: httpx.Response) -> str:
    """The value of the cookie that a response sets."""
    found = re.search(rf"{COOKIE}=([\w-]+);", answer.headers["set-cookie"])
    assert found is not None
    return found[1]


async def csrf(client: Api) -> str:
    """What the forms of the overview send back."""
    found = re.search(r'name="csrf" value="(\w+)"', (await client.get("/console")).text)
    assert found is not None
    return found[1]


async def is_inside(client: Api, **headers: str) -> bool:
    """Whether the overview is shown."""
    answer = await client.get("/console", **headers)
    assert answer.status_code in (200, 303, 401)
    assert ('class="verdict' in answer.text) == (answer.status_code == 200)
    return answer.status_code == 200
