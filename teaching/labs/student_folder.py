"""A student's folder: one folder per lab that was started, and the record of what was solved."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import storage
from teaching.labs.catalogue import Lab, LabError
from teaching.labs.execution import Verdict
from teaching.labs.source import read, solution_version, student_version

if TYPE_CHECKING:
    from nbformat import NotebookNode

PROGRESS = "progress.json"


@dataclass(frozen=True)
class StudentFolder:
    """A folder in which a student works through the labs.

    Attributes:
        folder: Holds ``LAB/LAB.ipynb`` for each lab that was started, and `PROGRESS`.
    """

    folder: Path

    def notebook(self, lab: Lab) -> Path:
        """Where the student's notebook of a lab is, or would be."""
        return self.folder / lab.name / f"{lab.name}.ipynb"

    def start(self, lab: Lab) -> Path:
        """Writes the student's notebook and the lab's files; whole, or not at all.

        Where the solution was shown first, the notebook is written beside it, as the last file.

        Raises:
            LabError: the lab was started here before, or the folder cannot be written.
        """
        target = self.folder / lab.name
        notebook = student_version(read(lab))
        with self._locked():
            if self.notebook(lab).exists():
                raise LabError(f"{target} already exists and was left unchanged; start again in another folder.")
            with tempfile.TemporaryDirectory(prefix=".starting-", dir=self.folder) as folder:
                begun = Path(folder) / lab.name
                if lab.files.is_dir():
                    shutil.copytree(lab.files, begun)
                begun.mkdir(exist_ok=True)
                _write(notebook, begun / f"{lab.name}.ipynb")
                if target.exists():
                    _fill(target, begun, last=self.notebook(lab).name)
                else:
                    begun.rename(target)
        return self.notebook(lab)

    def show_solution(self, lab: Lab) -> Path:
        """Writes the solution beside the student's notebook; one that is there already is left as it is.

        Raises:
            LabError: the folder cannot be written.
        """
        target = self.folder / lab.name / f"{lab.name}-solution.ipynb"
        notebook = solution_version(read(lab))
        with self._locked():
            if not target.exists():
                target.parent.mkdir(exist_ok=True)
                _write(notebook, target)
        return target

    def progress(self) -> dict[str, dict[str, Any]]:
        """What was solved: lab, then exercise, then `passed`, `reason`, `attempts` and the time of the latest check.

        Raises:
            LabError: the record is damaged.
        """
        path = self.folder / PROGRESS
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            return {
                str(lab): {name: dict(exercise) for name, exercise in exercises.items()}
                for lab, exercises in record.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise LabError(f"The record of progress {path} cannot be read; repair it or move it away.") from error

    def record(self, lab: Lab, verdicts: Sequence[Verdict]) -> None:
        """Adds the verdicts of a check to the record.

        Raises:
            LabError: the record is damaged, or the folder cannot be written.
        """
        with self._locked():
            record = self.progress()
            exercises = record.setdefault(lab.name, {})
            for verdict in verdicts:
                exercises[verdict.exercise] = {
                    "passed": verdict.passed,
                    "reason": verdict.reason,
                    "attempts": exercises.get(verdict.exercise, {}).get("attempts", 0) + 1,
                    "checked": datetime.now(UTC).isoformat(timespec="seconds"),
                }
            storage.write(self.folder / PROGRESS, json.dumps(record, indent=2) + "\n")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # A lock on the folder itself leaves no file behind and ends with the process, however it ends.
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise LabError(f"{self.folder} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            for killed in self.folder.glob(".starting-*"):
                shutil.rmtree(killed, ignore_errors=True)
            yield
        except OSError as error:
            raise LabError(f"{self.folder} cannot be written: {error.strerror}.") from error
        finally:
            os.close(handle)


def _fill(folder: Path, begun: Path, last: str) -> None:
    """Moves what a folder lacks into it; nothing that is there is touched."""
    files = [path for path in begun.rglob("*") if path.is_file() and path.name != last]
    for path in [*files, begun / last]:
        place = folder / path.relative_to(begun)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)


def _write(notebook: NotebookNode, path: Path) -> None:
    import nbformat

    storage.write(path, nbformat.writes(notebook) + "\n")
