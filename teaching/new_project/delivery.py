"""The files of a new project that take it further: its image, Kubeflow, CI, and the way back to how it was made."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipeline.stamp import code

TEMPLATES = {
    "flightdeck.yaml": "flightdeck.yaml.j2",
    "Dockerfile": "Dockerfile.j2",
    ".dockerignore": "dockerignore.j2",
    ".github/workflows/ci.yml": "ci.yml.j2",
    "config/kubeflow.yaml": "kubeflow.yaml.j2",
    "config/staging.yaml": "staging.yaml.j2",
    "tests/conftest.py": "conftest.py.j2",
}
_LONGEST_NAME = 40


@dataclasses.dataclass(frozen=True)
class Origin:
    """What made a project.

    Attributes:
        options: of `flightdeck new`, without the table and the folder.
        commit: of Flightdeck; None if nothing says which.
        dirty: whether Flightdeck had changes that no commit holds.
    """

    options: tuple[str, ...] = ()
    commit: str | None = None
    dirty: bool = False

    @classmethod
    def here(cls, options: tuple[str, ...]) -> Origin:
        """This Flightdeck, with some options."""
        running = code()
        return cls(options, running.commit, bool(running.dirty))


def facts(name: str, origin: Origin) -> dict[str, Any]:
    """What these templates say, beside the name and the source of the project."""
    ending = "-staging"
    return {
        "commit": origin.commit,
        "tag": origin.commit[:12] if origin.commit else "latest",
        "dirty": origin.dirty,
        "options": origin.options,
        "staging": f"{name[: _LONGEST_NAME - len(ending)].rstrip('-')}{ending}",
    }
