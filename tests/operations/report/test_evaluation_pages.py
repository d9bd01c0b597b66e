"""The pages of runs of classes and of numbers in a real browser."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.opening import open_readonly
from operations.report import site
from tests.ledger.seeding import Seeder, sqlite
from tests.opened_pages import SCREENS, check_usable, opening
from tests.operations.report import scored

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("tasks")
    seeder = Seeder(sqlite(folder / "metadata.sqlite"))
    runs = scored.keep(seeder, folder / "scores")
    written = site.write(open_readonly(seeder.connection), folder / "site", name="toys", place="here", newest=5)
    return {run: written.index.parent / "runs" / run / "index.html" for run in runs}


@pytest.fixture
def open_page(chromium, pages) -> Iterator[Any]:
    with opening(chromium) as opened:
        yield lambda name, *screen, **options: opened(pages[name], *screen, **options)


@pytest.mark.parametrize(("name", "screen"), itertools.product(("classes", "numbers"), SCREENS))
def test_every_page_is_drawn_fits_the_screen_and_can_be_used_by_all(open_page, name, screen):
    check_usable(open_page(name, screen), screen)


def test_the_more_rows_a_cell_has_of_its_class_the_darker_it_is(open_page):
    page = open_page("classes")
    colours = page.eval_on_selector_all(
        "table.classes tbody tr:first-child td",
        "all => all.map(it => [getComputedStyle(it).backgroundColor, it.querySelector('small').innerText])",
    )
    right, *wrong = colours
    assert len({colour for colour, _ in colours}) == 3, "each has another share"
    luminance = {share: sum(map(float, colour.split("srgb ")[1].rstrip(")").split())) for colour, share in colours}
    assert luminance[right[1]] == min(luminance.values())
    assert sorted(luminance, key=lambda share: float(share.split()[0])) == sorted(
        luminance, key=lambda share: -luminance[share]
    )
    assert len(wrong) == 2


def test_numbers_are_drawn_as_cells_from_the_least_to_the_most_rows(open_page):
    page = open_page("numbers")
    opacities = page.eval_on_selector_all(
        "#plot-predicted .mark-rect path", "all => all.map(it => Number(it.getAttribute('opacity')))"
    )
    assert 50 < len(opacities) <= 1600 < scored.ROWS
    assert (min(opacities), max(opacities)) == (0.12, 1)


def test_the_worst_mistakes_are_explained_by_the_columns_that_move_the_answer_most(open_page):
    page = open_page("classes")
    rows = page.locator("section[aria-labelledby=mistakes] tbody tr")
    assert rows.count() == 5, "a page of the table"
    row = rows.first
    assert row.locator("th").inner_text() == "1,000"
    assert row.locator("> td").all_inner_texts()[:3] == ["on time", "late, 0.4600", "0.2000"]
    reasons = row.locator("> td > .reasons li")
    told = [text.split("\n") for text in reasons.all_inner_texts()]
    assert told == [
        ["column_2: 3", "-0.5000"],
        ["column_0: red & <b>green</b>", "+0.4000"],
        ["column_1: missing", "+0.3000"],
        ["column_3: 0.5000", "+0.1000"],
        ["column_4: missing", "-0.0500"],
    ]
    bars = reasons.locator(".moved").evaluate_all(
        "all => all.map(it => ['width', 'left', 'right'].map(of => parseFloat(getComputedStyle(it, '::after')[of]))"
        ".concat(it.clientWidth))"
    )
    shares = [width / whole for width, _, _, whole in bars]
    assert shares == pytest.approx([0.5, 0.4, 0.3, 0.1, 0.05], abs=0.01)
    middles = [(right if place in (0, 4) else left) / whole for place, (_, left, right, whole) in enumerate(bars)]
    assert middles == pytest.approx([0.5] * 5, abs=0.01), "to the left if it lowers the answer"
    assert row.locator("details .reasons li").count() == 2
    assert "46 minutes" in open_page("numbers").locator("section[aria-labelledby=mistakes]").inner_text()


def test_without_scripts_the_figures_are_in_the_text(open_page):
    text = open_page("numbers", java_script_enabled=False).inner_text("main")
    assert "The mean absolute error is 13." in text or "The mean absolute error is 14." in text
    assert "in the highest, with -" in text
