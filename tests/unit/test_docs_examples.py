"""The examples of the documentation run, and the messages that it quotes are those of the code."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from importlib import util
from pathlib import Path
from typing import Any

import httpx
import pytest

from handlers.forward import forward
from receiver.engine.plugins import load_registry
from receiver.errors import BlockedAddress
from receiver.model.signature import SCHEMES
from receiver.outbound.guard import AddressGuard
from receiver.settings import load
from receiver.testing import completed, run_handler, wav
from tests.stores import query
from tests.unit.test_docs import DOCS, ROOT, blocks


def imported(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A file as the module `name`, for as long as the test lasts."""
    spec = util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def run_tests_of(module: Any) -> int:
    found = [value for name, value in vars(module).items() if name.startswith("test_")]
    for function in found:
        function()
    return len(found)


def test_the_readmes_handler_and_its_test_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handler, test = blocks(ROOT / "README.md", "python")
    assert len(handler.splitlines()) <= 13
    (tmp_path / "hand_over.py").write_text(handler)
    (tmp_path / "test_hand_over.py").write_text(test)
    imported("plugins.hand_over", tmp_path / "hand_over.py", monkeypatch)
    assert run_tests_of(imported("test_hand_over", tmp_path / "test_hand_over.py", monkeypatch)) == 1


def test_the_how_to_of_handler_tests_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(DOCS / "how-to" / "test-a-handler.md", "python")
    (tmp_path / "shown.py").write_text(block)
    assert run_tests_of(imported("shown", tmp_path / "shown.py", monkeypatch)) == 4


def test_the_check_that_is_shown_takes_what_is_signed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = blocks(DOCS / "how-to" / "verify-a-signature.md", "python")
    (tmp_path / "shown.py").write_text(block)
    holds = imported("shown", tmp_path / "shown.py", monkeypatch).holds
    [(_, header)] = SCHEMES["tts"].sign("a-secret", b"{}", int(time.time()), "")
    t, _, v1 = header.partition(",")
    assert holds("a-secret", header, b"{}")
    assert holds("a-secret", f"{t}, v1={'0' * 64}, {v1.upper().replace('V1', 'v1')}", b"{}")
    for secret, value, body in [("other", header, b"{}"), ("a-secret", header, b"{ }"), ("a-secret", v1, b"{}")]:
        assert not holds(secret, value, body)
    for bad in (f"{t},{header}", "t=1,v1=\u00e9", t, "", f"t=\u0661,{v1}", f"t={'1' * 5000},{v1}"):
        assert not holds("a-secret", bad, b"{}")
    [(_, old)] = SCHEMES["tts"].sign("a-secret", b"{}", int(time.time()) - 301, "")
    assert not holds("a-secret", old, b"{}")


@pytest.mark.parametrize(
    "page", ["tutorial.md", "how-to/mount-in-your-app.md", "reference/handler-api.md"], ids=lambda page: str(page)
)
def test_python_that_is_shown_can_be_loaded(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("TTS_RECEIVER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "receiver.toml").write_text(
        '[sources.aitts]\nprovider = "aitts"\nsigning_secrets = ["shown_here_0123456789"]\n'
    )
    shown = blocks(DOCS / page, "python")
    assert shown
    for number, block in enumerate(shown):
        if block.startswith("# plugins/"):  # a package's files: tests/integration/test_plugin_files.py loads them
            continue
        file = tmp_path / f"shown_{number}.py"
        file.write_text(block)
        imported(file.stem, file, monkeypatch)


class Told(httpx.AsyncBaseTransport):
    """An application that accepts everything, and keeps it."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(202)


FORWARDING = DOCS / "how-to" / "forward-to-your-application.md"
ROUTING = DOCS / "how-to" / "route-events.md"


def forwarded(**options: Any) -> httpx.Request:
    """What `forward` sends of a completed job."""
    application = Told()
    secret = re.findall(r"whsec_[\w+/]+=*", FORWARDING.read_text())[0]
    given = {"url": "https://app.example/tts", "secrets": [secret], **options}
    outcome = run_handler(forward, completed(metadata={"order": 7}), audio=wav(), options=given, http=application)
    assert outcome.state == "succeeded"
    [request] = application.requests
    return request


def test_an_application_that_verifies_as_it_is_shown_takes_what_forward_sends_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = blocks(FORWARDING, "python")
    (tmp_path / "shown.py").write_text(block)
    receive = imported("shown", tmp_path / "shown.py", monkeypatch).receive
    request = forwarded()
    headers = dict(request.headers)
    assert receive(request.content, headers) == 204
    assert capsys.readouterr().out.endswith("/audio?n=0\n")
    for changed in ({"webhook-signature": "nonsense"}, {"webhook-timestamp": "1"}, {"webhook-id": ""}):
        assert receive(request.content, headers | changed) == 401
    assert receive(b"\xff" + request.content, headers) == 401


def test_the_document_that_is_shown_has_the_fields_of_one_that_is_sent() -> None:
    (block,) = blocks(FORWARDING, "json")

    def fields_of(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: fields_of(item) for name, item in value.items()}
        return [fields_of(item) for item in value] if isinstance(value, list) else None

    shown, sent = json.loads(block), json.loads(forwarded().content)
    assert fields_of(shown) == fields_of(sent)
    assert list(shown["data"]) == list(sent["data"])


def test_the_refusal_that_is_shown_is_the_guards() -> None:
    page = DOCS / "how-to" / "call-another-service.md"
    [shown] = [block for block in blocks(page, "text") if block.startswith("BlockedAddress: ")]
    host, table = re.findall(r"^BlockedAddress: (\S+) .* in (\S+) if ", shown)[0]
    with pytest.raises(BlockedAddress) as refusal:
        asyncio.run(AddressGuard(allow_private=False, table=table).resolve(host, 443))
    assert f"BlockedAddress: {refusal.value}\n" == shown


def test_the_lifespan_that_is_shown_keeps_one_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks_shown = blocks(DOCS / "reference" / "handler-api.md", "python")
    [block] = [block for block in blocks_shown if "lifespan=connect" in block]
    (tmp_path / "shown.py").write_text(block)
    index = imported("shown", tmp_path / "shown.py", monkeypatch).index
    database = tmp_path / "episodes.db"
    for job in ("job-1", "job-2", "job-1"):
        assert run_handler(index, completed(job), options={"database": str(database)}).state == "succeeded"
    assert query(database, "SELECT job FROM episodes ORDER BY job") == [{"job": "job-1"}, {"job": "job-2"}]


def test_the_routes_of_the_page_are_those_it_says(tmp_path: Path) -> None:
    (block,) = blocks(ROUTING, "toml")
    (tmp_path / "receiver.toml").write_text(block)
    registry = load_registry(load(tmp_path / "receiver.toml"))

    def names_for(type: str, **metadata: Any) -> tuple[str, ...]:
        return registry.names_for(type, "aitts", {"metadata": metadata})

    assert names_for("job.completed", customer="acme") == ("acme",)
    assert names_for("job.failed", customer="globex-eu", plan={"tier": 3}) == ("globex",)
    assert names_for("job.completed", customer="globex", plan={"tier": 1}) == ()
    assert names_for("test", customer="globex", plan={"tier": 2}) == ()
