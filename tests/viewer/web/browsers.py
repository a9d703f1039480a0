"""A real browser for tests: Debian's Chromium, driven by playwright, which downloads none."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from required import unavailable

ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--disable-dev-shm-usage",  # containers have little of it
    "--disable-background-networking",
    "--disable-gpu",
    "--use-angle=swiftshader",  # WebGL, without a GPU
    "--enable-unsafe-swiftshader",
]
PATIENCE_S = 90.0
"""Longest wait for what must come: on a busy machine everything comes late."""

SETTLED = """texvlm.picture && texvlm.state && texvlm.picture.mode === texvlm.mode
    && String(texvlm.picture.box) === String(texvlm.boxFor())"""
"""The picture is what the page asked for last, as large as the page now is: it stays where it lies."""

NAMES = ("chromium", "chromium-browser", "google-chrome")
ADVICE = "run `make test-web`, which installs what is missing"


@pytest.fixture(scope="module")
def chromium():
    """One browser for a module, or a skip that says what is missing."""
    found = os.environ.get("TEXVLM_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        unavailable("browser", f"no {' or '.join(NAMES)} here; {ADVICE}")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        unavailable("browser", f"playwright is not installed; {ADVICE}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


def iwer_script():
    """The WebXR runtime that needs no headset, as npm installed it."""
    root = Path(__file__).parents[3]
    folders = [os.environ.get("TEXVLM_NPM", ""), root / ".venv" / "web"]
    for folder in filter(None, folders):
        script = Path(folder) / "node_modules" / "iwer" / "build" / "iwer.min.js"
        if script.is_file():
            return script
    return unavailable("webxr", f"iwer, the WebXR runtime for tests, is not here; {ADVICE}")


class Page:
    """One page on a served viewer, and what it says about itself."""

    def __init__(self, browser, served, *, scripts=(), url=None, **options):
        self.served = served
        self.context = browser.new_context(**{"viewport": {"width": 1000, "height": 800}, **options})
        self.context.set_default_timeout(1e3 * PATIENCE_S)
        self.page = self.context.new_page()
        self.errors, self.requests = [], []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("request", lambda request: self.requests.append(request.url))
        for script in scripts:
            self.page.add_init_script(**script)
        self.page.goto(url or served.server.url)

    def __call__(self, expression):
        """The value of an expression on the page; through the debugger, since the page's policy forbids eval."""
        return self.page.evaluate(expression)

    def wait_for(self, expression, timeout_s=PATIENCE_S):
        """Its value once it is true."""
        end = time.monotonic() + timeout_s
        while not (value := self(expression)):
            assert time.monotonic() < end, f"{expression} never came; {self.errors}; {self('texvlm.meter')}"
            self.page.wait_for_timeout(10)
        return value

    def wait_until(self, true, timeout_s=PATIENCE_S):
        """As `wait_for`, for something outside the page; the page goes on meanwhile."""
        end = time.monotonic() + timeout_s
        while not (found := true()):
            assert time.monotonic() < end, f"it never came; {self.errors}; {self('texvlm.meter')}"
            self.page.wait_for_timeout(10)
        return found

    def pictures(self, count=2):
        """Wait for so many more pictures."""
        before = self("texvlm.meter.pictures")
        return self.wait_for(f"texvlm.meter.pictures >= {before + count}")

    def settled(self):
        """Wait until the picture is what the page asked for."""
        return self.wait_for(SETTLED)

    def point(self, u, v, part=0):
        """(x, y) on the page of a point of the frame, in one of the pictures; read at once, once they stay."""
        self.page.locator("#picture").scroll_into_view_if_needed()
        self.settled()
        return self(
            f"""(() => {{
                const canvas = document.getElementById("picture"), box = canvas.getBoundingClientRect();
                const [x, y, width, height] = texvlm.picture.places[{part}], scale = box.width / canvas.width;
                return [box.x + (x + {u} * width) * scale, box.y + (y + {v} * height) * scale];
            }})()"""
        )

    def close(self):
        self.context.close()
