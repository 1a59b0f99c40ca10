"""The console without a browser: who may see it, what its responses have in common, what it shows."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from receiver import Settings
from receiver.model.rate_limit import RateLimit
from receiver.store import rate_buckets
from tests.integration.api_support import TOKEN, api, problem
from tests.integration.intake_support import configured
from tests.patience import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return configured(tmp_path, handlers={})


async def test_the_overview_says_whether_all_is_well(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/console")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "All is well." in answer.text
        assert "aitts" in answer.text
        (process,) = (await client.json("/v1/processes"))["items"]
        (of_process,) = re.findall(rf"<td>{process['host']}</td>\s*<td>(\w+)</td>\s*<td>(.*?)</td>", answer.text)
        assert of_process[0] == "all"
        assert "alive" in of_process[1]
        (until,) = re.findall(r'are counted until <time datetime="([^"]+)"', answer.text)
        late = datetime.fromisoformat((await client.json("/v1/status"))["at"]) - datetime.fromisoformat(until)
        assert timedelta() <= late <= timedelta(seconds=120)


async def test_what_is_left_of_a_rate_limit_is_shown_on_the_overview_and_beside_the_source(settings: Settings) -> None:
    async with api(settings) as client:
        assert "not reported" in (await client.get("/console")).text
        reset_at = time.time() + 600
        limit = RateLimit(10, 3, reset_at, "tts")
        await client.up.receiver.database.write(rate_buckets.record, "aitts", limit, reset_at - 600)
        for path in ("/console", "/console/sources"):
            text = re.sub(r"\s*<[^>]+>\s*", " ", (await client.get(path)).text)
            assert re.search(r" 3 of 10 +tts +until ", text), path


async def test_charts_span_their_time_also_if_nothing_was_counted(settings: Settings) -> None:
    async with api(settings) as client:
        page = (await client.get("/console")).text
        axes = re.findall(r'<p class="axis">(.*?)</p>', page)
        ends = [[datetime.fromisoformat(at) for at in re.findall(r'datetime="([^"]+)"', axis)] for axis in axes]
        spans = [until - since for since, until in ends]
        assert spans[:2] == [timedelta(hours=1)] * 2
        day = timedelta(days=1)
        assert [day <= span <= day + timedelta(minutes=10) for span in spans[2:]] == [True, True]


async def test_a_page_may_load_nothing_from_elsewhere_and_is_not_kept(settings: Settings) -> None:
    async with api(settings) as client:
        for path, status in (("/console", 200), ("/console/nothing", 404)):
            answer = await client.get(path)
            assert answer.status_code == status
            policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
            assert policy["default-src"] == "'none'"
            assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
            assert set(policy.values()) == {"'none'", "'self'"}
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["referrer-policy"] == "same-origin"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", answer.text)


async def test_files_are_kept_by_their_digest(settings: Settings) -> None:
    async with api(settings) as client:
        page = (await client.get("/console")).text
        for path, kind in re.findall(r'(?:src|href)="(/console/static/[^"]+\.(\w+))"', page):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}[kind] in answer.headers[
                "content-type"
            ]
            assert "immutable" in answer.headers["cache-control"]
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert (await client.get(path, if_none_match=answer.headers["etag"])).status_code == 304
        style = (await client.get(re.findall(r'"(/console/static/[^"]+\.css)"', page)[0])).text
        folder = re.findall(r'"(/console/static/\w+)/', page)[0]
        for icon in set(re.findall(r'url\("([^"]+)"\)', style)):
            assert (await client.get(f"{folder}/{icon}")).status_code == 200, icon
        assert (await client.get(f"{folder}/../../application.py")).status_code == 404
        assert (await client.get(f"{folder}/nothing.css")).status_code == 404


async def test_without_tokens_it_is_open_as_the_api_is(settings: Settings) -> None:
    async with api(settings) as client:
        assert (await client.get("/console", host="evil.test")).status_code == 403
        assert (await client.get("/console", origin="https://evil.test")).status_code == 403
        assert (await client.get("/console", x_forwarded_for="203.0.113.9")).status_code == 403
        assert "All is well" not in (await client.get("/console", host="evil.test")).text


async def test_with_tokens_nobody_sees_it_without_a_login(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={}, api={"tokens": [TOKEN]})) as client:
        for path in ("/console", "/console/nothing"):
            assert (await client.get(path)).headers["location"].startswith("/console/login?next=")
        assert problem(await client.get("/consoles")) == (401, "no_token")


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with api(configured(tmp_path, handlers={}, console={"enabled": False})) as client:
        assert problem(await client.get("/console")) == (404, "no_such_path")
        assert (await client.get("/v1/status")).status_code == 200


async def test_links_begin_with_the_prefix_of_a_proxy(tmp_path: Path) -> None:
    from receiver.web.root_path import under

    settings = configured(tmp_path, handlers={}, server={"root_path": "/tts"})
    async with api(settings) as client:
        client.client._transport.app = under("/tts", client.up.receiver.private)  # type: ignore[attr-defined]
        page = (await client.get("/tts/console")).text
        links = re.findall(r'(?:href|src|action|data-base)="(/[^"]*)"', page)
        assert links
        assert [link for link in links if not link.startswith("/tts/console")] == []


async def test_a_page_that_does_not_exist_is_a_page(settings: Settings) -> None:
    async with api(settings) as client:
        answer = await client.get("/console/nothing")
        assert answer.status_code == 404
        assert "There is no such page." in answer.text
        answer = await client.post("/console")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "GET, HEAD"


def test_nothing_of_it_is_loaded_before_the_first_request() -> None:
    code = "import sys, receiver.app, receiver.assembly.receiver; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("receiver.web.console.")} <= {
        "receiver.web.console.application",
        "receiver.web.console.paths",
    }
    assert not {"jinja2", "markupsafe"} & loaded
