"""Plain values become the arrays of a signature, or a sentence that names the column that is wrong."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operations.inference import columns
from operations.inference.columns import Column, Inputs
from operations.inference.errors import UnprocessableError
from tests.operations.serving.small_model import INPUTS

pytestmark = pytest.mark.unit

ROW = {"amount": 1.5, "count": 7, "colour": "red"}


def test_rows_become_one_array_per_input_with_its_type() -> None:
    arrays = columns.from_rows([ROW, {"colour": "grün", "count": 8, "amount": 2}], INPUTS)
    assert {name: (array.dtype, array.shape) for name, array in arrays.items()} == {
        "amount": (np.float32, (2, 1)),
        "count": (np.int64, (2, 1)),
        "colour": (object, (2, 1)),
    }
    assert arrays["amount"].ravel().tolist() == [1.5, 2.0]
    assert arrays["count"].ravel().tolist() == [7, 8]
    assert arrays["colour"].ravel().tolist() == ["red", "grün"]


@pytest.mark.parametrize("row", [{}, {"amount": None, "count": None, "colour": None}, {"count": [None]}])
def test_what_is_left_out_or_null_is_missing(row: dict) -> None:
    for arrays in (columns.from_rows([ROW, row], INPUTS), columns.from_rows([row, ROW], INPUTS)):
        assert sum(map(math.isnan, arrays["amount"].ravel().tolist())) == 1
        assert arrays["count"].ravel().tolist().count(-(2**63)) == 1
        assert arrays["colour"].ravel().tolist().count("") == 1


@pytest.mark.parametrize("shape", [(None, 1), (None,)])
def test_requests_that_are_put_together_give_the_same_as_one_request_of_all_rows(shape: tuple[int | None, ...]) -> None:
    inputs = Inputs({name: Column(name, column.dtype, shape) for name, column in INPUTS.columns.items()})
    rows = [ROW, ROW | {"amount": None}, ROW | {"count": -3, "colour": ""}]
    parts = [columns.from_rows(rows[:1], inputs), columns.from_rows(rows[1:], inputs)]
    for together in (columns.concatenated(parts), columns.concatenated([dict(part) for part in parts])):
        for name, array in columns.from_rows(rows, inputs).items():
            np.testing.assert_array_equal(together[name], array)
            assert (together[name].dtype, together[name].shape) == (array.dtype, array.shape)


def test_rows_columns_and_arrays_give_the_same() -> None:
    rows = [ROW, ROW | {"amount": None}, ROW | {"count": -3, "colour": ""}]
    listed = {name: [row[name] for row in rows] for name in ROW}
    by_rows = columns.from_rows(rows, INPUTS)
    as_lists = {name: [[value] for value in values] for name, values in listed.items()}
    tensors = {
        "amount": np.array([1.5, math.nan, 1.5], np.float64),
        "count": np.array([[7], [7], [-3]], np.int32),
        "colour": np.array([b"red", b"red", b""], object),
    }
    for other in (
        columns.from_columns(listed, INPUTS),
        columns.from_columns(as_lists, INPUTS),
        columns.from_arrays(tensors, INPUTS),
    ):
        assert list(other) == list(by_rows)
        for name, array in by_rows.items():
            np.testing.assert_array_equal(other[name], array)
            assert other[name].dtype == array.dtype


def test_a_whole_number_may_be_written_as_a_decimal_and_a_number_without_one() -> None:
    arrays = columns.from_rows([{"count": 3.0, "amount": 3}], INPUTS)
    assert arrays["count"].tolist() == [[3]]
    assert arrays["amount"].tolist() == [[3.0]]


@pytest.mark.parametrize(
    ("row", "field", "says"),
    [
        ({"amount": "NaN"}, "amount", "row 1 is text; a number"),
        ({"amount": True}, "amount", "row 1 is a truth value"),
        ({"amount": 1e39}, "amount", "row 1 does not fit into float32"),
        ({"amount": -(10**400)}, "amount", "row 1 does not fit"),
        ({"amount": [1, 2]}, "amount", "row 1 is a list of 2 values"),
        ({"amount": [[1]]}, "amount", "row 1 is a nested list"),
        ({"amount": []}, "amount", "row 1 is a list of 0 values"),
        ({"amount": {"b64": "AA=="}}, "amount", "row 1 is an object"),
        ({"count": 1.5}, "count", "row 1 is a fraction"),
        ({"count": 2**63}, "count", "row 1 does not fit into int64"),
        # A parser of JSON makes this float of -2**63 - 1.
        ({"count": -(2.0**63)}, "count", "row 1 does not fit into int64"),
        ({"count": 1e30}, "count", "row 1 does not fit into int64"),
        ({"count": math.inf}, "count", "row 1 is a fraction"),
        ({"count": False}, "count", "row 1 is a truth value"),
        ({"colour": 5}, "colour", "row 1 is a whole number; text"),
        ({"colours": "red"}, "colours", "did you mean `colour`?"),
        ({"zzz": 1, "amount": "x"}, "zzz", "takes amount, colour, count"),
    ],
)
def test_what_cannot_be_read_is_named(row: dict, field: str, says: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        columns.from_rows([ROW, ROW | row], INPUTS)
    assert refused.value.field == field
    assert says in str(refused.value)
    if field in INPUTS.columns:
        with pytest.raises(UnprocessableError) as refused:
            columns.from_columns({field: [ROW[field], row[field]]}, INPUTS)
        assert refused.value.field == field


@pytest.mark.parametrize("row", [None, 1, "amount", ["amount"], [], True])
def test_a_row_that_is_no_object_is_refused(row: object) -> None:
    with pytest.raises(UnprocessableError, match="Row 1 is"):
        columns.from_rows([ROW, row], INPUTS)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(UnprocessableError, match="`count` has 1 values, but `amount` has 2") as refused:
        columns.from_columns({"amount": [1, 2], "count": [1]}, INPUTS)
    assert refused.value.field == "count"
    with pytest.raises(UnprocessableError, match="`amount` is text"):
        columns.from_columns({"amount": "12"}, INPUTS)


@pytest.mark.parametrize(
    ("tensor", "field"),
    [
        ({"amount": np.array(["1"], object)}, "amount"),
        ({"amount": np.array([True])}, "amount"),
        ({"amount": np.array([1e300])}, "amount"),
        ({"amount": np.zeros((2, 2))}, "amount"),
        ({"count": np.array([1.5])}, "count"),
        ({"count": np.array([2**64 - 1], np.uint64)}, "count"),
        ({"colour": np.array([1])}, "colour"),
        ({"colour": np.array([b"\xff"], object)}, "colour"),
        ({"colours": np.array([b"red"], object)}, "colours"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensor: dict, field: str) -> None:
    with pytest.raises(UnprocessableError) as refused:
        columns.from_arrays(tensor, INPUTS)
    assert refused.value.field == field


def test_no_rows_are_empty_arrays() -> None:
    for arrays in (columns.from_rows([], INPUTS), columns.from_columns({}, INPUTS)):
        assert {name: array.shape for name, array in arrays.items()} == dict.fromkeys(INPUTS.names, (0, 1))
    assert columns.row_count(columns.from_rows([ROW, ROW], INPUTS)) == 2


def test_a_signature_with_one_input_is_read_too() -> None:
    only = Inputs({"x": Column("x", "float32", (None,))})
    assert columns.from_rows([{"x": 1}, {"x": 2}], only)["x"].tolist() == [1.0, 2.0]


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
_ROWS = st.lists(
    _VALUES | st.dictionaries(st.sampled_from(["amount", "count", "colour", "other"]), _VALUES, max_size=4), max_size=4
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_ROWS)
def test_any_rows_are_either_read_or_refused_in_a_sentence(rows: list) -> None:
    try:
        arrays = columns.from_rows(rows, INPUTS)
    except UnprocessableError as error:
        assert str(error)[-1] in ".?"  # noqa: PT017
        return
    assert {array.shape for array in arrays.values()} == {(len(rows), 1)}
    assert not np.isinf(arrays["amount"]).any()
