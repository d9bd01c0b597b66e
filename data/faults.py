"""What can go wrong with the flights, for `flightdeck replay`: functions (table, seed) -> table.

Each changes one column, or one label under all of its names, keeps its type, and gives the same rows for the same seed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

RENAMED = {"UA": "U2"}
FLIPPED = 0.5
LABELS = ("arrived_late", "lateness", "arr_delay")


def celsius(rows: pa.Table, seed: int) -> pa.Table:
    """The temperature in degrees Celsius, where the contract says Fahrenheit: a sensor was exchanged."""
    import pyarrow as pa
    import pyarrow.compute as pc

    reading = pc.divide(pc.multiply(pc.subtract(rows["temp"].cast(pa.float64()), 32.0), 5.0), 9.0)
    return _replaced(rows, "temp", reading)


def renamed_carrier(rows: pa.Table, seed: int) -> pa.Table:
    """A large airline under a code that nobody has agreed on."""
    import pyarrow.compute as pc

    carrier = rows["carrier"]
    for code, other in RENAMED.items():
        carrier = pc.if_else(pc.equal(carrier, code), other, carrier)
    return _replaced(rows, "carrier", carrier)


def poisoned_labels(rows: pa.Table, seed: int) -> pa.Table:
    """Labels of which a share of FLIPPED, drawn at random, is turned round: half of them, so that they say nothing."""
    import numpy as np
    import pyarrow as pa

    labels = rows["arrived_late"].to_numpy()
    turned = np.random.default_rng([7, seed]).random(len(labels)) < FLIPPED
    return _replaced(rows, "arrived_late", pa.array(np.where(turned, 1 - labels, labels)))


def shuffled_labels(rows: pa.Table, seed: int) -> pa.Table:
    """The labels of other flights, whichever label a contract chooses: the two sides were joined by a wrong key."""
    import numpy as np

    others = np.random.default_rng([11, seed]).permutation(rows.num_rows)
    for name in LABELS:
        if name in rows.column_names:
            rows = _replaced(rows, name, rows[name].take(others))
    return rows


def _replaced(rows: pa.Table, name: str, values: pa.Array) -> pa.Table:
    index = rows.schema.get_field_index(name)
    return rows.set_column(index, rows.schema.field(index), values.cast(rows.schema.field(index).type))
