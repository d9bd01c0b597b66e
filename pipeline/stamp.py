"""Who ran what, where: the facts about code, packages and machine that a run is stamped with before it begins.

Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ledger.lease import Owner
from ledger.recorder import Recorder, user
from ledger.run_record import Kind, Runner
from pipeline import project as projects
from pipeline.fingerprint import file_digest
from pipeline.settings import Settings
from pipeline.workspace import lock_of

PROJECT = projects.CHECKOUT
# Set in the image by its build: the commit, and -dirty- with a hash of the difference if there was one.
COMMIT_VARIABLE = "FLIGHTDECK_COMMIT"
LOCK = Path("requirements/runtime.txt")
# What makes a model; the command line and what happens after a run do not.
SOURCES = ("components", "data", "models", "pipeline")
# A longer difference is recorded by its hash alone.
_LONGEST_DIFF = 200_000


@dataclasses.dataclass(frozen=True)
class Revision:
    """The code that runs.

    Attributes:
        commit: 40 hexadecimal digits, or None outside git and outside an image.
        branch: the branch that is checked out, None if none is, or in an image.
        dirty: whether files differ from the commit; None if nobody can tell.
        diff: every difference from the commit as text, untracked files included, or only its hash when it is long or
            the code is an image's.
    """

    commit: str | None
    branch: str | None
    dirty: bool | None
    diff: str | None


def stamp(recorder: Recorder, run_id: str, settings: Settings, *, kind: Kind, runner: Runner, **further: Any) -> None:
    """Writes what is known before a run begins."""
    running = code()
    documents = {
        "settings": recorder.put_document(settings.document()),
        "packages": recorder.put_document(packages()),
        "sources": recorder.put_document(sources_of(settings)),
    }
    of_use_case: dict[str, Any] = {}
    if settings.project != PROJECT:
        use_case = code_of(settings)
        of_use_case = {
            "use_case_commit": use_case.commit,
            "use_case_branch": use_case.branch,
            "use_case_dirty": True if use_case.commit is None else use_case.dirty,
        }
        if use_case.diff:
            documents["use_case_diff"] = recorder.put_document(use_case.diff)
    if running.diff:
        documents["diff"] = recorder.put_document(running.diff)
    main = settings.evaluation.metrics[0]
    recorder.write(
        run_id,
        **{
            "kind": kind,
            "pipeline": settings.use_case.name,
            "runner": runner,
            "user": user(),
            "host": socket.gethostname(),
            "started": datetime.now(UTC),
            **lease(settings, runner),
            "outcome": "running",
            "commit": running.commit,
            "branch": running.branch,
            "dirty": running.dirty,
            "diff": documents.get("diff"),
            "settings": settings.digest(),
            "lock": lock_digest(),
            "window": settings.data.window,
            "hyperparameters": hyperparameters(settings.model.model_dump(mode="json")),
            "main_metric": main.reported,
            "main_better": main.better,
            "thresholds": {
                metric.reported: metric.bounds() for metric in settings.evaluation.metrics if metric.bounds()
            },
            "documents": documents,
            **of_use_case,
            **further,
        },
    )


def lease(settings: Settings, runner: Runner) -> dict[str, Any]:
    """The fields of a run's record that say who holds its lease from now on."""
    # On Kubeflow a run is many processes, and none of them stands for it.
    owner = Owner.me(lock_of(settings)) if runner == "local" else None
    return {"owner": owner, "renewed": datetime.now(UTC)}


def code_of(settings: Settings) -> Revision:
    """The code of a use case: of its own project, or of Flightdeck's checkout or image if it lives there."""
    return code() if settings.project == PROJECT else code(settings.project, {})


def code(root: Path = PROJECT, environment: Mapping[str, str] | None = None) -> Revision:
    """The code of a checkout, or of the image that this process runs in."""
    given = (os.environ if environment is None else environment).get(COMMIT_VARIABLE)
    if given and given != "unknown":
        commit, dirty, difference = given.partition("-dirty-")
        return Revision(commit, None, bool(dirty), difference or None)
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return Revision(None, None, None, None)
    branch = _git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    return Revision(commit.strip(), branch.strip() if branch else None, *_difference(root))


def _difference(root: Path) -> tuple[bool | None, str | None]:
    changed = _git(root, "diff", "--no-ext-diff", "--no-color", "HEAD")
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if changed is None or untracked is None:
        return None, None
    names = sorted(filter(None, untracked.split("\0")))
    # To the last blank: it is a patch that `git apply` takes, with a list of other files after it.
    text = changed + "".join(f"untracked {name} sha256 {_digest_of(root / name)}\n" for name in names)
    if not text:
        return False, None
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return True, text if len(text) <= _LONGEST_DIFF else f"{len(text)} characters, sha256 {digest}"


def _digest_of(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError:  # a broken link, or a file that went away meanwhile
        return "unreadable"


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None without git, outside a checkout, or when it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


def packages() -> dict[str, str]:
    """The packages of this environment: normalised name -> version.

    The same at any moment of a process: setuptools adds what it carries within itself to the path when it is imported.
    """
    path = [folder for folder in sys.path if Path(folder).name != "_vendor"]
    found: dict[str, str] = {}
    for distribution in metadata.distributions(path=path):
        if distribution.metadata["Name"]:
            # What comes first on the path is what is imported.
            found.setdefault(re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower(), distribution.version)
    return found


def sources_of(settings: Settings) -> dict[str, str]:
    """The files that make a model with these settings, those of a project of its own too; see `sources`."""
    own = projects.packages(settings.project, settings.use_case.dotted_paths())
    return sources() | sources(settings.project, own)


def sources(root: Path = PROJECT, packages: Iterable[str] = SOURCES) -> dict[str, str]:
    """The files of packages of a project: path in the project -> 16 digits of its SHA-256."""
    return {
        path.relative_to(root).as_posix(): file_digest(path)
        for package in packages
        for path in sorted((root / package).rglob("*"))
        if path.suffix in (".py", ".yaml", ".pbtxt") and "__pycache__" not in path.parts
    }


def lock_digest(root: Path = PROJECT) -> str | None:
    """12 digits of the SHA-256 of the lock file that the environment was made from."""
    lock = root / LOCK
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12] if lock.is_file() else None


def hyperparameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """A section of settings as flat names: {"a": {"b": 1}} -> {"a.b": 1}; what only concerns tuning is left out."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name == "tuning":
            continue
        if isinstance(value, Mapping):
            flat |= {f"{name}.{inner}": nested for inner, nested in hyperparameters(value).items()}
        else:
            flat[name] = value
    return flat
