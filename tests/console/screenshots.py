"""Pictures of every page of the console: light, dark, and as wide as a phone.

`python -m tests.console.screenshots` writes docs/images/console-PAGE.png, -dark.png and -phone.png. It needs Chromium,
Playwright and pngquant.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from tests.acceptance.console_browser import browser_program, console_tab
from tests.acceptance.support import Site, until
from tests.console.scene import Scene, scene

IMAGES = Path(__file__).parents[2] / "docs" / "images"
_UNDRAWN = "canvas[data-draw]:not([data-drawn])"
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
FORMS: dict[str, dict[str, Any]] = {
    "": {"viewport": DESKTOP, "color_scheme": "light"},
    "-dark": {"viewport": DESKTOP, "color_scheme": "dark"},
    "-phone": {"viewport": PHONE, "color_scheme": "light", "has_touch": True, "is_mobile": True},
}


def take_login(folder: Path, images: Path) -> None:
    """Write the pictures of the login, of a receiver with a token."""
    site = Site(folder).configure('[api]\ntokens = ["token-of-the-pictures-0123456789"]')
    try:
        server = site.start()
        for suffix, form in FORMS.items():
            with console_tab(**form) as tab:
                tab.page.goto(f"{server.private}/console")
                tab.page.screenshot(path=str(images / f"console-login{suffix}.png"))
    finally:
        site.close()


def take(made: Scene, images: Path, only: list[str]) -> None:
    """Write the pictures of these pages, or of all."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=browser_program(), args=options)
        for suffix, form in FORMS.items():
            context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **form)
            page = context.new_page()
            for name, path in made.pages.items():
                if only and name not in only:
                    continue
                page.goto(f"{made.server.private}/console{path}")
                until(f"the waveform of {name}", partial(_is_drawn, page))
                page.evaluate("scrollTo(0, 0)")
                page.screenshot(path=str(images / f"console-{name}{suffix}.png"))
            context.close()
        browser.close()


def _is_drawn(page: Any) -> bool:
    return not page.locator(_UNDRAWN).count()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.console.screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES, help="a folder")
    parser.add_argument("only", nargs="*", help="names of pages; default: all")
    args = parser.parse_args()
    quantize = shutil.which("pngquant")
    if quantize is None:
        sys.exit("pngquant is not installed; on Debian: apt-get install pngquant")
    args.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tts-receiver-console-") as name:
        made = Path(name) / "images"
        made.mkdir()
        with scene(Path(name) / "site") as shown:
            take(shown, made, args.only)
        if not args.only or "login" in args.only:
            take_login(Path(name) / "login", made)
        for picture in sorted(made.iterdir()):
            to = args.into / picture.name
            subprocess.run([quantize, "--force", "--strip", "64", "--output", to, picture], check=True)
            print(f"{to.name:<34} {to.stat().st_size / 1000:6.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
