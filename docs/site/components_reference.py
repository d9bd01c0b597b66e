"""The page about the custom components: their docstrings, by mkdocstrings, which reads code and does not run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def page(folder: Path) -> str:
    """The Markdown of the page.

    Args:
        folder: the package `components`.
    """
    lines = [
        "# Components",
        "",
        "The custom TFX components. They import nothing else of this project, so they can be copied out of it.",
    ]
    for module in modules(folder):
        # The heading is ours: a list of contents with "component" in it again and again would be of no use.
        lines += ["", f"## {module.removesuffix('.component')}", "", f"::: {module}"]
    return "\n".join(lines) + "\n"


def modules(folder: Path) -> Iterator[str]:
    """The modules that define something for others: files by themselves, and the face of each folder."""
    for entry in sorted(folder.iterdir()):
        if entry.suffix == ".py" and entry.stem != "__init__":
            yield f"{folder.name}.{entry.stem}"
        elif (entry / "component.py").is_file():
            yield f"{folder.name}.{entry.name}.component"
        elif (entry / "__init__.py").is_file():
            yield from (
                f"{folder.name}.{entry.name}.{file.stem}" for file in sorted(entry.glob("*.py")) if file.stem[0] != "_"
            )
