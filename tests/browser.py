"""A real Chromium for the tests of pages, from file:, as a double click opens them. It gets no network.

Tests that import this are skipped where no Chromium is installed (`apt-get install chromium`; .ci/run does).
"""

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needed = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
QUIET = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--no-first-run")


@contextlib.contextmanager
def started() -> Iterator["Browser"]:
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser: "Browser", file: Path) -> Iterator["Page"]:
    """A page at 1280 pixels, in light; the end asserts that nothing went wrong or was forbidden."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme="light", has_touch=True
    )
    page, faults = context.new_page(), list[str]()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(f"a dialog: {dialog.message}"))
    page.on(
        "console", lambda said: faults.append(said.text) if "ERR_FILE_NOT_FOUND" not in said.text else None
    )
    page.on("request", lambda asked: None if asked.url.startswith("file:") else faults.append(asked.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not faults


def contrast(page: "Page", what: str) -> float:
    """WCAG's contrast of a text and the ground behind it, of the first element that a selector names."""
    colours = page.locator(what).first.evaluate("""element => {
        let ground = element;
        while (getComputedStyle(ground).backgroundColor.startsWith('rgba(0, 0, 0, 0')) ground = ground.parentElement;
        return [getComputedStyle(element).color, getComputedStyle(ground).backgroundColor];
    }""")
    light, dark = sorted(map(_luminance, colours), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    """WCAG's relative luminance of "rgb(r, g, b)"."""
    levels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [
        level / 12.92 if level <= 0.04045 else math.pow((level + 0.055) / 1.055, 2.4) for level in levels
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))
