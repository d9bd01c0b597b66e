"""Who ran what, where: the facts about code, packages and machine that a run is stamped with before it begins.

Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import functools
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
from types import MappingProxyType
from typing import Any

from packaging.utils import canonicalize_name

from ledger.lease import Owner
from ledger.recorder import Recorder, user
from ledger.run_facts import flattened
from ledger.run_record import Kind, Revision, Runner
from pipeline import project as projects
from pipeline.fingerprint import file_digest
from pipeline.settings import Settings
from pipeline.workspace import lock_of

# Set in Flightdeck's image by its build: the commit, and -dirty- with a hash of the difference if there was one.
COMMIT_VARIABLE = "FLIGHTDECK_COMMIT"
LOCK = Path("requirements/runtime.txt")
# What makes a model; the command line and what happens after a run do not.
SOURCES = ("components", "data", "models", "pipeline")
# A longer difference is recorded by its hash alone.
_LONGEST_DIFF = 200_000
_NAMED = re.compile(r"^(Name|Version): *(.*?) *$", re.MULTILINE)


def stamp(recorder: Recorder, run_id: str, settings: Settings, *, kind: Kind, runner: Runner, **further: Any) -> None:
    """Writes what is known before a run begins."""
    running = code()
    documents: dict[str, Any] = {
        "settings": settings.document(),
        "packages": dict(packages()),
        "sources": sources_of(settings),
        "diff": running.diff,
    }
    of_use_case: dict[str, Any] = {}
    if settings.project != projects.CHECKOUT:
        use_case = code_of(settings)
        of_use_case = {
            "use_case_commit": use_case.commit,
            "use_case_branch": use_case.branch,
            "use_case_dirty": True if use_case.commit is None else use_case.dirty,
        }
        documents["use_case_diff"] = use_case.diff
    digests = {name: recorder.put_document(content) for name, content in documents.items() if content is not None}
    metrics = settings.evaluation.metrics
    facts = {
        "kind": kind,
        "pipeline": settings.use_case.name,
        "runner": runner,
        "user": user(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC),
        **lease(settings, runner),
        "outcome": "running",
        **running.model_dump(exclude={"diff"}),
        "diff": digests.get("diff"),
        "settings": settings.digest(),
        "lock": lock_digest(),
        "window": settings.data.window,
        "hyperparameters": hyperparameters(settings.model.model_dump(mode="json")),
        "main_metric": metrics[0].reported,
        "main_better": metrics[0].better,
        "thresholds": {metric.reported: metric.bounds() for metric in metrics if metric.bounds()},
        "documents": digests,
        **of_use_case,
    }
    recorder.write(run_id, **{**facts, **further})


def lease(settings: Settings, runner: Runner) -> dict[str, Any]:
    """The fields of a run's record that say who holds its lease from now on."""
    # On Kubeflow a run is many processes, and none of them stands for it.
    owner = Owner.me(lock_of(settings)) if runner == "local" else None
    return {"owner": owner, "renewed": datetime.now(UTC)}


def code_of(settings: Settings) -> Revision:
    """The code of a use case: of its own project, or of Flightdeck's checkout or image if it lives there."""
    return (
        code() if settings.project == projects.CHECKOUT else code(settings.project, variable=projects.COMMIT_VARIABLE)
    )


def code(
    root: Path = projects.CHECKOUT, environment: Mapping[str, str] | None = None, variable: str = COMMIT_VARIABLE
) -> Revision:
    """The code of a checkout, or of the image that this process runs in, which says so by a variable."""
    given = (os.environ if environment is None else environment).get(variable)
    if given and given != "unknown":
        commit, dirty, difference = given.partition("-dirty-")
        return Revision(commit=commit, dirty=bool(dirty), diff=difference or None)
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return Revision()
    branch = _git(root, "symbolic-ref", "--quiet", "--short", "HEAD")
    dirty, diff = _difference(root)
    return Revision(commit=commit.strip(), branch=branch.strip() if branch else None, dirty=dirty, diff=diff)


def _difference(root: Path) -> tuple[bool | None, str | None]:
    changed = _git(root, "diff", "--no-ext-diff", "--no-color", "HEAD")
    untracked = _git(root, "ls-files", "--others", "--exclude-standard", "-z")
    if changed is None or untracked is None:
        return None, None
    text = changed
    for name in sorted(filter(None, untracked.split("\0"))):
        try:
            digest = file_digest(root / name)
        except OSError:  # a broken link, or a file that went away meanwhile
            digest = "unreadable"
        # To the last blank: it is a patch that `git apply` takes, with a list of other files after it.
        text += f"untracked {name} sha256 {digest}\n"
    if not text:
        return False, None
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()
    return True, text if len(text) <= _LONGEST_DIFF else f"{len(text)} characters, sha256 {digest}"


def _git(root: Path, *arguments: str) -> str | None:
    """What git says; None without git, outside a checkout, or when it refuses."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


@functools.cache
def packages() -> Mapping[str, str]:
    """The packages of this environment: normalised name -> version.

    The same at any moment of a process: setuptools adds what it carries within itself to the path when it is imported.
    """
    path = [folder for folder in sys.path if Path(folder).name != "_vendor"]
    versions: dict[str, str] = {}
    for distribution in metadata.distributions(path=path):
        # Not `distribution.metadata`: it parses long descriptions, too, which takes a fifth of a second.
        described = dict(_NAMED.findall(_headers(distribution)))
        if "Name" in described:
            # What comes first on the path is what is imported.
            versions.setdefault(canonicalize_name(described["Name"]), described["Version"])
    return MappingProxyType(versions)


def _headers(distribution: metadata.Distribution) -> str:
    text = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or distribution.read_text("") or ""
    return text.partition("\n\n")[0]


def sources_of(settings: Settings) -> dict[str, str]:
    """The files that make a model with these settings, those of a project of its own too; see `sources`."""
    own = projects.packages(settings.project, settings.use_case.dotted_paths())
    return sources() | sources(settings.project, own)


def sources(root: Path = projects.CHECKOUT, packages: Iterable[str] = SOURCES) -> dict[str, str]:
    """The files of packages of a project: path in the project -> 16 digits of its SHA-256."""
    return {
        path.relative_to(root).as_posix(): file_digest(path)
        for package in packages
        for path in sorted((root / package).rglob("*"))
        if path.suffix in (".py", ".yaml", ".pbtxt") and "__pycache__" not in path.parts
    }


def lock_digest(root: Path = projects.CHECKOUT) -> str | None:
    """12 digits of the SHA-256 of the lock file that the environment was made from."""
    lock = root / LOCK
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12] if lock.is_file() else None


def hyperparameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """A section of settings as flat names: {"a": {"b": 1}} -> {"a.b": 1}; what only concerns tuning is left out."""
    return flattened({name: value for name, value in values.items() if name != "tuning"}, lists=False)
