"""Pages in a real browser, and what every one of them must hold to on every screen."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SCREENS = {
    "laptop-light": ("light", LAPTOP),
    "laptop-dark": ("dark", LAPTOP),
    "phone-light": ("light", PHONE),
    "phone-dark": ("dark", PHONE),
}
MARKS = ".mark-line path, .mark-area path, .mark-symbol path, .mark-rect path"


@contextlib.contextmanager
def opening(chromium: Any, ready: str = "html[data-plots=drawn]") -> Iterator[Callable[..., Any]]:
    """Opens a page on a screen, waits for an element, and expects a silent console and no request."""
    complaints: list[str] = []
    contexts = []

    def opened(file: Path, screen: str = "laptop-light", **options: Any) -> Any:
        scheme, viewport = SCREENS[screen]
        context = chromium.new_context(color_scheme=scheme, viewport=viewport, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: request.url.startswith(("file:", "data:", "blob:")) or complaints.append(request.url),
        )
        page.on("requestfailed", lambda request: complaints.append(f"{request.failure}: {request.url}"))
        page.goto(file.as_uri())
        if options.get("java_script_enabled", True):
            # Not wait_for_function: the page's own policy forbids what that needs.
            page.wait_for_selector(ready, state="attached", timeout=90_000)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints, complaints


def check_usable(page: Any, screen: str) -> None:
    """The page fits the screen, every plot is drawn with marks in it, and axe finds nothing serious."""
    check_fits_and_accessible(page, screen)
    for figure in page.query_selector_all(".figure"):
        if figure.evaluate("it => it.closest('details:not([open])') !== null"):
            continue
        box = figure.query_selector(".plot svg").bounding_box()
        assert box["width"] > 150, figure.get_attribute("id")
        assert box["height"] > 90, figure.get_attribute("id")
        assert figure.query_selector_all(f"svg :is({MARKS})") != []


def check_fits_and_accessible(page: Any, screen: str) -> None:
    """The page fits the screen, and axe finds nothing serious."""
    from axe_playwright_python.sync_playwright import Axe

    assert page.evaluate("document.documentElement.scrollWidth") <= SCREENS[screen][1]["width"]
    # It would otherwise fetch the style sheets by itself, which the page's policy forbids.
    violations = Axe().run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
    serious = [
        (violation["id"], [node["html"][:150] for node in violation["nodes"]][:3])
        for violation in violations
        if violation["impact"] in ("serious", "critical")
    ]
    assert serious == []
