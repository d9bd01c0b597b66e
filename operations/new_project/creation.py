"""Puts a new project in place: all of it or nothing, and never over anything that is there."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from operations.new_project import files
from operations.new_project.plan import Plan
from pipeline.project import CHECKOUT


class ProjectError(ValueError):
    """A project that cannot be made where it was asked for."""


@dataclasses.dataclass(frozen=True)
class Created:
    """A new project.

    Attributes:
        path: its folder.
        name: of the use case.
        files: that are in it, but for the data.
        commit: the first commit; None if git does not know who commits, or is not there.
    """

    path: Path
    name: str
    files: tuple[str, ...]
    commit: str | None


def require_free(destination: Path) -> str:
    """The use case's name of a project that can be made there.

    Raises:
        ProjectError: there is something, or its folder's name makes no name, or nobody may write there.
    """
    # Without the dots, which would make a folder beside the checkout seem to be inside it.
    destination = Path(os.path.abspath(destination))
    if destination.exists() or destination.is_symlink():
        raise ProjectError(f"{destination} is already there; nothing is ever overwritten, so choose another folder.")
    if not destination.parent.is_dir() or not os.access(destination.parent, os.W_OK):
        raise ProjectError(f"{destination.parent} is no folder that you may write to.")
    if destination.parent.resolve().is_relative_to(CHECKOUT):
        raise ProjectError(f"{destination} is inside Flightdeck's own checkout; choose a folder beside it.")
    name = re.sub(r"[^a-z0-9]+", "-", destination.name.lower()).strip("-")[:40].rstrip("-")
    if not re.match(r"^[a-z]", name):
        raise ProjectError(
            f"The folder's name also names the models, and {destination.name} does not begin with a letter."
        )
    return name


def create(plan: Plan, destination: Path) -> Created:
    """Writes a project beside its place, and moves it there when it is whole.

    Args:
        plan: of the project.
        destination: its folder, which must not exist.

    Raises:
        ProjectError: it cannot be made there.
    """
    destination = Path(os.path.abspath(destination))
    name = require_free(destination)
    try:
        with _staging(destination) as staging:
            made = files.render(plan, name)
            for path, text in made.items():
                _write(staging / path, text)
            (staging / "source").mkdir()
            shutil.copyfile(plan.source, staging / "source" / files.source_name(plan))
            # The one file that knows where things are on this machine.
            _write(staging / "local.mk", f"FLIGHTDECK := {CHECKOUT}\n")
            commit = _commit(staging)
            os.sync()
            if destination.exists():
                raise ProjectError(f"{destination} has come into being meanwhile; nothing is ever overwritten.")
            staging.rename(destination)
    except OSError as error:
        raise ProjectError(f"The project cannot be written to {destination}: {error.strerror or error}.") from error
    return Created(destination, name, tuple(sorted(made)), commit)


@contextlib.contextmanager
def _staging(destination: Path) -> Iterator[Path]:
    """An empty folder beside the project's; what a killed process left of an earlier one is removed."""
    staging = destination.with_name(f".{destination.name}.new")
    parent = os.open(destination.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ProjectError(f"Another project is being made in {destination.parent}; wait for it.") from error
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        os.close(parent)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _commit(folder: Path) -> str | None:
    """Makes the folder a repository with one commit, as the person whom git knows here."""
    # Who commits, and nothing of a repository that may be running this as a hook: neither its folder nor its index.
    kept = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG")
    environment = {
        each: told for each, told in os.environ.items() if not each.startswith("GIT_") or each.startswith(kept)
    }

    def git(*arguments: str) -> str | None:
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", "-C", str(folder), *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
        except FileNotFoundError:
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    if git("init", "--quiet", "--initial-branch", "main") is None or git("add", ".") is None:
        return None
    if git("commit", "--quiet", "--message", "A new project, as flightdeck new wrote it") is None:
        return None
    return git("rev-parse", "HEAD")
