"""The site as it is built: whole, the same each time, and readable from disk without a network."""

import filecmp
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import lxml.html
import pytest

from docs.site.repository import is_external
from tests.opened_pages import check_fits_and_accessible, opening
from tests.world import ROOT

pytestmark = pytest.mark.component

# A page of each kind: written, made from settings, from docstrings, and of source.
PAGES = ("ideas", "reference/settings", "reference/components", "source/data/contract.py")


def build(folder: Path, config: Path = ROOT / "mkdocs.yml") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", config, "--site-dir", folder],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"SOURCE_DATE_EPOCH": "1795770000", "NO_MKDOCS_2_WARNING": "1"},
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    # A name that needs quoting, as a folder of a person may have.
    folder = tmp_path_factory.mktemp("built") / "the site, 100 %"
    done = build(folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def trees(site) -> dict[Path, Any]:
    return {page: lxml.html.parse(page) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_link_leads_to_a_place_in_a_page(trees):
    places = {page: {*tree.xpath("//@id | //@name")} for page, tree in trees.items()}
    links = [(page, href) for page, tree in trees.items() for href in tree.xpath("//a/@href") if not is_external(href)]
    broken = []
    for page, href in links:
        parts = urlsplit(href)
        there = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        place = unquote(parts.fragment)
        if not there.is_file() or (place and there in places and place not in places[there]):
            broken.append((page.name, href))
    assert broken == []
    assert len(links) > 1000


def test_nothing_is_loaded_from_elsewhere(site, trees):
    missing = [
        (page.relative_to(site).as_posix(), url)
        for page, tree in trees.items()
        for url in tree.xpath("//script/@src | //img/@src | //iframe/@src | //link/@href")
        if is_external(url) or not (page.parent / unquote(urlsplit(url).path)).exists()
    ]
    assert missing == []


def test_no_page_names_a_folder_of_this_machine(site):
    assert [page.name for page in site.rglob("*.html") if str(ROOT) in page.read_text("utf-8")] == []


def test_a_second_build_is_the_same_to_the_byte(site, tmp_path):
    assert build(tmp_path / "again").returncode == 0
    files = sorted(path.relative_to(site) for path in site.rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*") if path.is_file()
    )
    _, different, errors = filecmp.cmpfiles(site, tmp_path / "again", files, shallow=False)
    assert (different, errors) == ([], [])


def test_a_wrong_link_fails_the_build(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(
        "# Page\n\n[a](#nowhere) [b](reference/settings.md#nowhere) [c](http://example.org)\n"
    )
    settings = {
        "INHERIT": str(ROOT / "mkdocs.yml"),
        "hooks": [str(ROOT / "docs/site/hooks.py")],
        "nav": ["index.md"],
        "not_in_nav": "*",
        "watch": [],
        "extra_css": [],
        "extra_javascript": [],
    }
    (tmp_path / "mkdocs.yml").write_text(json.dumps(settings))
    done = build(tmp_path / "site", tmp_path / "mkdocs.yml")
    assert done.returncode != 0
    for message in ("'#nowhere'", "'reference/settings.md#nowhere'", "External link http://example.org"):
        assert message in done.stderr


@pytest.fixture
def open_page(chromium, site):
    with opening(chromium, ready="body") as opened:
        yield lambda name, screen="laptop-light": opened(site / f"{name}.html", screen)


@pytest.mark.parametrize(("name", "screen"), itertools.product(PAGES, ("laptop-light", "phone-dark")))
def test_pages_fit_the_screen_and_can_be_used_by_all(open_page, name, screen):
    check_fits_and_accessible(open_page(name, screen), screen)


def test_the_diagram_of_the_readme_is_drawn(open_page):
    page = open_page("source/index")
    page.wait_for_selector("div.mermaid", timeout=60_000)
    assert page.query_selector("pre.mermaid") is None
    assert page.query_selector("div.mermaid").bounding_box()["height"] > 100


def test_the_search_answers_from_disk(open_page):
    page = open_page("index")
    page.click("input.md-search__input")
    page.keyboard.type("rollback")
    page.wait_for_selector(".md-search-result__item a", timeout=60_000)
    assert "rollback" in page.inner_text(".md-search-result__list").lower()
