"""A project from a small table, as a person makes it with `flightdeck new`."""

import os
from pathlib import Path

from tests import forked
from tests.teaching.new_project.projects import PERSON

OPTIONS = ("--label", "good?", "--time", "opened at", "--positive", "ja")
# Of a run: seconds instead of a good model.
SMALL = ("model.epochs=2", "evaluation.importance_rows=0", "infra_validation.requests=4")


def loans(folder: Path, rows: int = 600) -> Path:
    """A table with a moment, a number that tells something, a category, and a label in words."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(0)
    told = np.arange(rows) % 2
    path = folder / "my loans.csv"
    pd.DataFrame(
        {
            "opened at": pd.date_range("2023-01-01", periods=rows, freq="D").astype(str),
            "amount": (random.normal(0, 1, rows) + told).round(3),
            "kind": random.choice(["a", "b", "c"], rows),
            "good?": np.where(told, "ja", "nein"),
        }
    ).to_csv(path, index=False)
    return path


def new(folder: Path, name: str = "loans") -> Path:
    """The folder of a project that was made there, with a first commit."""
    command = ("flightdeck", "new", name, "--from", str(loans(folder)), *OPTIONS)
    done = forked.run(*command, cwd=folder, env=os.environ | PERSON)
    assert done.returncode == 0, done.stderr
    return folder / name
