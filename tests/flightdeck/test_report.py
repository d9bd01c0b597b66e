"""`flightdeck report` after real runs, and after what comes after them, and the site in a real browser."""

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from operations.loop.replay.result import FILE
from tests import forked
from tests.flightdeck.conftest import imports_none_of, refused
from tests.ledger.seeding import sqlite
from tests.opened_pages import SCREENS, check_usable, opening
from tests.operations.report import histories
from tests.world import ROOT, World

pytestmark = pytest.mark.e2e

SCREENSHOTS = ROOT / "build" / "screenshots"
USE_CASE = "late-flights"
SHOWN_WHOLE = ("index", "run", "card", "monitoring", "replay-celsius")


@pytest.fixture(scope="module")
def world(small_spans, tmp_path_factory):
    """A pushed run, a batch prediction with its model, and a run whose training failed."""
    world = World(tmp_path_factory.mktemp("workspace"), small_spans)
    world.run("model.epochs=2", "evaluation.importance_rows=500", "evaluation.decision_threshold=0.25")
    predictions = world.workspace / "predictions.parquet"
    world.says("predict", "--window", "3:3", "--output", str(predictions))
    world.run("model.learning_rate=1e30", "model.epochs=2", expect=1)
    return world


@pytest.fixture(scope="module")
def written(world) -> dict[str, Any]:
    return world.json("report")


@pytest.fixture(scope="module")
def afterwards(tmp_path_factory) -> Path:
    """The report of a workspace in which a version was monitored, and a replay was played."""
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
    further = {"Monitoring": "monitoring.html", "Replay celsius": "replay-celsius.html"}
    assert json.loads(done.stdout)["further"] == further
    return workspace / "report"


@pytest.fixture(scope="module")
def pages(written, afterwards, tmp_path_factory) -> dict[str, Path]:
    """The pages of both sites; that of the runs was moved to a folder whose name needs quoting."""
    site = tmp_path_factory.mktemp("moved") / "a report, 100 % öffentlich"
    shutil.copytree(Path(written["index"]).parent, site)
    failed, prediction, pushed = (site / "runs" / run for run in written["runs"])
    return {
        "index": site / "index.html",
        "run": pushed / "index.html",
        "card": pushed / "card.html",
        "failed": failed / "index.html",
        "prediction": prediction / "index.html",
        "index of the other": afterwards / "index.html",
        "monitoring": afterwards / "monitoring.html",
        "replay-celsius": afterwards / "replay-celsius.html",
    }


@pytest.fixture
def open_page(chromium, pages) -> Iterator[Any]:
    with opening(chromium) as opened:
        yield lambda name, *screen, **options: opened(pages[name], *screen, **options)


def test_the_report_says_what_it_wrote(world, written):
    assert Path(written["index"]) == world.workspace / "report" / "index.html"
    assert written["listed"] == len(written["runs"]) == 3
    assert written["largest_run_bytes"] < 1_000_000
    assert written["bytes"] < 5_000_000
    failed, _, pushed = (written["missing"][run] for run in written["runs"])
    assert pushed == {}
    assert failed["training"].startswith("Trainer did not finish")
    assert failed["quality"].startswith("Scores did not run")


def test_the_report_imports_no_tensorflow(world, tmp_path):
    arguments = ["report", "--output", str(tmp_path / "site"), *world.options()]
    done = imports_none_of({"tensorflow", "tfx", "apache_beam"}, *arguments)
    assert "3 runs, 3 with pages" in done.stdout


def test_no_store_is_one_sentence(flightdeck, tmp_path):
    refused(flightdeck("report", "--set", f"workspace={tmp_path}"), "run the pipeline first")
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("name", "screen"),
    [
        *itertools.product(SHOWN_WHOLE, SCREENS),
        *itertools.product(("failed", "prediction"), ("laptop-light", "phone-dark")),
    ],
)
def test_every_page_is_drawn_fits_the_screen_and_can_be_used_by_all(open_page, name, screen):
    page = open_page(name, screen)
    check_usable(page, screen)
    if name in SHOWN_WHOLE:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=SCREENSHOTS / f"{name}-{screen}.png", full_page=True)


def test_a_page_of_a_whole_run_has_everything(open_page):
    page = open_page("run")
    plots = {figure.get_attribute("id") for figure in page.query_selector_all(".figure")}
    assert plots >= {
        *("plot-training-loss", "plot-training-auc", "plot-roc", "plot-precision-recall", "plot-calibration"),
        *("plot-scores", "plot-slices", "plot-importance", "plot-feature-arrived_late", "plot-feature-carrier"),
    }
    assert page.query_selector_all(".absent") == []
    nodes = page.query_selector_all("#pipeline ~ .beside svg .box")
    assert len(nodes) == len(page.query_selector_all("#pipeline ~ .beside tbody tr")) >= 13
    splits = page.query_selector_all("#data ~ .legend li")
    assert [split.inner_text() for split in splits] == ["train, 3,000 rows", "eval, 1,500 rows", "serving, 1,500 rows"]
    assert "Confusion at the threshold 0.25" in page.inner_text(".confusion h3")
    assert "Version" in page.text_content("#lineage ~ .panel svg")


def test_a_page_of_a_failed_run_says_what_is_missing(open_page):
    page = open_page("failed")
    text = page.inner_text("main")
    assert "Trainer failed" in text
    assert "Trainer did not finish, and so left no log of the training." in text
    assert "not run" in page.inner_text("#pipeline ~ .beside")
    assert len(page.query_selector_all("#data ~ .features .figure svg")) == 9


