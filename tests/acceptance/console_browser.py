"""The console in a real headless Chromium, driven by Playwright; skipped where one of them is not installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.patience import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Tab:
    """One page of the browser.

    Attributes:
        page: Playwright's.
        complaints: what the browser wrote to the console: violations of a policy, errors of scripts.
    """

    page: Any
    complaints: list[str] = field(default_factory=list)


def browser_program() -> str | None:
    """Chromium, where it is installed."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


@contextmanager
def console_tab(**context: Any) -> Iterator[Tab]:
    """A page of a browser that was just started; `context` as Playwright's `new_context`."""
    program = browser_program()
    if program is None:
        pytest.skip("chromium is not installed here; on Debian: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root with one
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=options)
        try:
            yield tab_of(browser.new_context(**context).new_page())
        finally:
            browser.close()


def tab_of(page: Any) -> Tab:
    """A page that records what the browser complains about."""
    page.set_default_timeout(PATIENCE * 1000)
    tab = Tab(page)
    page.on("console", lambda line: tab.complaints.append(line.text) if line.type in ("warning", "error") else None)
    page.on("pageerror", lambda error: tab.complaints.append(str(error)))
    return tab


def another_browser(tab: Tab, **context: Any) -> Tab:
    """A page of somebody else, with cookies of its own; `context` as for `console_tab`."""
    return tab_of(tab.page.context.browser.new_context(**context).new_page())
