"""The use case's part of a model card: Markdown that people write, cut at its headings."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

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
    """What people wrote about a model.

    Attributes:
        title: the first heading.
        sections: in order.
    """

    title: str
    sections: tuple[Section, ...] = ()

    @property
    def before(self) -> tuple[Section, ...]:
        """What the model is for: the sections before the first about limits."""
        return self.sections[: self._cut()]

    @property
    def after(self) -> tuple[Section, ...]:
        """Its limits, and what follows."""
        return self.sections[self._cut() :]

    def _cut(self) -> int:
        found = (at for at, each in enumerate(self.sections) if _AFTER_FIGURES.search(each.title))
        return next(found, len(self.sections))


def read(file: Path) -> Card:
    """Reads a card: a title, and sections of the second level. HTML in it is shown as text.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is not text.
    """
    from markdown_it import MarkdownIt

    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    title, sections, lines = "Model card", [], []
    heading: str | None = None

    def close() -> None:
        if heading is not None:
            # Safe: the renderer escapes whatever is not its own.
            html = Markup(markdown.render("\n".join(lines)))
            sections.append(Section(heading, f"use-{len(sections) + 1}", html))

    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and heading is None and not sections:
            title = line[2:].strip()
        elif line.startswith("## "):
            close()
            heading, lines = line[3:].strip(), []
        else:
            lines.append(line)
    close()
    return Card(title, tuple(sections))
