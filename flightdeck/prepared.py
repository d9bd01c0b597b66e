"""How every command runs a pipeline: the workspace is held, noise goes to a log, and a record is kept."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import storage
from flightdeck.console import Progress, console, noise_into, shown
from ledger.formats import local_moment

if TYPE_CHECKING:
    from rich.console import Console

    from flightdeck.console import Progress
    from ledger.run_record import Kind, RunRecord
    from pipeline.settings import Settings


@dataclasses.dataclass
class PreparedRun:
    """A run that has a name, a folder and a log, and has not begun.

    Attributes:
        log: where third-party noise goes.
        output: a console on the screen.
        further: fields of the record that are known before.
    """

    settings: Settings
    kind: Kind
    run_id: str
    folder: Path
    log: Path
    output: Console
    screen: TextIO
    progress: Progress
    further: dict[str, Any]

    @property
    def profiles(self) -> Path:
        """The folder of the profiles of its nodes: a page NODE.html of each that ran, if they were wanted."""
        return self.folder / "profile"

    def execute(self, factory: str, *arguments: Any, profile: bool = False) -> RunRecord:
        """Makes a pipeline by a function of `pipeline.definition`, such as ``create_pipeline``, and runs it.

        Args:
            factory: the name of the function.
            arguments: of it, beside the settings.
            profile: whether to write profiles.

        Returns:
            The record, also of a run that failed.

        Raises:
            FlightdeckError: the run cannot begin.
        """
        from pipeline import tracing
        from pipeline.runners import local

        with contextlib.closing(self.progress) as progress:
            record = local.run(
                factory,
                self.run_id,
                self.settings,
                *arguments,
                listener=progress,
                kind=self.kind,
                profiles=self.profiles if profile else None,
                **self.further,
            )
        # Afterwards, from what was recorded: the run forks, and threads that send spans would not survive that.
        tracing.begin(os.environ, tracing.RUN)
        tracing.run(record)
        tracing.end()
        return record


@contextlib.contextmanager
def prepared_run(
    settings: Settings, kind: Kind, quiet: bool, known: str | None = None, **further: Any
) -> Iterator[PreparedRun]:
    """Holds the workspace for one run and gives it a name.

    Args:
        settings: of the run.
        kind: what it is for.
        quiet: print nothing but what the command itself prints.
        known: the name of a run that is on record already, in place of a new one.
        further: fields of the record that are known before, such as the parent.

    Raises:
        FlightdeckError: the run cannot begin.
    """
    from pipeline import store
    from pipeline.workspace import exclusive, new_run_id

    store.connection(settings)  # or a missing variable would be noticed only after the imports
    with exclusive(settings):
        run_id = known or new_run_id()
        folder = settings.runs / run_id
        folder.mkdir(parents=True, exist_ok=bool(known))
        log = folder / "run.log"
        with noise_into(log) as screen:
            output = console(screen, quiet)
            _close_killed_runs(settings, output)
            output.print(f"Run {run_id}   log: {shown(log)}")
            yield PreparedRun(settings, kind, run_id, folder, log, output, screen, Progress(output), further)


def _close_killed_runs(settings: Settings, output: Console) -> None:
    from ledger.opening import open_store
    from pipeline import killed_runs, store

    if settings.metadata.kind == "sqlite" and not settings.metadata_file.exists():
        return
    for run in killed_runs.close(open_store(store.connection(settings)), settings):
        output.print(
            f"{run.kind.capitalize()} {run.run_id} was killed (last sign of life {local_moment(run.renewed)}); "
            "what it left half-written is removed.",
            soft_wrap=True,
        )


def require_spans(settings: Settings) -> None:
    """Refuses to begin without data.

    Raises:
        WorkspaceError: there is none.
    """
    from pipeline.workspace import WorkspaceError

    if not storage.at(settings.spans).is_dir():
        raise WorkspaceError(f"There is no data in {settings.spans} yet; prepare it with: flightdeck data prepare")
