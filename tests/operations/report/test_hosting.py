"""The report for browsers: whole, the newest, and nothing beside it; from a folder and from buckets."""

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest

import storage
from operations.report import hosting

pytestmark = pytest.mark.unit


def written(folder: Path, target: Path, text: str, run: str = "one") -> None:
    """A report in the place of an older one, as `site.write` brings it there."""
    new = folder / "new"
    (new / "runs" / run).mkdir(parents=True)
    (new / "runs" / run / "index.html").write_text(f"run {text}")
    (new / "index.html").write_text(text)
    if storage.is_bucket(target):
        storage.mirror(new, target, last="index.html")
        shutil.rmtree(new)
        return
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    new.rename(target)


@pytest.fixture
def report(place: Path) -> Path:
    """Where a report will be."""
    return place / "reports" / "latest"


@pytest.fixture
def site(report: Path) -> hosting.Site:
    return hosting.Site(report)


class Browser:
    """Asks a site, which looks for a newer report only when a test says so."""

    def __init__(self, site: hosting.Site) -> None:
        self._transport = httpx.ASGITransport(hosting.application(site))

    def get(self, path: str, method: str = "GET") -> httpx.Response:
        return asyncio.run(self.ask(path, method))

    async def ask(self, path: str, method: str = "GET") -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://report") as client:
            return await client.request(method, path)


@pytest.fixture
def browser(site: hosting.Site) -> Browser:
    return Browser(site)


def test_before_the_first_report_it_says_what_is_missing(site, browser):
    assert site.look() is False
    answer = browser.get("/")
    assert answer.status_code == 503
    assert "write one with: flightdeck report" in answer.text


def test_a_report_is_served_as_it_is_and_a_newer_one_in_its_place(site, browser, report, tmp_path):
    written(tmp_path, report, "first")
    assert site.look() is True
    assert (browser.get("/").text, browser.get("/runs/one/").text) == ("first", "run first")
    assert browser.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert site.look() is False

    written(tmp_path, report, "the second", run="two")
    assert browser.get("/").text == "first"
    assert site.look() is True
    assert (browser.get("/").text, browser.get("/runs/two/index.html").text) == ("the second", "run the second")
    assert browser.get("/runs/one/index.html").status_code == 404


def test_one_that_is_being_written_is_not_seen(site, browser, report, tmp_path):
    written(tmp_path, report, "first")
    site.look()
    # As far as an upload into a bucket has come that has not brought its first page yet.
    (report / "runs" / "one" / "index.html").write_text("half")
    assert site.look() is False
    assert browser.get("/runs/one/index.html").text == "run first"


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_one_that_is_replaced_meanwhile_is_tried_again(site, browser, report, tmp_path, monkeypatch):
    written(tmp_path, report, "first")
    site.look()
    written(tmp_path, report, "the second")
    copy = storage.copy_folder

    def replaced_meanwhile(source: Path, target: Path) -> None:
        copy(source, target)
        written(tmp_path, report, "the third one")

    monkeypatch.setattr(storage, "copy_folder", replaced_meanwhile)
    with pytest.raises(storage.ChangedError):
        site.look()
    assert browser.get("/").text == "first"
    monkeypatch.setattr(storage, "copy_folder", copy)
    assert site.look() is True
    assert browser.get("/").text == "the third one"


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_nothing_beside_the_report_is_served_and_nothing_is_taken(site, browser, report, tmp_path):
    written(tmp_path, report, "first")
    report.with_name("secret.html").write_text("secret")
    site.look()
    for path in ("/../secret.html", "/%2e%2e/secret.html", "/..%2fsecret.html", "//etc/passwd"):
        assert browser.get(path).status_code == 404
    assert browser.get("/", method="POST").status_code == 405


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_it_looks_by_itself_and_goes_on_after_an_error(site, browser, report, tmp_path, monkeypatch):
    monkeypatch.setattr(hosting, "_LOOK_SECONDS", 0.01)
    looks = iter([OSError("the bucket is away"), None])
    look = hosting.Site.look

    def at_times(self: hosting.Site) -> bool:
        error = next(looks, None)
        if error is not None:
            raise error
        return look(self)

    monkeypatch.setattr(hosting.Site, "look", at_times)
    written(tmp_path, report, "first")

    async def first_page() -> str:
        watching = asyncio.create_task(site.watch())
        while (answer := await browser.ask("/")).status_code == 503:
            await asyncio.sleep(0.01)
        watching.cancel()
        return answer.text

    assert asyncio.run(asyncio.wait_for(first_page(), timeout=60)) == "first"
