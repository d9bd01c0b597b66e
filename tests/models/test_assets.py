"""What of a curated schema can be checked of a single row, and how it is written beside a model."""

import json

import numpy as np
import pytest

from data.contract import Target
from models import assets

pytestmark = pytest.mark.unit

SCHEMA = """
feature { name: "colour" type: BYTES presence { min_fraction: 1 } domain: "colours" }
feature { name: "size" type: BYTES presence { min_fraction: 0.9 } string_domain { name: "s" value: "S" value: "L" } }
feature {
  name: "town" type: BYTES presence { min_fraction: 1 } domain: "towns"
  distribution_constraints { min_domain_mass: 0.97 }
}
feature {
  name: "shade" type: BYTES presence { min_fraction: 1 } domain: "colours"
  distribution_constraints { min_domain_mass: 1 }
}
feature { name: "count" type: INT presence { min_fraction: 1 } int_domain { min: 0 max: 9007199254740993 } }
feature { name: "weight" type: FLOAT presence { min_fraction: 0.5 } float_domain { min: 0.1 } }
feature { name: "note" type: BYTES }
feature { name: "label" type: INT presence { min_fraction: 1 } int_domain { min: 0 max: 1 } }
string_domain { name: "colours" value: "red" value: "blue" }
string_domain { name: "towns" value: "Bern" }
"""


def test_a_schema_becomes_the_rules_that_hold_for_every_row(tmp_path):
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    inputs = ["colour", "size", "town", "shade", "count", "weight", "note"]

    assets.write_contract(str(tmp_path / "schema.pbtxt"), inputs, Target(label="label"), str(tmp_path / "model"))

    written = json.loads((tmp_path / "model" / "assets.extra" / "contract.json").read_text())
    assert written["target"] == {"label": "label", "task": "binary", "classes": [], "unit": None}
    assert written["columns"] == [
        {"name": "colour", "required": True, "values": ["red", "blue"]},
        {"name": "size", "required": False, "values": ["S", "L"]},
        {"name": "town", "required": True},
        {"name": "shade", "required": True, "values": ["red", "blue"]},
        {"name": "count", "required": True, "range": [0, 9007199254740993]},
        {"name": "weight", "required": False, "range": [0.1, None]},
        {"name": "note", "required": False},
    ]


def test_a_number_to_predict_comes_with_the_quantiles_of_its_labels(tmp_path):
    from models.tasks import head

    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    target = Target(label="label", task="regression", unit="kg")
    labels = np.repeat(np.float32([0.1, -3.0, 7.5]), [700, 200, 100]).reshape(-1, 1)

    quantiles = head(target).fitted(labels).quantiles
    assets.write_contract(str(tmp_path / "schema.pbtxt"), ["note"], target, str(tmp_path), quantiles)

    written = json.loads((tmp_path / "assets.extra" / "contract.json").read_text())
    assert written["target"] == {"label": "label", "task": "regression", "classes": [], "unit": "kg"}
    assert written["label_quantiles"] == [-3.0, 0.1, 7.5]
    assert head(Target(label="label")).fitted(labels).quantiles == ()
