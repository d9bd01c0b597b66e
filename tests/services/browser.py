"""A real browser without a screen: Debian's Chromium, or the Chrome that a machine has already."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.services.daemon import ServiceError, install

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def program() -> str:
    """The path of the browser, which is installed if there is none."""
    if not any(map(shutil.which, PROGRAMS)):
        install("browser")
    for path in filter(None, map(shutil.which, PROGRAMS)):
        return path
    raise ServiceError("There is no Chromium after it was installed.")


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """The browser, driven by Playwright; nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Without its sandbox, which a root user and many containers cannot have; it opens our own files only.
        running = playwright.chromium.launch(executable_path=program(), args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()
