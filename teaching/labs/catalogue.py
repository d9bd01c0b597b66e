"""Which labs there are: the folders of `notebooks/`, read without executing or importing anything of them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

from errors import FlightdeckError

SOURCE = "lab.py"
WRONG = "wrong.yaml"
FILES = "files"

_FOLDER = re.compile(r"\d\d-[a-z0-9-]+")
_EXERCISE = re.compile(r'^# %%.*\bexercise="([a-z0-9-]+)"', re.MULTILINE)


class LabError(FlightdeckError):
    """A lab that is not there, not whole, or cannot be used as asked."""


@dataclass(frozen=True)
class Lab:
    """One lab, as its folder describes it.

    Attributes:
        name: Name of the folder, such as ``01-by-hand``.
        title: What it is about.
        minutes: How long a student needs, thinking included.
        exercises: Names of its exercises, in their order.
        folder: Where `SOURCE`, `WRONG` and, for some, `FILES` lie.
    """

    name: str
    title: str
    minutes: int
    exercises: tuple[str, ...]
    folder: Path

    @property
    def source(self) -> Path:
        """The lab itself: a Jupytext file in percent format."""
        return self.folder / SOURCE

    @property
    def wrong(self) -> Path:
        """Wrong answers, each with what a student is told about it."""
        return self.folder / WRONG

    @property
    def files(self) -> Path:
        """What a student gets beside the notebook; most labs have none."""
        return self.folder / FILES


def labs(root: Path) -> tuple[Lab, ...]:
    """All labs, in order.

    Raises:
        LabError: a lab does not say its title and how many minutes it takes.
    """
    return tuple(_read(folder) for folder in _folders(root))


def find(root: Path, name: str) -> Lab:
    """The lab of that name, or of that number.

    Args:
        root: The folder of labs.
        name: All of the name, or as much of its beginning as no other lab shares; ``1`` is ``01``.

    Raises:
        LabError: there is none, or more than one.
    """
    known = _folders(root)
    if not name.strip():
        raise LabError(f"Give the name or number of a lab; there are {', '.join(folder.name for folder in known)}.")
    wanted = f"{int(name):02d}-" if name.isdecimal() else name
    starting = [folder for folder in known if folder.name.startswith(wanted)]
    matching = [folder for folder in starting if folder.name == wanted] or starting
    if len(matching) == 1:
        return _read(matching[0])
    names = [folder.name for folder in matching or known]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f" (did you mean {near[0]}?)" if near and not matching else ""
    raise LabError(f"{'More than one' if matching else 'No'} lab is called {name}{hint}; there are {', '.join(names)}.")


def _folders(root: Path) -> list[Path]:
    return [folder for folder in sorted(root.iterdir()) if _FOLDER.fullmatch(folder.name)]


def _read(folder: Path) -> Lab:
    import yaml

    source = folder / SOURCE
    try:
        text = source.read_text(encoding="utf-8")
        block = text.split("# ---\n", 2)[1]
        header = yaml.safe_load("".join(line[2:] for line in block.splitlines(keepends=True)))
        about = header["jupyter"]["lab"]
        return Lab(
            name=folder.name,
            title=str(about["title"]),
            minutes=int(about["minutes"]),
            exercises=tuple(_EXERCISE.findall(text)),
            folder=folder,
        )
    except FileNotFoundError as error:
        raise LabError(f"The lab {folder.name} has no {SOURCE}.") from error
    except (LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        what = " ".join(str(error).split())
        raise LabError(f"{source} must begin with a header that says the lab's title and minutes: {what}") from error