def column(page, heading: str) -> list[str]:
    headings = page.eval_on_selector_all("main table.sortable thead th", "all => all.map(it => it.innerText.trim())")
    index = headings.index(heading)
    return page.eval_on_selector_all(
        "main table.sortable tbody tr", f"all => all.map(it => it.children[{index}].innerText)"
    )


def test_tables_sort_by_click_and_by_key(open_page):
    page = open_page("index")
    heading = page.locator("main table.sortable thead th", has_text="Outcome")
    before = column(page, "Outcome")
    heading.click()
    page.locator("main table.sortable thead th[aria-sort=ascending]", has_text="Outcome").wait_for()
    ascending = column(page, "Outcome")
    assert ascending == sorted(before)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("[tabindex='0'], button").first.focus()
    page.keyboard.press("Enter")
    page.locator("main table.sortable thead th[aria-sort=descending]", has_text="Outcome").wait_for()
    assert column(page, "Outcome") == ascending[::-1]


def test_numbers_sort_as_numbers(open_page):
    page = open_page("run")
    table = "#pipeline ~ .beside table"
    times = f"{table} tbody tr td:nth-child(3)"
    page.wait_for_selector("html[data-plots=drawn]", state="attached")
    page.locator(f"{table} thead th", has_text="Time").click()
    page.locator(f"{table} thead th[aria-sort=ascending]", has_text="Time").wait_for()
    order = page.eval_on_selector_all(times, "all => all.map(it => Number(it.dataset.order))")
    assert order == sorted(order)
    assert order[-1] > 1


def follow(page, link, heading: str) -> None:
    link.click()
    page.wait_for_selector("html[data-plots=drawn]", state="attached")
    expect(page.locator("h1")).to_contain_text(heading)


def test_links_lead_from_the_runs_to_a_run_to_its_card_and_back(open_page, pages):
    page = open_page("index")
    run = pages["run"].parent.name
    follow(page, page.locator(f"main table a[href*='{run}']"), f"Run {run}")
    page.locator(".sections a", has_text="Slices").click()
    page.wait_for_function("location.hash == '#slices'")
    follow(page, page.locator(".sections a", has_text="Model card"), "Model card")
    assert "Intended use" in page.inner_text("main")
    follow(page, page.locator("header a", has_text="Runs"), "Runs of")


def test_links_lead_from_the_runs_to_what_came_after_and_back(open_page):
    page = open_page("index of the other")
    for link, heading in (
        ("Monitoring", f"Monitoring of {USE_CASE}"),
        ("Replay celsius", "Replay celsius"),
        ("Runs", f"Runs of {USE_CASE}"),
    ):
        follow(page, page.locator("header a", has_text=link), heading)


@pytest.mark.parametrize(("name", "plot"), [("index", "plot-history"), ("monitoring", "plot-signal")])
def test_another_metric_or_signal_can_be_chosen(open_page, name, plot):
    page = open_page(name)
    axis = f"#{plot} svg .role-axis-label text"
    before = page.eval_on_selector_all(axis, "all => all.map(it => it.textContent)")
    options = page.eval_on_selector_all("select option", "all => all.map(it => it.value)")
    page.select_option("select", "quality: auc" if name == "monitoring" else options[-1])
    page.wait_for_function(
        "([axis, before]) => `${[...document.querySelectorAll(axis)].map(it => it.textContent)}` != `${before}`",
        arg=[axis, before],
    )


def test_the_threshold_can_be_moved(open_page):
    page = open_page("run")

    def cells() -> dict[str, int]:
        names = ("tp", "fp", "tn", "fn")
        return {name: int(page.inner_text(f"[data-cell={name}]").replace(",", "")) for name in names}

    before = cells()
    assert sum(before.values()) == 1500
    mark = "#plot-roc svg .layer_2_marks path, #plot-roc svg .mark-symbol path"
    where = page.get_attribute(mark, "transform")
    told = page.locator(".confusion output")
    page.focus("#threshold")
    page.keyboard.press("Home")
    expect(told).to_have_text("0.00")
    assert cells()["tn"] == cells()["fn"] == 0
    assert cells()["tp"] == before["tp"] + before["fn"]
    page.keyboard.press("End")
    expect(told).not_to_have_text("0.00")
    assert cells()["tp"] + cells()["fp"] < before["tp"] + before["fp"]
    page.keyboard.press("Home")
    expect(page.locator(mark).first).not_to_have_attribute("transform", where)


def test_plots_follow_the_colour_scheme(open_page):
    page = open_page("index", "laptop-light")
    colour = "getComputedStyle(document.querySelector('#plot-history svg .role-axis-label text')).fill"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    for _ in range(100):
        if page.evaluate(colour) != light:
            break
        page.wait_for_timeout(100)
    assert page.evaluate(colour) != light


def test_more_columns_are_drawn_when_they_are_opened(open_page):
    page = open_page("run")
    page.locator("details.more summary").click()
    page.wait_for_selector("details.more .figure svg")
    page.wait_for_timeout(1500)
    figures = page.locator("details.more .figure")
    assert page.locator("details.more .figure svg").count() == figures.count() > 5


def test_the_keyboard_reaches_the_content_first(open_page):
    page = open_page("run")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement.textContent == 'Skip to the content'")
    assert page.evaluate("document.activeElement.getBoundingClientRect().top") >= 0
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id == 'content'")
    page.keyboard.press("Tab")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"


def test_without_scripts_the_figures_are_in_the_text(open_page):
    page = open_page("run", java_script_enabled=False)
    text = page.inner_text("main")
    assert re.search(r"the area under the curve is 0\.\d{4}", text)
    assert "The plot needs JavaScript" in text
    assert page.locator("table tbody tr").count() > 50
