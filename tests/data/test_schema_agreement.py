"""The curated schema says what the contract says, and every way in which they can disagree is found."""

from pathlib import Path

import pytest

from data.contract import Contract
from data.schema_agreement import disagreements
from data.schema_diff import curated

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["contract", "delay", "lateness"])
def test_those_of_the_flights_agree_whatever_is_predicted(schema_path: Path, name: str):
    assert disagreements(Contract.load(schema_path.with_name(f"{name}.yaml")), schema_path) == []


def test_the_schema_states_the_rest_of_what_the_contract_implies(contract: Contract, schema_path: Path):
    schema = curated(schema_path, contract)
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    absent = {feature.name for feature in schema.feature if feature.not_in_environment}
    assert absent == {contract.label}
    for feature in schema.feature:
        column = contract.column(feature.name)
        assert feature.presence.min_count == 1
        assert feature.presence.min_fraction > 0
        if column.nullable:
            assert (feature.value_count.min, feature.value_count.max) == (1, 1)
        else:
            assert [dim.size for dim in feature.shape.dim] == [1]
        if column.values is not None:
            assert feature.domain == feature.name
        kind = feature.WhichOneof("domain_info")
        if column.range is None:
            assert kind in (None, "domain")
            continue
        assert kind == {"int64": "int_domain", "float32": "float_domain"}[column.type]
        domain = getattr(feature, kind)
        assert (domain.min, domain.max) == column.range
        if kind == "float_domain":
            assert domain.disallow_nan
            assert domain.disallow_inf


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name: "temp"', 'name: "tmp"', "'temp' is ingested, and the schema lacks it."),
        ('name: "temp"', 'name: "tmp"', "'tmp' is in the schema, and is not ingested."),
        ("type: FLOAT", "type: INT", "'distance' is float32 in the contract, INT in the schema."),
        ("min: 1 max: 6000", "min: 1 max: 600", "'distance' has the range (1.0, 6000.0)"),
        ("int_domain { min: 0 max: 6 }", "", "'day_of_week' has the range (0.0, 6.0) in the contract, None"),
        ("min_fraction: 1.0", "min_fraction: 0.5", "'carrier' may not be missing by the contract"),
        ('value: "EWR" value', "value", "'origin' lists other values"),
        ('domain: "carrier"', "", "'carrier' lists other values"),
        ('domain: "carrier"', "", "The schema's domain 'carrier' belongs to no column."),
        ("distribution_constraints { min_domain_mass: 0.97 }", "", "'dest' is open in the contract"),
        (
            'min: 0 max: 1 }\n  not_in_environment: "SERVING"',
            "min: 0 max: 1 }",
            "The label 'arrived_late' must be absent",
        ),
    ],
)
def test_a_disagreement_is_named(contract: Contract, schema_path: Path, tmp_path: Path, old, new, sentence):
    text = schema_path.read_text()
    assert old in text
    changed = tmp_path / "schema.pbtxt"
    changed.write_text(text.replace(old, new, 1))

    assert any(text.startswith(sentence) for text in disagreements(contract, changed))
