"""A commit of this repository in a folder of its own, where a run can be made again with the code that it had."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from operations.experiments.reproduction.circumstances import Original, ReproductionError, pins
from operations.experiments.sweep.plan import spans_folder
from pipeline import stamp
from pipeline.settings import Settings

# Without it, a commit cannot reproduce anything by itself.
_COMMAND = Path("flightdeck/runs/reproduce.py")
# Folders that are removed when their process ends: COMMIT-PROCESS-RANDOM.
_TEMPORARY = re.compile(r"[0-9a-f]{12}-([0-9]+)-")
_INSTALL = "requirements/install.sh runtime"


@dataclasses.dataclass(frozen=True)
class Worktree:
    """A commit, 40 hexadecimal digits, that is checked out in a folder of its own.

    Attributes:
        kept: whether it stays.
        applied: whether the changes that the run had on top of the commit were applied.
    """

    folder: Path
    commit: str
    kept: bool
    applied: bool

    @property
    def python(self) -> str:
        """The interpreter: of the environment that was made there, or else this one."""
        own = self.folder / ".venv" / "bin" / "python"
        return str(own) if own.is_file() else sys.executable

    def foreign_packages(self) -> list[str]:
        """Sentences about packages of this environment that the lock file there pins to another version."""
        if self.python != sys.executable:
            return []
        pinned, installed = pins(self.folder / stamp.LOCK) or {}, stamp.packages()
        return [
            f"{name} is {installed.get(name, 'not installed')} here, and {version} in the lock file there"
            for name, version in sorted(pinned.items())
            if installed.get(name) != version
        ]


@contextlib.contextmanager
def checked_out(project: Path, revision: str, below: Path, keep: bool, original: Original) -> Iterator[Worktree]:
    """Checks a commit out into a folder of its own; the checkout at `project` stays as it is.

    Args:
        project: a checkout of the repository.
        revision: the commit, or a name for it.
        below: the folder that will hold the new one.
        keep: leave it there afterwards. One that was left for the same commit earlier is used again, and stays.
        original: the run that will be made again. If it had changes on top of this very commit, they are applied.

    Raises:
        ReproductionError: there is no such repository or commit, or the commit cannot reproduce runs.
    """
    commit = _resolved(project, revision)
    if not has_commit(project, commit):
        raise ReproductionError(
            f"The code of commit {commit[:12]} is older than `flightdeck runs reproduce` and cannot do it by itself; "
            f"make a worktree with `git worktree add FOLDER {commit[:12]}`, and run it there as it was run then."
        )
    below.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(project, below)
    below.mkdir(exist_ok=True)
    earlier = below / commit[:12]
    reused = (earlier / ".git").exists() and _git(earlier, "rev-parse", "HEAD").strip() == commit
    own = f"{commit[:12]}-{os.getpid()}-"
    folder = earlier if reused or keep else Path(tempfile.mkdtemp(prefix=own, dir=below))
    stays = keep or reused
    try:
        if not reused:
            add(project, commit, folder)
        # The content of untracked files is not on record; whether it matters is seen when the sources are compared.
        only_untracked = (original.diff or "").startswith("untracked ")
        changed = bool(original.record.dirty) and original.record.commit == commit and not only_untracked
        if changed and not _git(folder, "status", "--porcelain", "--untracked-files=no").strip():
            _apply(folder, original)
        yield Worktree(folder, commit, stays, changed)
    except ReproductionError:
        stays = reused
        raise
    finally:
        if not stays:
            _remove(project, folder)


def make_again(tree: Worktree, original: Original, here: Settings, options: Sequence[str]) -> int:
    """Runs ``flightdeck runs reproduce`` of another checkout, on the same data, workspace and metadata store.

    Returns:
        Its exit code; 1 if it was killed.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", dir=tree.folder.parent, encoding="utf-8") as config:
        json.dump(_config(tree.folder, original, here), config)  # JSON is YAML
        config.flush()
        command = [
            tree.python,
            "-m",
            "flightdeck",
            "runs",
            "reproduce",
            original.record.run_id,
            "--config",
            config.name,
        ]
        # A group of its own, so that what a terminal sends arrives once, from here.
        process = subprocess.Popen(
            [*command, *options], cwd=tree.folder, env=environment_of(tree.folder), process_group=0
        )
        with _passing_signals(process):
            code = process.wait()
    return code if code >= 0 else 1  # negative: a signal ended it


