"""The report's pages about what came after the runs, in a real browser: monitoring and replays."""

import itertools
import json

import pytest
from playwright.sync_api import expect

from operations.loop.replay.result import FILE
from tests import forked
from tests.ledger.seeding import sqlite
from tests.opened_pages import SCREENS, check_usable, opening
from tests.operations.report import histories
from tests.world import ROOT

pytestmark = pytest.mark.e2e
SCREENSHOTS = ROOT / "build" / "screenshots"
USE_CASE = "late-flights"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """What `flightdeck report` writes of a workspace in which a version was monitored, and a replay was played."""
    from ledger.opening import open_store
    from ledger.recorder import Recorder

    workspace = tmp_path_factory.mktemp("workspace")
    store = open_store(sqlite(workspace / "metadata.sqlite"))
    Recorder(store).write("first", kind="run", pipeline=USE_CASE, started=histories.begin(3), outcome="blessed")
    histories.keep(store, USE_CASE)
    (workspace / "alerts").mkdir()
    histories.tell(workspace / "alerts" / "outbox.sqlite")
    played = workspace / "replay" / "celsius"
    played.mkdir(parents=True)
    (played / FILE).write_text(histories.replay("celsius", fault=True).model_dump_json())
    done = forked.run("flightdeck", "report", "--json", "--set", f"workspace={workspace}")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["further"] == {
        "Monitoring": "monitoring.html",
        "Replay celsius": "replay-celsius.html",
    }
    return workspace / "report"


@pytest.fixture
def open_page(chromium, site):
    with opening(chromium) as opened:
        yield lambda name, *screen: opened(site / f"{name}.html", *screen)


@pytest.mark.parametrize(("name", "screen"), itertools.product(("monitoring", "replay-celsius"), SCREENS))
def test_every_page_is_drawn_fits_the_screen_and_can_be_used_by_all(open_page, name, screen):
    page = open_page(name, screen)
    check_usable(page, screen)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{screen}.png", full_page=True)


def test_links_lead_from_the_runs_to_what_came_after_and_back(open_page):
    page = open_page("index")
    page.locator("header a", has_text="Monitoring").click()
    page.wait_for_selector("html[data-plots=drawn]", state="attached")
    expect(page.locator("h1")).to_have_text(f"Monitoring of {USE_CASE}")
    page.locator("header a", has_text="Replay celsius").click()
    page.wait_for_selector("html[data-plots=drawn]", state="attached")
    expect(page.locator("h1")).to_have_text("Replay celsius")
    page.locator("header a", has_text="Runs").click()
    page.wait_for_selector("html[data-plots=drawn]", state="attached")
    expect(page.locator("h1")).to_have_text(f"Runs of {USE_CASE}")


def test_another_signal_can_be_chosen(open_page):
    page = open_page("monitoring")
    axis = "#plot-signal svg .role-axis-label text"
    before = page.eval_on_selector_all(axis, "all => all.map(it => it.textContent)")
    page.select_option("select", "quality: auc")
    page.wait_for_function(
        "([axis, before]) => `${[...document.querySelectorAll(axis)].map(it => it.textContent)}` != `${before}`",
        arg=[axis, before],
    )
