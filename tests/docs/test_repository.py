"""Links from pages into the repository."""

import pytest

from docs.site.repository import LinkError, hrefs, page_of, source_pages, target, wrong_address

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("origin", "href", "path"),
    [
        ("docs/serving.md", "registry.md", "docs/registry.md"),
        ("docs/serving.md", "registry.md#batch", "docs/registry.md"),
        ("docs/serving.md", "../data/contract.py", "data/contract.py"),
        ("docs/how-to/index.md", "../../README.md", "README.md"),
        ("deploy/gke/README.md", "../kubernetes/README.md", "deploy/kubernetes/README.md"),
        ("README.md", "docs/./beam.md", "docs/beam.md"),
        ("docs/serving.md", "#limits", None),
        ("docs/serving.md", "https://example.org/page", None),
        ("docs/serving.md", "mailto:somebody@example.org", None),
    ],
)
def test_where_a_link_leads(origin, href, path):
    assert target(origin, href) == path


@pytest.mark.parametrize("href", ["../../secrets.md", "/etc/passwd"])
def test_a_link_out_of_the_repository_is_refused(href):
    with pytest.raises(LinkError, match="outside"):
        target("docs/serving.md", href)


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("docs/serving.md", "serving.md"),
        ("docs/not-a-page.md", "source/docs/not-a-page.md"),
        ("data/contract.py", "source/data/contract.py.md"),
        ("README.md", "source/README.md"),
        ("Makefile", "source/Makefile.md"),
    ],
)
def test_which_page_shows_a_file(path, page):
    assert page_of(path, {"serving.md"}) == page


@pytest.mark.parametrize(
    ("href", "wrong"),
    [
        ("https://example.org/a?b#c", None),
        ("mailto:somebody@example.org", None),
        ("http://localhost:8080/healthz", None),
        ("http://example.org", "http"),
        ("ftp://example.org", "ftp"),
        ("https://example", "host"),
        ("https:///path", "host"),
        ("mailto:nobody", "address"),
    ],
)
def test_the_form_of_an_external_address(href, wrong):
    problem = wrong_address(href)
    assert problem is None if wrong is None else wrong in (problem or "")


def test_links_in_code_are_no_links():
    text = (
        "[a](one.md) `[b](two.md)`\n\n    [c](three.md)\n\n```\n[d](four.md)\n```\n\n| [e](five.md) |\n|---|\n| x |\n"
    )
    assert list(hrefs(text)) == ["one.md", "five.md"]


def test_files_that_are_linked_to_become_pages_and_so_do_those_that_they_link_to(tmp_path):
    (tmp_path / "tool.py").write_text("print('```')\n")
    (tmp_path / "NOTES.md").write_text("# Notes\n\n[more](deep/MORE.md) and [back](docs/index.md)\n")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "MORE.md").write_text("# More\n\n[round](../NOTES.md)\n")
    made = source_pages(tmp_path, {"index.md": "[tool](../tool.py) [notes](../NOTES.md)"})
    assert {page: source.path for page, source in made.items()} == {
        "source/tool.py.md": "tool.py",
        "source/NOTES.md": "NOTES.md",
        "source/deep/MORE.md": "deep/MORE.md",
    }
    assert "````` {.python" in made["source/tool.py.md"].markdown
    assert "print('```')" in made["source/tool.py.md"].markdown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[gone](../gone.py)", "docs/index.md links to ../gone.py, and there is no file gone.py"),
        ("[folder](../folder)", "there is no file folder"),
        ("[notes](../NOTES.md)", "NOTES.md links to gone.md, and there is no file gone.md"),
    ],
)
def test_a_link_to_no_file_names_the_page_and_the_link(tmp_path, text, message):
    (tmp_path / "folder").mkdir()
    (tmp_path / "NOTES.md").write_text("[x](gone.md)")
    with pytest.raises(LinkError) as error:
        source_pages(tmp_path, {"index.md": text})
    assert message in str(error.value)
