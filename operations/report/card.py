"""The use case's part of a model card: Markdown that people write, cut at its headings."""

from __future__ import annotations

import dataclasses
import itertools
import re
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

# The section before which the figures of the run belong.
_AFTER_FIGURES = re.compile(r"limit|caveat|fair|ethic|people|source|licen[cs]e|contact", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Section:
    """A section: its heading, a key for the document's ids, and its text as HTML."""

    title: str
    key: str
    html: Markup


@dataclasses.dataclass(frozen=True)
class Card:
    """What people wrote about a model: what it is for goes before the figures of the run, its limits after them."""

    title: str
    before: tuple[Section, ...] = ()
    after: tuple[Section, ...] = ()


def read(file: Path) -> Card:
    """Reads a card: a title, and sections of the second level. HTML in it is shown as text.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not text.
    """
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(file.read_text(encoding="utf-8"))
    headings = [at for at, token in enumerate(tokens) if token.type == "heading_open" and token.level == 0]
    starts = [at for at in headings if tokens[at].tag == "h2"]
    title = next((tokens[at + 1].content for at in headings if tokens[at].tag == "h1"), "Model card")
    sections = []
    for number, (start, end) in enumerate(itertools.pairwise([*starts, len(tokens)]), 1):
        # Three tokens are the heading. Safe: the renderer escapes whatever is not its own.
        html = Markup(markdown.renderer.render(tokens[start + 3 : end], markdown.options, {}))
        sections.append(Section(tokens[start + 1].content, f"use-{number}", html))
    limits = (at for at, section in enumerate(sections) if _AFTER_FIGURES.search(section.title))
    cut = next(limits, len(sections))
    return Card(title, tuple(sections[:cut]), tuple(sections[cut:]))
