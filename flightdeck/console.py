"""The screen: progress of a run, tables, and third-party noise kept in a file."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import storage

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from ledger.run_record import NodeOutcome


@contextlib.contextmanager
def noise_into(log: Path) -> Iterator[TextIO]:
    """Sends everything that this process and its children print into a file.

    At the level of file descriptors, because the C++ libraries underneath print there too. Python's logging, from INFO
    up, goes to the same file.

    Args:
        log: the file; appended to.

    Yields:
        The screen: what standard output was before.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    screen = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", errors="replace")
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    handler = logging.FileHandler(log, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    root.setLevel(logging.INFO)
    root.handlers = [handler]
    try:
        yield screen
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        root.setLevel(level)
        root.handlers = handlers
        handler.close()
        for number, descriptor in enumerate((*saved, file), start=1):
            if descriptor != file:
                os.dup2(descriptor, number)
            os.close(descriptor)
        screen.close()


@contextlib.contextmanager
def working(quiet: bool) -> Iterator[Progress]:
    """Shows progress, and nothing that libraries print; not even progress where ``quiet``."""
    with (
        tempfile.TemporaryDirectory() as folder,
        noise_into(Path(folder) / "log") as screen,
        contextlib.closing(Progress(console(screen, quiet))) as progress,
    ):
        yield progress


def json_of(document: object, indent: int | None = 2) -> str:
    """A document for programs: models and dataclasses are objects, and a number that JSON does not have is null."""
    from pydantic_core import to_json

    return to_json(document, indent=indent, inf_nan_mode="null").decode()


def print_json(document: object) -> None:
    """Prints the one document of a command for programs."""
    print(json_of(document))


def answer(document: object, text: str, as_json: bool) -> None:
    """Prints what a command found out: the document for a program, or the text for a person."""
    if as_json:
        print_json(document)
    else:
        print(text)


def console(screen: TextIO | None = None, quiet: bool = False) -> Console:
    """A rich console on the screen; plain, and so wide that no name of a run is broken, when that is not a terminal."""
    from rich.console import Console

    stream = screen or sys.stdout
    return Console(file=stream, quiet=quiet, highlight=False, width=None if stream.isatty() else 240)


def plain(on: Console, text: str) -> None:
    """Prints text as it is: without markup, and broken at the edge of a terminal only."""
    on.print(text, markup=False, soft_wrap=True)


def shown(path: Path | str) -> str:
    """A path as short as it can be typed here."""
    if storage.is_bucket(path):
        return str(path)
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def typed(path: Path | str) -> str:
    """A path as short as it can be typed here, quoted where a shell needs that."""
    return shlex.quote(shown(path))


def activation() -> str | None:
    """The command after which a shell knows ``flightdeck``, as all that is printed calls it; None where it does."""
    here = Path(sys.executable).parent
    known = shutil.which("flightdeck")
    if known is not None and Path(known).parent.resolve() == here.resolve():
        return None
    return f"source {typed(here / 'activate')}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], on: Console | None = None) -> None:
    """Prints aligned columns; those whose cells are all numbers are aligned right."""
    from rich import box
    from rich.table import Table

    sheet = Table(box=box.SIMPLE, pad_edge=False, show_edge=False)
    for index, column in enumerate(columns):
        numeric = all(_is_number(row[index]) for row in rows)
        sheet.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        sheet.add_row(*row)
    (on or console()).print(sheet)


def _is_number(cell: str) -> bool:
    return bool(re.fullmatch(r"-?|[-+]?[\d,]+(\.\d+)?(e-?\d+)?\s?[s%]?|\d+ (min|h) \d+ (s|min)", cell))


class Progress:
    """Shows each node of a run: live on a terminal, as plain lines otherwise. A `pipeline.runners.local.Listener`."""

    def __init__(self, on: Console) -> None:
        """Shows progress on a console."""
        self._console = on
        self._status: Bar | None = None
        self._tasks: dict[str, TaskID] = {}

    def note(self, text: str) -> None:
        """Shows what goes on when no node is running, until one does."""
        self.close()
        self.started(text)
        if not self._console.is_terminal:
            self._console.print(text)

    def started(self, node_id: str) -> None:
        """A node begins."""
        from rich.progress import Progress as Bar
        from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

        if not self._console.is_terminal:
            return
        if self._status is None:
            columns = SpinnerColumn(), TextColumn("{task.description:<20}"), TimeElapsedColumn()
            self._status = Bar(*columns, console=self._console, transient=True)
            self._status.start()
        self._tasks[node_id] = self._status.add_task(node_id, total=None)

    def finished(self, outcome: NodeOutcome) -> None:
        """A node has ended, well or not."""
        if self._status is not None and outcome.node_id in self._tasks:
            self._status.remove_task(self._tasks.pop(outcome.node_id))
        style = {"done": "green", "cached": "cyan", "skipped": "yellow", "failed": "bold red"}[outcome.state]
        self._console.print(
            f"  {outcome.node_id:<20} [{style}]{outcome.state:<8}[/] {outcome.seconds:7.1f} s", markup=True
        )

    def close(self) -> None:
        """Leaves the screen as it should stay."""
        if self._status is not None:
            self._status.stop()
            self._status = None
            self._tasks.clear()
