"""Puts a new project in place: all of it or nothing, and never over anything that is there."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from errors import FlightdeckError
from pipeline.project import CHECKOUT
from teaching.new_project import files
from teaching.new_project.delivery import Origin
from teaching.new_project.plan import ProjectPlan

_REPOSITORY = (("init", "--quiet", "--initial-branch", "main"), ("add", "."))
_MESSAGE = "A new project, as flightdeck new wrote it"
_ROLES = ("AUTHOR", "COMMITTER")
_NO_GIT = "there is no git on this machine; install it first"
_UNKNOWN = "git does not know you"


@dataclasses.dataclass(frozen=True)
class Created:
    """A new project.

    Attributes:
        name: of the use case.
        files: that are in it, but for the data.
        commit: the first commit; None if there is none.
        uncommitted: why there is none; empty if there is one.
        remedy: the commands that make one then.
    """

    path: Path
    name: str
    files: tuple[str, ...]
    commit: str | None
    uncommitted: str = ""
    remedy: tuple[str, ...] = ()


def require_free(destination: Path) -> str:
    """The use case's name of a project that can be made there.

    Raises:
        FlightdeckError: there is something, or its folder's name makes no name, or nobody may write there.
    """
    # Without the dots, which would make a folder beside the checkout seem to be inside it.
    destination = Path(os.path.abspath(destination))
    if destination.exists() or destination.is_symlink():
        raise FlightdeckError(f"{destination} already exists; nothing is ever overwritten, so choose another folder.")
    if not destination.parent.is_dir() or not os.access(destination.parent, os.W_OK):
        raise FlightdeckError(f"{destination.parent} is not a folder that you can write to.")
    if destination.parent.resolve().is_relative_to(CHECKOUT):
        raise FlightdeckError(f"{destination} is inside Flightdeck's own checkout; choose a folder beside it.")
    name = re.sub(r"[^a-z0-9]+", "-", destination.name.lower()).strip("-")[:40].rstrip("-")
    if not re.match(r"^[a-z]", name):
        raise FlightdeckError(
            f"The folder's name also names the models, and {destination.name} does not begin with a letter."
        )
    if name == "flightdeck":
        raise FlightdeckError("The folder's name also names the image, and flightdeck is that of Flightdeck's own.")
    return name


def create(plan: ProjectPlan, destination: Path, options: Sequence[str] = ()) -> Created:
    """Writes a project beside its place, and moves it there when it is whole; it keeps the options of its plan.

    Raises:
        FlightdeckError: it cannot be made there.
    """
    destination = Path(os.path.abspath(destination))
    name = require_free(destination)
    try:
        with _staging(destination) as staging:
            made = files.render(plan, name, Origin.here(tuple(options)))
            for path, text in made.items():
                _write(staging / path, text)
            (staging / "source").mkdir()
            shutil.copyfile(plan.source, staging / "source" / files.source_name(plan))
            # The one file that knows where things are on this machine.
            _write(staging / "local.mk", local_mk(CHECKOUT))
            commit, problem = _commit(staging)
            os.sync()
            if destination.exists():
                raise FlightdeckError(f"{destination} was created meanwhile; nothing is ever overwritten.")
            staging.rename(destination)
    except OSError as error:
        raise FlightdeckError(f"The project cannot be written to {destination}: {error.strerror or error}.") from error
    return Created(destination, name, tuple(sorted(made)), commit, problem, _remedy(problem, destination))


def local_mk(checkout: Path) -> str:
    """The file that says where Flightdeck is, for make, which has signs of its own."""
    return "FLIGHTDECK := " + str(checkout).replace("$", "$$").replace("#", r"\#") + "\n"


@contextlib.contextmanager
def _staging(destination: Path) -> Iterator[Path]:
    """An empty folder beside the project's; what a killed process left of an earlier one is removed."""
    staging = destination.with_name(f".{destination.name}.new")
    parent = os.open(destination.parent, os.O_RDONLY)
    try:
        try:
            fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FlightdeckError(f"Another project is being made in {destination.parent}; wait for it.") from error
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


def _commit(folder: Path) -> tuple[str | None, str]:
    """Makes the folder a repository with one commit, as the person whom git knows here; or says why it has none."""
    # Who commits, and nothing of a repository that may be running this as a hook: neither its folder nor its index.
    kept = ("GIT_AUTHOR_", "GIT_COMMITTER_", "GIT_CONFIG")
    environment = {
        name: told for name, told in os.environ.items() if not name.startswith("GIT_") or name.startswith(kept)
    }

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["git", "-c", "core.hooksPath=/dev/null", "-c", "commit.gpgsign=false", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    try:
        for step in (*_REPOSITORY, ("commit", "--quiet", "--message", _MESSAGE)):
            done = git(*step)
            if done.returncode == 0:
                continue
            if step[0] == "commit" and any(git("var", f"GIT_{role}_IDENT").returncode for role in _ROLES):
                return None, _UNKNOWN
            said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
            return None, f"git says: {said[-1]}"
        return git("rev-parse", "HEAD").stdout.strip(), ""
    except FileNotFoundError:
        return None, _NO_GIT


def _remedy(problem: str, folder: Path) -> tuple[str, ...]:
    if not problem:
        return ()
    person = ("git config --global user.name 'YOUR NAME'", "git config --global user.email YOU@HOST")
    steps = [] if problem == _UNKNOWN else [*_REPOSITORY]
    commands = [shlex.join(["git", "-C", str(folder), *step]) for step in (*steps, ("commit", "-m", _MESSAGE))]
    return (*(person if problem == _UNKNOWN else ()), *commands)
