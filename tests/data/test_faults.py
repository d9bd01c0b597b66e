"""The faults for the replay: one column each, in its type, the same for the same seed."""

import pyarrow as pa
import pytest

from data import faults

pytestmark = pytest.mark.unit

ROWS = pa.table(
    {
        "temp": pa.array([32.0, 212.0, None] * 400, pa.float32()),
        "carrier": ["UA", "AA", "B6"] * 400,
        "arrived_late": pa.array([0, 1, 0] * 400, pa.int64()),
        "arr_delay": pa.array([-3.0, 40.0, 2.0] * 400, pa.float32()),
    }
)


@pytest.mark.parametrize(
    ("fault", "column", "first"),
    [
        (faults.celsius, "temp", [0.0, 100.0, None]),
        (faults.renamed_carrier, "carrier", ["U2", "AA", "B6"]),
        (faults.poisoned_labels, "arrived_late", None),
    ],
)
def test_a_fault_changes_its_column_alone(fault, column, first):
    faulty = fault(ROWS, 7)
    assert faulty.schema == ROWS.schema
    assert [name for name in ROWS.column_names if not faulty[name].equals(ROWS[name])] == [column]
    assert faulty.equals(fault(ROWS, 7))
    assert first in (None, faulty[column].to_pylist()[:3])


def test_half_of_the_labels_are_turned_round():
    before, after = (rows["arrived_late"].to_numpy() for rows in (ROWS, faults.poisoned_labels(ROWS, 7)))
    assert abs((before != after).mean() - faults.FLIPPED) < 0.05
    assert not (after == faults.poisoned_labels(ROWS, 8)["arrived_late"].to_numpy()).all()


def test_shuffled_labels_are_those_of_other_flights_under_all_of_their_names():
    faulty = faults.shuffled_labels(ROWS, 7)
    assert faulty.schema == ROWS.schema
    assert faulty.equals(faults.shuffled_labels(ROWS, 7))
    assert not faulty["arr_delay"].equals(ROWS["arr_delay"])
    assert sorted(faulty["arr_delay"].to_pylist()) == sorted(ROWS["arr_delay"].to_pylist())
    assert [delay >= 15 for delay in faulty["arr_delay"].to_pylist()] == faulty["arrived_late"].cast(
        pa.bool_()
    ).to_pylist()
    assert faulty["temp"].equals(ROWS["temp"])
