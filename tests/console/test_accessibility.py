"""Everybody can use every page of the console: axe-core finds nothing serious, in light and dark, wide and narrow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.console_browser import console_tab
from tests.acceptance.support import Site
from tests.console.axe import axe_script, violations
from tests.console.scene import Scene, scene


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    axe_script()
    with scene(tmp_path_factory.mktemp("console") / "site") as made:
        yield made


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_serious_is_found_on_any_page(shown: Scene, scheme: str, width: int) -> None:
    script = axe_script()
    found: list[str] = []
    with console_tab(color_scheme=scheme, viewport={"width": width, "height": 800}) as tab:
        for name, path in {**shown.pages, "nowhere": "/nowhere"}.items():
            tab.page.goto(f"{shown.server.private}/console{path}")
            found += [f"{name}: {of}" for of in violations(tab.page, script)]
        tab.page.goto(f"{shown.server.private}/console")
        tab.page.keyboard.press("?")
        found += violations(tab.page, script)
        refused = [text for text in tab.complaints if "404" not in text]
    assert not found, "\n".join(found)
    assert refused == [], "the policy of the pages refused nothing"


def test_nothing_serious_is_found_on_the_login(tmp_path: Path) -> None:
    script = axe_script()
    site = Site(tmp_path / "site").configure('[api]\ntokens = ["token-of-the-tests-0123456789"]')
    try:
        server = site.start()
        with console_tab() as tab:
            tab.page.goto(f"{server.private}/console")
            assert violations(tab.page, script) == []
    finally:
        site.close()


def test_a_phone_shows_which_page_is_open(shown: Scene) -> None:
    with console_tab(viewport={"width": 390, "height": 844}) as tab:
        for name in ("overview", "sources", "changes"):
            tab.page.goto(f"{shown.server.private}/console{shown.pages[name]}")
            box = tab.page.locator("nav [aria-current]").bounding_box()
            assert box is not None
            assert 0 <= box["x"] <= box["x"] + box["width"] <= 390, name