def _config(folder: Path, original: Original, here: Settings) -> dict[str, Any]:
    """Settings that the code there understands, because they are the run's; only the places are this machine's."""
    places = here.document()
    # Settings that are newer than the commit would be refused there.
    known = {
        name: {key: value for key, value in places[name].items() if key in original.settings.get(name, {})}
        for name in ("metadata", "beam")
    }
    if "engine" not in known["beam"] and (components := known["beam"].get("components")):
        # Code from before engines: it knows arguments only, and is given those that are no engine.
        known["beam"]["components"] = {node: given for node, given in components.items() if not isinstance(given, str)}
    document = {**original.settings, **known, "workspace": here.workspace}
    document["data"] = {**original.settings["data"], "spans": spans_folder(original.settings, here)}
    document["use_case"] = {
        name: str(folder / value) if isinstance(value, str) and (folder / value).is_file() else value
        for name, value in original.settings["use_case"].items()
    }
    return document


@contextlib.contextmanager
def _passing_signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """What asks this process to stop asks the other one; what that has begun, it cleans up itself."""

    def forward(number: int, _frame: object) -> None:
        process.send_signal(number)

    before = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def how_to_install(tree: Worktree) -> str:
    """How to make the environment of another checkout."""
    return f"{shlex.quote(str(tree.folder))}/{_INSTALL}"


def _resolved(project: Path, revision: str) -> str:
    if not _succeeds(project, "rev-parse", "--git-dir"):
        raise ReproductionError(
            f"{project} is no git checkout (or git is not installed), so the code of {revision} is not at hand; "
            "use --at in a checkout of the repository."
        )
    if revision.startswith("-") or not _succeeds(project, "rev-parse", "--verify", f"{revision}^{{commit}}"):
        raise ReproductionError(f"The repository {project} has no commit {revision}; fetch it first: git fetch --all")
    return _git(project, "rev-parse", "--verify", f"{revision}^{{commit}}").strip()


def has_commit(project: Path, commit: str) -> bool:
    """Whether a checkout's repository has a commit that can reproduce runs."""
    return _succeeds(project, "cat-file", "-e", f"{commit}:{_COMMAND}")


def _apply(folder: Path, original: Original) -> None:
    """Applies the changes that a run had on top of its commit, as far as they are on record."""
    text = original.diff
    if not text or not text.startswith("diff --git"):
        raise ReproductionError(
            f"Run {original.record.run_id} had changes on top of commit {str(original.record.commit)[:12]}, and only "
            f"their digest is on record: {(text or 'none')[:100]}"
        )
    patch = text.partition("\nuntracked ")[0].removesuffix("\n")
    done = git(folder, "apply", "--whitespace=nowarn", "-", given=f"{patch}\n")
    if done.returncode:
        raise ReproductionError(
            f"The changes that run {original.record.run_id} had on top of its commit cannot be applied: "
            f"{' '.join(done.stderr.split())[:300]}"
        )


def _remove_abandoned(project: Path, below: Path) -> None:
    """Removes what killed processes left behind."""
    for folder in below.iterdir():
        if match := _TEMPORARY.match(folder.name):
            try:
                os.kill(int(match[1]), 0)
            except ProcessLookupError:
                _remove(project, folder)
            except OSError:  # somebody else's, and alive
                continue


def _remove(project: Path, folder: Path) -> None:
    remove(project, folder)
    with contextlib.suppress(OSError):  # others may be in it
        folder.parent.rmdir()


def add(project: Path, commit: str, folder: Path) -> None:
    """Checks a commit out into a new folder; `ReproductionError` if git refuses."""
    _git(project, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--detach", str(folder), commit)


def remove(project: Path, folder: Path) -> None:
    """Removes a folder of `add`, or what is left of it."""
    _succeeds(project, "worktree", "remove", "--force", str(folder))
    shutil.rmtree(folder, ignore_errors=True)
    _succeeds(project, "worktree", "prune")


def environment_of(folder: Path) -> dict[str, str]:
    """The environment of a process that runs the code of another checkout, whose packages then come first."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    environment.pop(stamp.COMMIT_VARIABLE, None)
    return environment


def _git(root: Path, *arguments: str) -> str:
    done = git(root, *arguments)
    if done.returncode:
        raise ReproductionError(f"git {arguments[0]} failed in {root}: {' '.join(done.stderr.split())[:300]}")
    return done.stdout


def _succeeds(root: Path, *arguments: str) -> bool:
    try:
        return git(root, *arguments).returncode == 0
    except ReproductionError:  # no git
        return False


def git(root: Path, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs git in a repository, with a text on standard input; `ReproductionError` if there is no git."""
    # Inside a git hook these name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, input=given, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise ReproductionError("There is no git command, and other code comes from git; install git.") from None
