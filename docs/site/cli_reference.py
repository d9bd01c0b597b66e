"""The page about the command line: every command with its options, from the commands themselves."""

from __future__ import annotations

import re

import typer
from typer.cli import get_docs_for_click

from flightdeck.__main__ import app


def page() -> str:
    """The Markdown of the page, by typer's own generator."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="flightdeck")
    # The theme's list of contents shows headings; code in them would only make it harder to read.
    text = re.sub(r"^(#+) `(.*)`$", r"\1 \2", text, flags=re.MULTILINE)
    return text.replace("# flightdeck\n", "# Command line\n", 1)
