"""Which rows keep the contract that a version carries, and what is said of the others."""

import json
from pathlib import Path

import numpy as np
import pytest

from operations.inference import columns, contract
from operations.inference.columns import Column, Inputs
from operations.inference.contract import Contract, ContractError, Fault
from operations.inference.errors import LoadError

pytestmark = pytest.mark.unit

TYPES = {"amount": "float32", "count": "int64", "colour": "string", "shop": "string", "weight": "float32"}
DOCUMENT = {
    "columns": [
        {"name": "amount", "required": True, "range": [0.1, 1000]},
        {"name": "count", "required": False, "range": [0, None]},
        {"name": "colour", "required": False, "values": ["red", "green"]},
        {"name": "shop", "required": True},
        {"name": "weight", "required": False},
        {"name": "late", "required": True, "values": ["yes"]},  # which the model does not take
    ]
}
INPUTS = Inputs({name: Column(name, kind, (None, 1)) for name, kind in TYPES.items()})
GOOD = {"amount": 0.1, "count": 3, "colour": "red", "shop": "north", "weight": -1.0}


@pytest.fixture
def rules() -> Contract:
    return contract.of_document(DOCUMENT, TYPES)


def check(rules: Contract, *rows: dict):
    stacked = columns.from_rows(rows, INPUTS)
    assert isinstance(stacked, columns.Stacked)
    faults = rules.check(stacked)
    # Arrays of a binary protocol do not lie in one block per type.
    assert rules.check(dict(stacked)) == faults
    return faults


def test_rows_that_keep_it_are_no_fault_whatever_is_missing_that_may_be(rules):
    assert check(rules, GOOD) is None
    assert check(rules, {"amount": 1000, "shop": "x"}, {**GOOD, "count": None, "colour": "", "weight": None}) is None
    # A schema has its bounds in 32 bits, as the model has its numbers: 0.1 is not below 0.1.
    assert check(rules, {**GOOD, "amount": float(np.float32(0.1))}) is None


@pytest.mark.parametrize(
    ("change", "value", "allowed"),
    [
        ({"amount": 0.05}, 0.05, "a number from 0.1 to 1000"),
        ({"amount": 99999}, 99999.0, "a number from 0.1 to 1000"),
        ({"amount": None}, None, "a number from 0.1 to 1000"),
        ({"amount": float("nan")}, None, "a number from 0.1 to 1000"),
        ({"count": -1}, -1, "a number from 0 on"),
        ({"colour": "blue"}, "blue", "one of red, green"),
        ({"colour": "Red"}, "Red", "one of red, green"),
        ({"shop": None}, None, "any value, but not none"),
        ({"shop": ""}, None, "any value, but not none"),
    ],
)
def test_a_value_that_breaks_it_is_told_with_what_is_allowed(rules, change, value, allowed):
    faults = check(rules, GOOD, {**GOOD, **change})
    (column,) = change
    assert faults.first == (Fault(column, 1, value, allowed),)
    assert (faults.by_column, faults.by_row) == ({column: 1}, {1: (column,)})


def test_all_faults_are_told_at_once_by_row_and_in_the_order_of_the_contract(rules):
    faults = check(rules, {}, GOOD, {**GOOD, "colour": "blue", "count": -7})
    assert [(fault.row, fault.column) for fault in faults.first] == [
        (0, "amount"), (0, "shop"), (2, "count"), (2, "colour"),
    ]  # fmt: skip
    assert faults.of_rows(3) == ["amount, shop", None, "count, colour"]
    error = ContractError(faults, 7)
    assert (error.status, error.field) == (400, "amount")
    assert str(error) == (
        "The request breaks the contract of version 7:"
        " `amount` in row 0 is missing (allowed: a number from 0.1 to 1000);"
        " `shop` in row 0 is missing (allowed: any value, but not none);"
        " `count` in row 2 is -7 (allowed: a number from 0 on);"
        " `colour` in row 2 is 'blue' (allowed: one of red, green)."
    )
    json.dumps(faults.documents())


def test_a_request_of_nothing_but_faults_has_a_short_error_and_exact_counts(rules):
    faults = check(rules, *[{**GOOD, "colour": "x" * 10_000, "amount": -1}] * 5000)
    assert (len(faults.first), faults.by_column) == (20, {"amount": 5000, "colour": 5000})
    assert len(faults.by_row) == 5000
    assert faults.sentence.endswith("; and 9,980 more")
    assert len(faults.sentence) < 6000
    many = {"columns": [{"name": "colour", "required": False, "values": [f"hue {number}" for number in range(5000)]}]}
    faults = check(contract.of_document(many, TYPES), GOOD)
    assert len(faults.sentence) < 400
    assert "others (5,000 in all)" in faults.sentence


def test_a_column_of_rows_without_a_second_dimension_is_checked_alike(rules):
    flat = {name: values.reshape(-1) for name, values in columns.from_rows([GOOD, {}], INPUTS).items()}
    assert rules.check(flat).by_row == {1: ("amount", "shop")}


def written(folder: Path, content: str) -> Path:
    (folder / contract.FILE).parent.mkdir()
    (folder / contract.FILE).write_text(content)
    return folder


def test_a_version_without_one_has_none_and_one_with_another_is_not_served_unchecked(tmp_path):
    assert contract.read(tmp_path, TYPES) is None
    folder = written(tmp_path, json.dumps(DOCUMENT))
    read = contract.read(folder, TYPES)
    assert read is not None
    assert list(read.rules) == ["amount", "count", "colour", "shop", "weight"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "no contract"),
        ('{"columns": [{"name": "amount"}]}', "no contract"),
        ('{"columns": [{"name": "amount", "required": true, "values": ["red"]}]}', "no contract"),
        ('{"columns": [{"name": "shop", "required": true, "range": [0, 1]}]}', "no contract"),
    ],
)
def test_a_damaged_one_is_an_error_that_names_the_file(tmp_path, content, says):
    with pytest.raises(LoadError, match=says) as caught:
        contract.read(written(tmp_path, content), TYPES)
    assert str(contract.FILE) in str(caught.value)
