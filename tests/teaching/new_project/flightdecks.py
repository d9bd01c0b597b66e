"""Flightdeck in a repository of its own, which can go on: this tree is one commit of it."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests import forked
from tests.repository import git
from tests.teaching.new_project.projects import PERSON
from tests.world import ROOT


class Flightdeck:
    """A clone with all commits of this repository, and on top of them one of its files as they are now."""

    def __init__(self, folder: Path) -> None:
        git(folder, "clone", "--quiet", "--shared", str(ROOT), "flightdeck")
        self.folder = folder / "flightdeck"
        git(self.folder, "rm", "-r", "--quiet", ".")
        for name in git(ROOT, "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
            if (ROOT / name).is_file():
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / name)
        self.commit()

    def commit(self) -> str:
        """Commits all changes, or none."""
        git(self.folder, "add", "--all")
        git(self.folder, "commit", "--quiet", "--allow-empty", "-m", "go on")
        return git(self.folder, "rev-parse", "HEAD")

    def edit(self, name: str, *changes: tuple[str, str]) -> None:
        """Replaces texts in one of its files."""
        text = (self.folder / name).read_text()
        for old, new in changes:
            assert old in text, f"{name} has no {old!r}"
            text = text.replace(old, new)
        (self.folder / name).write_text(text)

    def run(self, project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of it in a folder."""
        variables = {**os.environ, **PERSON, "PYTHONPATH": str(self.folder)}
        return forked.run("flightdeck", *arguments, cwd=project, env=variables)

    def says(self, project: Path, *arguments: str, expect: int = 0) -> str:
        """What a command prints: on standard error, if an exit code of 2 is expected."""
        done = self.run(project, *arguments)
        assert done.returncode == expect, done.stdout + done.stderr
        return done.stderr if expect == 2 else done.stdout


def at(flightdeck: Flightdeck, commit: str, make: Callable[[], Path]) -> Path:
    """What is made while the clone is at an earlier commit."""
    now = git(flightdeck.folder, "rev-parse", "HEAD")
    git(flightdeck.folder, "checkout", "--quiet", commit)
    try:
        return make()
    finally:
        git(flightdeck.folder, "checkout", "--quiet", now)
