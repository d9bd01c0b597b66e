"""A course folder for teachers who collect and grade with nbgrader itself."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from teaching.labs.catalogue import Lab, LabError
from teaching.labs.source import read

CONFIG = '''"""Settings of nbgrader for this course; `nbgrader --help-all` explains more."""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "mlops"
c.ExecutePreprocessor.timeout = 300  # seconds for one cell; some start a whole pipeline
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE\\nraise NotImplementedError()"}
'''


def make(labs: Sequence[Lab], folder: Path, progress: Callable[[str], None] = lambda text: None) -> tuple[Path, ...]:
    """Writes ``nbgrader_config.py`` and ``source/LAB/LAB.ipynb`` for every lab; whole, or not at all.

    Raises:
        LabError: the folder is there already or cannot be written.
    """
    import nbformat

    if folder.exists():
        raise LabError(f"{folder} already exists and was left unchanged; choose another folder.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".course-", dir=folder.parent) as parent:
            begun = Path(parent) / folder.name
            for lab in labs:
                progress(f"Writing {lab.name}")
                place = begun / "source" / lab.name
                if lab.files.is_dir():
                    shutil.copytree(lab.files, place)
                place.mkdir(parents=True, exist_ok=True)
                nbformat.write(read(lab), place / f"{lab.name}.ipynb")
            (begun / "nbgrader_config.py").write_text(CONFIG, encoding="utf-8")
            begun.rename(folder)
    except OSError as error:
        raise LabError(f"{folder} cannot be written: {error.strerror}.") from error
    return tuple(folder / "source" / lab.name / f"{lab.name}.ipynb" for lab in labs)
