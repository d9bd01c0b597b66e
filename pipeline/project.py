"""Where the use case lives: in this checkout, or in a project of its own that uses this one as a library.

A project of its own has packages of its own, such as `usecase`, beside its `config/`. `adopt` makes them importable
here and in every process that this one starts, behind everything else: a project can add packages and hide none. The
image of a project says by the same variables where it holds the project, and which commit of it.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from errors import FlightdeckError

CHECKOUT = Path(__file__).resolve().parents[1]
# Set for the processes that this one starts, which are given settings without the file that they came from.
VARIABLE = "FLIGHTDECK_PROJECT"
# Set in a project's image by its build: the project's commit, as `FLIGHTDECK_COMMIT` is Flightdeck's.
COMMIT_VARIABLE = "FLIGHTDECK_PROJECT_COMMIT"


class ProjectError(FlightdeckError):
    """A project whose packages cannot be used."""


def current() -> Path:
    """The folder of the use case that this process, or the one that started it, was given."""
    return Path(os.environ.get(VARIABLE) or CHECKOUT)


def packages(project: Path, names: Iterable[str]) -> tuple[str, ...]:
    """The top-level packages of dotted paths that are the project's own, and not of this checkout."""
    tops = sorted({name.partition(".")[0] for name in names})
    return tuple(top for top in tops if (project / top).is_dir() and not (CHECKOUT / top).is_dir())


def home(project: Path, names: Iterable[str]) -> Path:
    """The folder in which a use case with these dotted paths lives: the project, or this checkout.

    The project is the folder of the settings, or the one above `config/`; it counts if it has packages of its own.

    Raises:
        ProjectError: a package of the project cannot be imported, or one of that name comes from somewhere else.
    """
    own = packages(project, names)
    for name in own:
        folders = _folders(importlib.util.find_spec(name))
        if not folders:
            raise ProjectError(
                f"The package `{name}` of {project} cannot be imported: put {project} on the path of Python, as "
                "`flightdeck` does."
            )
        if (project / name).resolve() not in folders:
            raise ProjectError(
                f"The package `{name}` of {project} cannot be imported, because there is another one of that name from "
                f"{folders[0]}; give it another name, or use one project per process."
            )
    return project if own else CHECKOUT


def adopt(project: Path, names: Iterable[str]) -> None:
    """Makes the packages of a project, as of `home`, importable here and in processes that this one starts.

    Changes `sys.path` and `os.environ`. Only entry points do this.

    Raises:
        ProjectError: a package of that name comes from somewhere else, such as another project.
    """
    if not packages(project, names):
        return
    if str(project) not in sys.path:
        sys.path.append(str(project))
        importlib.invalidate_caches()
    home(project, names)
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if str(project) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, str(project)])
    if os.environ.get(VARIABLE) != str(project):
        # It is the commit of another project, which an image holds.
        os.environ.pop(COMMIT_VARIABLE, None)
    os.environ[VARIABLE] = str(project)


def _folders(spec: importlib.machinery.ModuleSpec | None) -> list[Path]:
    return [Path(folder).resolve() for folder in (spec.submodule_search_locations or ())] if spec else []
