"""Where the use case lives: in this checkout, or in a project of its own that uses this one as a library.

A project of its own has packages of its own, such as `usecase`, beside its `config/`. They are made importable here and
in every process that this one starts, behind everything else: a project can add packages and hide none.
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


class ProjectError(FlightdeckError):
    """A project whose packages cannot be used."""


def current() -> Path:
    """The folder of the use case that this process, or the one that started it, was given."""
    return Path(os.environ.get(VARIABLE) or CHECKOUT)


def packages(project: Path, names: Iterable[str]) -> tuple[str, ...]:
    """The top-level packages of dotted paths that are the project's own, and not of this checkout."""
    tops = sorted({name.partition(".")[0] for name in names})
    return tuple(top for top in tops if (project / top).is_dir() and not (CHECKOUT / top).is_dir())


def adopt(project: Path, names: Iterable[str]) -> Path:
    """Makes the packages of a project importable, if it has some.

    Args:
        project: the folder of the settings, or the one above `config/`.
        names: the dotted paths of the use case.

    Returns:
        The folder in which the use case lives: the project, or this checkout if it has no packages of its own.

    Raises:
        ProjectError: a package of that name comes from somewhere else, such as another project.
    """
    own = packages(project, names) if project != CHECKOUT else ()
    if not own:
        return CHECKOUT
    if str(project) not in sys.path:
        sys.path.append(str(project))
        importlib.invalidate_caches()
    for name in own:
        found = _folders(importlib.util.find_spec(name))
        if (project / name).resolve() not in found:
            where = f" from {found[0]}" if found else ""
            raise ProjectError(
                f"The package `{name}` of {project} cannot be imported, because there is another one of that name"
                f"{where}; give it another name, or use one project per process."
            )
    paths = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    if str(project) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([*paths, str(project)])
    os.environ[VARIABLE] = str(project)
    return project


def _folders(spec: importlib.machinery.ModuleSpec | None) -> list[Path]:
    return [Path(each).resolve() for each in (spec.submodule_search_locations or ())] if spec else []
