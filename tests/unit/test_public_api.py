"""What the documentation imports is public, and nothing else is said to be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.unit.test_docs import DOCS, PAGES, ROOT, blocks
from tests.unit.test_docs_examples import imported, run_tests_of

PUBLIC = ("receiver", "receiver.signing", "receiver.testing", "receiver.providers", "receiver.contract")
FOR_HANDLERS = ("receiver", "receiver.signing", "receiver.testing")


def names_of(module: str) -> set[str]:
    return set(import_module(module).__all__)


def imports(page: Path) -> Iterator[tuple[str, str]]:
    """Module and name of each import of ours in the page's code; the module alone has an empty name."""
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                yield from ((node.module or "", alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)


def test_the_page_of_the_public_api_lists_the_public_modules_and_no_other() -> None:
    page = (DOCS / "reference" / "public-api.md").read_text()
    assert tuple(re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE)) == PUBLIC


@pytest.mark.parametrize("module", PUBLIC)
def test_every_public_name_is_there(module: str) -> None:
    found = import_module(module)
    names = list(found.__all__)
    assert len(names) == len(set(names))
    assert [name for name in names if not hasattr(found, name) or name.startswith("_")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_imports_is_public(page: Path) -> None:
    ours = [(module, name) for module, name in imports(page) if module.partition(".")[0] == "receiver"]
    private = [(module, name) for module, name in ours if module not in PUBLIC or name not in {"", *names_of(module)}]
    assert private == []


def test_every_public_name_for_handlers_is_documented() -> None:
    codes = [code for page in PAGES for code in re.findall(r"`([^`\n]+)`", page.read_text())]
    documented = {word for code in codes for word in re.findall(r"\w+", code)}
    documented |= {name for page in PAGES for _, name in imports(page)}
    assert {name for module in FOR_HANDLERS for name in names_of(module)} - documented == set()


def test_the_built_in_handlers_import_nothing_else() -> None:
    for file in (ROOT / "handlers").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "receiver":
                assert node.module in FOR_HANDLERS
                assert {alias.name for alias in node.names} <= names_of(node.module)


def test_the_handler_that_signs_works_as_it_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks(DOCS / "how-to" / "call-another-service.md", "python")
    (tmp_path / "shown.py").write_text(block + SHOWN_TEST)
    assert run_tests_of(imported("shown", tmp_path / "shown.py", monkeypatch)) == 2


SHOWN_TEST = """

import httpx

from receiver.model.signature import SCHEMES
from receiver.testing import completed, run_handler, wav

OPTIONS = {"url": "https://shop.example/audio", "secrets": ["whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="]}


def test_it_waits_as_told():
    for headers, seconds in [({"Retry-After": "7"}, 7), ({}, 60)]:
        busy = httpx.MockTransport(lambda request: httpx.Response(503, headers=headers))
        outcome = run_handler(tell_shop, completed(), audio=wav(), options=OPTIONS, http=busy)
        assert (outcome.state, outcome.retry_after) == ("retry", seconds)


OLD, NEW = "whsec_b2xkLXNlY3JldC1vZi0yNC1ieXRlcyE=", "whsec_bmV3LXNlY3JldC1vZi0yNC1ieXRlcyE="


def test_it_signs_with_both():
    asked = []

    def answer(request):
        asked.append(request)
        return httpx.Response(202)

    options = {"url": "https://shop.example/audio", "secrets": [NEW, OLD]}
    outcome = run_handler(tell_shop, completed(), audio=wav(), options=options, http=httpx.MockTransport(answer))
    assert outcome.result == {"status": 202}
    scheme, now = SCHEMES["standard-webhooks"], float(asked[0].headers["webhook-timestamp"])
    for secret in (OLD, NEW):
        key = scheme.parse_secret("key", secret)
        lines = [(name.lower(), value) for name, value in asked[0].headers.raw]
        assert scheme.verify(lines, asked[0].content, [key], now).message_id.endswith(":tell_shop")
"""
