"""Links from the pages into the repository: each file that is linked to becomes a page of the site.

On GitHub a link such as ``../data/contract.py`` shows the file. Here the file has a page too, below ``source/``, so
that the site needs neither a network nor a checkout, and a link to a file that is gone fails the build.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor
from markdown_it import MarkdownIt

from errors import FlightdeckError

SOURCE = "source"
_DOCS = "docs"
_LANGUAGES = {
    ".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "bash", ".tf": "terraform",
    ".pbtxt": "protobuf", ".md": "markdown",
}  # fmt: skip
_NAMES = {"Makefile": "make", "Dockerfile": "docker"}


@dataclass(frozen=True)
class SourcePage:
    """A page that shows a file of the repository.

    Attributes:
        path: the file, by its place in the repository.
        markdown: the page.
    """

    path: str
    markdown: str


class LinkError(FlightdeckError):
    """A link that leads nowhere; the text names the page and the link."""


def is_external(href: str) -> bool:
    """Whether a link leaves the site and the repository."""
    return bool(urlsplit(href).scheme or urlsplit(href).netloc)


def wrong_address(href: str) -> str | None:
    """What is wrong with the form of an external address, or None. Nothing is asked over a network."""
    parts = urlsplit(href)
    if parts.hostname == "localhost":
        return None
    if parts.scheme == "mailto":
        return None if "@" in parts.path else "no address"
    if parts.scheme != "https":
        return f"the scheme is `{parts.scheme}`, and https is wanted"
    if "." not in (parts.hostname or "") or " " in href:
        return "no host"
    return None


def hrefs(markdown: str) -> Iterator[str]:
    """Every address that a Markdown text links to, in its order; code is not looked into."""
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        for child in token.children or ():
            if child.type == "link_open":
                yield unquote(str(child.attrs["href"]))


def target(origin: str, href: str) -> str | None:
    """The file of the repository that a link leads to, or None for an address elsewhere or a place in the same page.

    Args:
        origin: the file that has the link, by its place in the repository, with slashes.
        href: the link as it is written there.

    Raises:
        LinkError: it leads out of the repository.
    """
    path = urlsplit(href).path
    if is_external(href) or not path:
        return None
    target = posixpath.normpath(posixpath.join(posixpath.dirname(origin), path))
    if target.startswith("..") or path.startswith("/"):
        raise LinkError(f"{origin} links to {href}, which is outside of the repository.")
    return target


def page_of(path: str, pages: Container[str]) -> str:
    """The page that shows a file of the repository, by its place in the site's sources.

    Args:
        path: the file, by its place in the repository.
        pages: the pages of `docs/`, by their places in it.
    """
    inside = path.removeprefix(f"{_DOCS}/")
    if inside != path and inside in pages:
        return inside
    return f"{SOURCE}/{path}" if path.endswith(".md") else f"{SOURCE}/{path}.md"


def source_pages(root: Path, texts: dict[str, str]) -> dict[str, SourcePage]:
    """The pages of all files that are linked to, and of those that these link to in turn.

    Args:
        root: the repository.
        texts: page -> Markdown, of the pages in `docs/`.

    Returns:
        Page -> what it shows.

    Raises:
        LinkError: a link leads to no file.
    """
    made: dict[str, SourcePage] = {}
    waiting = [(f"{_DOCS}/{page}", text) for page, text in sorted(texts.items())]
    while waiting:
        origin, text = waiting.pop(0)
        for href in hrefs(text):
            path = target(origin, href)
            if path is None or (page := page_of(path, texts)) in texts or page in made:
                continue
            made[page] = SourcePage(path, _markdown(root, path, origin, href))
            if path.endswith(".md"):
                waiting.append((path, (root / path).read_text("utf-8")))
    return made


def _markdown(root: Path, path: str, origin: str, href: str) -> str:
    """The Markdown of a page that shows one file."""
    file = root / path
    if not file.is_file():
        raise LinkError(f"{origin} links to {href}, and there is no file {path}.")
    text = file.read_text("utf-8")
    # A page about the source is no answer to a search.
    head = f"---\ntitle: {path}\nsearch:\n  exclude: true\n---\n"
    if path.endswith(".md"):
        return f"{head}\n{text}"
    language = _NAMES.get(file.name) or _LANGUAGES.get(file.suffix, "text")
    fence = "`" * 5
    return f'{head}\n# {path}\n\n{fence} {{.{language} linenums="1"}}\n{text.rstrip()}\n{fence}\n'


class RepositoryLinks(Extension):
    """Leads links into the repository to the pages that show the files.

    Attributes:
        page: the page that is rendered next.
        pages: page of `docs/` -> its place in the repository.
        sources: page that shows a file -> the file's place in the repository.
        external: the addresses outside that have been met so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.page = ""
        self.pages: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        self.external: set[str] = set()

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802  (the name that Markdown calls)
        """Puts itself before MkDocs's own treatment of links, which has priority 0."""
        md.treeprocessors.register(_Rewriter(md, self), "repository-links", 5)


class _Rewriter(Treeprocessor):
    def __init__(self, md: Markdown, links: RepositoryLinks) -> None:
        super().__init__(md)
        self._links = links

    def run(self, root: ElementTree.Element) -> None:
        """Rewrites the links of one page."""
        for element in root.iter("a"):
            href = element.get("href", "")
            if is_external(href):
                self._links.external.add(href)
                continue
            here = self._links.page
            path = target((self._links.sources | self._links.pages)[here], href)
            if path is None:
                continue
            relative = posixpath.relpath(page_of(path, self._links.pages), posixpath.dirname(here) or ".")
            element.set("href", urlsplit(href)._replace(path=relative).geturl())
