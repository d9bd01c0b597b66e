"""One table goes the whole way: from a package to a served model, beside trees and a linear model on the same rows."""

import dataclasses
import shutil
from pathlib import Path

import pytest
import sklearn

from benchmarks.tables import measuring, specs
from errors import FlightdeckError

WINE = specs.TABLES[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the package is installed already: as the one that is here."""
    file = Path("sklearn", "datasets", "data", "wine_data.csv")
    place = tmp_path / "packages" / WINE.requirement / file
    place.parent.mkdir(parents=True)
    shutil.copyfile(Path(sklearn.__file__).parents[1] / file, place)
    return tmp_path


@pytest.mark.proof
def test_a_table_is_taken_to_a_served_model_once_per_split_and_changed_lines_are_counted(folder: Path, monkeypatch):
    monkeypatch.setattr(measuring, "SPLITS", 2)
    edits = (("config/local.yaml", "cross_layers", "cross_layers"),)
    with pytest.raises(FlightdeckError, match="0 times, and not once"):
        measuring.measured(dataclasses.replace(WINE, name="wrong", edits=edits), folder, print)

    edits = (("config/local.yaml", "learning_rate: 0.002", "learning_rate: 0.003"),)
    found = measuring.measured(dataclasses.replace(WINE, edits=edits), folder, print)

    assert (found["task"], found["rows"]["labelled"], found["columns"]) == ("multiclass", 178, 13)
    assert all(len(scores) == 2 and min(scores) > 0.8 for scores in found["scores"].values())
    assert found["difference"]["low"] <= found["difference"]["mean"] <= found["difference"]["high"]
    assert found["changed_lines"] == 1
    assert all(found["seconds"][step] > 0 for step in ("new", "prepare", "run", "served"))
    assert found["seconds"].keys() >= {"trees", "linear"}  # which may take less than a tenth of a second
