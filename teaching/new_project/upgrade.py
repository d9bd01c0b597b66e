"""Brings a project to the Flightdeck beside it: what this one would generate otherwise is merged into its files.

Both the Flightdeck that made the project and this one make it anew, from the same table by the same options, so that
what differs is what has changed in Flightdeck, and nothing in the data. Each file is then merged by git's rules: the
one that was generated, the one of the project as it is committed, and the one that would be generated now.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import storage
from errors import FlightdeckError
from operations.experiments.branch_comparison import same_packages, worktree
from operations.experiments.reproduction.worktree import environment_of, git
from pipeline import stamp
from pipeline.project import CHECKOUT

RECORD = "flightdeck.yaml"

Kind = Literal["added", "updated", "merged", "removed", "conflict", "kept"]


class UpgradeError(FlightdeckError):
    """A project that cannot be upgraded; nothing of it was changed."""


class Made(BaseModel):
    """How a project was made: the content of its own small file.

    Attributes:
        flightdeck: the commit; None if that was not known.
        name: of the use case.
        table: the file in ``source/``.
        options: of `flightdeck new`, without folder and table.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    flightdeck: str | None = Field(pattern=r"^[0-9a-f]{7,40}$")
    name: str
    table: str
    options: tuple[str, ...] = ()

    @classmethod
    def of(cls, project: Path) -> Made:
        """What the committed file of a project says.

        Raises:
            UpgradeError: there is none, or it says something else.
        """
        text = _committed(project, RECORD)
        if text is None:
            raise UpgradeError(
                f"No commit of {project} holds {RECORD}, which says how `flightdeck new` made it: stand in the folder "
                "of a project, or, if an earlier Flightdeck made it, write that file as docs/adapt.md shows, and "
                "commit it."
            )
        try:
            return cls.model_validate(yaml.safe_load(text))
        except (UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
            raise UpgradeError(f"{project / RECORD} cannot be used: {' '.join(str(error).split())[:300]}") from None


@dataclasses.dataclass(frozen=True)
class Change:
    """What becomes of a file.

    Attributes:
        path: in the project.
        kind: ``added``, ``updated`` (nobody had touched it), ``merged`` (with what the person changed elsewhere),
            ``removed``; ``conflict``, which is left to the person; ``kept``, although Flightdeck has no such file now.
        why: of a conflict, or of what was kept.
        before: what is committed; None if nothing is.
        after: what is written; None if there shall be no file.
    """

    path: str
    kind: Kind
    before: bytes | None
    after: bytes | None
    why: str = ""

    @property
    def lines(self) -> tuple[int, int]:
        """How many lines are added, and how many are taken away."""
        marks = [line[:1] for line in self.diff.splitlines()[2:]]
        return marks.count("+"), marks.count("-")

    @property
    def diff(self) -> str:
        """The change as a patch."""
        before, after = ((text or b"").decode(errors="replace").splitlines(True) for text in (self.before, self.after))
        return "".join(difflib.unified_diff(before, after, f"a/{self.path}", f"b/{self.path}"))


@dataclasses.dataclass(frozen=True)
class Upgrade:
    """What an upgrade does to a project.

    Attributes:
        old: the commit of Flightdeck that the project is for.
        new: the one here.
        changes: by path.
        packages_differ: whether the two pin other packages.
    """

    project: Path
    old: str
    new: str
    changes: tuple[Change, ...] = ()
    packages_differ: bool = False

    @property
    def conflicts(self) -> tuple[str, ...]:
        """The files that are left to the person."""
        return tuple(change.path for change in self.changes if change.kind == "conflict")

    def write(self) -> None:
        """Writes every file whole, the project's own small one last; what a killed process left half done goes on.

        Raises:
            UpgradeError: a file that would be written has changes that no commit holds, or cannot be written.
        """
        if changed := [change.path for change in self.changes if not self._safe(change)]:
            raise UpgradeError(
                f"{', '.join(changed)} of {self.project} would be written, and what is in it now is in no commit: "
                "commit that, or move it away, and try again."
            )
        try:
            for change in sorted(self.changes, key=lambda change: change.path == RECORD):
                _write(self.project / change.path, change)
        except OSError as error:
            raise UpgradeError(
                f"{error.filename or self.project} cannot be written: {error.strerror}. Some files may be upgraded "
                "already; the same command goes on from there."
            ) from error

    def _safe(self, change: Change) -> bool:
        """Whether nothing would be lost: it is as it is committed, or already as it shall be."""
        file = self.project / change.path
        now = file.read_bytes() if file.is_file() else None
        return change.before == change.after or (not file.is_symlink() and now in (change.before, change.after))


def plan(project: Path) -> Upgrade:
    """Decides what to do with each file of a project, and changes nothing.

    Raises:
        UpgradeError: it is no such project; its table, or the Flightdeck that made it, is not here; this Flightdeck has
            changes that no commit holds; or one of the two cannot make it anew.
    """
    made = Made.of(project)
    if made.flightdeck is None:
        raise UpgradeError(f"{project / RECORD} does not say which commit of Flightdeck made it: write it there.")
    running = stamp.code()
    if running.commit is None or running.dirty is not False:
        raise UpgradeError(
            f"Flightdeck in {CHECKOUT} has no commit, or changes that no commit holds, so a project could not say what "
            "it is for: commit them first."
        )
    old, new = _commit(made.flightdeck), running.commit
    if old == new:
        return Upgrade(project, old, new)
    with worktree(CHECKOUT, old) as checkout:
        differ = not same_packages(CHECKOUT, checkout)
        before, after = _generated(checkout, project, made), _generated(CHECKOUT, project, made)
    changes = [
        change
        for path in sorted({*before, *after})
        if (change := _change(project, path, before.get(path), after.get(path), old, new)) is not None
    ]
    return Upgrade(project, old, new, tuple(changes), differ)


def _commit(named: str) -> str:
    done = git(CHECKOUT, "rev-parse", "--verify", "--quiet", f"{named}^{{commit}}")
    if done.returncode:
        raise UpgradeError(
            f"The repository {CHECKOUT} does not have commit {named[:12]}, which made the project; fetch it first: "
            "git fetch --unshallow, or git fetch --all"
        )
    return done.stdout.strip()


def _generated(checkout: Path, project: Path, made: Made) -> dict[str, bytes]:
    """The files by path, as the Flightdeck of a checkout makes the project anew of its table by the same options."""
    table = project / "source" / made.table
    if not table.is_file():
        raise UpgradeError(f"There is no table {table}, from which both Flightdecks make the project: put it there.")
    with tempfile.TemporaryDirectory(prefix="flightdeck-new-") as folder:
        done = subprocess.run(
            [sys.executable, "-m", "flightdeck", "new", made.name, "--from", str(table), *made.options, "--json"],
            cwd=folder, env=environment_of(checkout), capture_output=True, text=True,
        )  # fmt: skip
        try:
            paths = json.loads(done.stdout)["files"]
        except (ValueError, KeyError):
            commit = git(checkout, "rev-parse", "--short=12", "HEAD").stdout.strip()
            said = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
            raise UpgradeError(
                f"Flightdeck {commit} cannot make the project anew by the options in {RECORD}: {said}"
            ) from None
        return {path: (Path(folder) / made.name / path).read_bytes() for path in paths}


def _change(project: Path, path: str, base: bytes | None, theirs: bytes | None, old: str, new: str) -> Change | None:
    """What becomes of a file that the old Flightdeck and this one generate, or one of them; None: nothing."""
    if path == RECORD and theirs is not None:
        return Change(path, "updated", _committed(project, path), theirs)
    if base == theirs:
        return None
    ours = _committed(project, path)
    if base == ours:
        kind: Kind = "added" if base is None else "removed" if theirs is None else "updated"
        return Change(path, kind, ours, theirs)
    if ours == theirs:
        return None
    if ours is None:
        return Change(path, "conflict", None, None, "you removed it, and Flightdeck changed it: it stays removed")
    if theirs is None:
        return Change(path, "kept", ours, ours, "Flightdeck has no such file any more, and you changed it: it is yours")
    # The commit is Flightdeck's to move, also in a line that a person has changed.
    moved = base, ours
    if base is not None and new[:12].encode() in theirs:
        moved = tuple(_moved(text, old, new) for text in (base, ours))
    merged, conflicts = _merged(moved[0] or b"", moved[1], theirs, (old, new))
    if conflicts:
        why = "see the marks <<<<<<< and >>>>>>> in it" if base is not None else "both of you made such a file"
        return Change(path, "conflict", ours, merged, why)
    return None if merged == ours else Change(path, "merged", ours, merged)


def _committed(project: Path, path: str) -> bytes | None:
    """What the project's last commit has at a path; None if nothing."""
    done = git(project, "rev-parse", "--verify", "--quiet", f"HEAD:./{path}")
    if done.returncode:
        return None
    # Not by the same function, which takes every file for text.
    blob = subprocess.run(["git", "-C", str(project), "cat-file", "blob", done.stdout.strip()], capture_output=True)
    return None if blob.returncode else blob.stdout


def _moved(text: bytes, old: str, new: str) -> bytes:
    return text.replace(old.encode(), new.encode()).replace(old[:12].encode(), new[:12].encode())


def _merged(base: bytes, ours: bytes, theirs: bytes, commits: Sequence[str]) -> tuple[bytes, bool]:
    """The three merged line by line, and whether they have changed the same ones, which are then marked."""
    old, new = (f"Flightdeck {commit[:12]}" for commit in commits)
    with tempfile.TemporaryDirectory(prefix="flightdeck-merge-") as folder:
        files = [Path(folder) / name for name in ("ours", "base", "theirs")]
        for file, text in zip(files, (ours, base, theirs), strict=True):
            file.write_bytes(text)
        labels = [part for label in ("yours", old, new) for part in ("-L", label)]
        done = subprocess.run(["git", "merge-file", "-p", *labels, *map(str, files)], capture_output=True)
    if done.returncode > 127:
        # It is no text; what Flightdeck makes is.
        return ours, True
    return done.stdout, done.returncode > 0


def _write(file: Path, change: Change) -> None:
    if change.before == change.after:
        return
    if change.after is None:
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others may be in it
            file.parent.rmdir()
        return
    if file.is_file() and file.read_bytes() == change.after:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    storage.write(file, change.after)
