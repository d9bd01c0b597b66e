"""Two rows for the small model as tensors of the Open Inference Protocol."""

import numpy as np
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import texts

ROWS = [{"amount": 20.0, "count": 300, "colour": "red"}, {"amount": None, "count": -5, "colour": ""}]
TYPES = {"amount": "FP32", "count": "INT64", "colour": "BYTES"}
RAW = [np.array([20, np.nan], "<f4").tobytes(), np.array([300, -5], "<i8").tobytes(), texts(b"red", b"")]
# What the server says that the model takes.
DESCRIBED = {name: (datatype, [-1, 1]) for name, datatype in TYPES.items()}


def tensor(name: str, datatype: str, shape: list, **more) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape, **more}


def bare(rows: int = 2) -> list[dict]:
    """The tensors without their values."""
    return [tensor(name, datatype, [rows, 1]) for name, datatype in TYPES.items()]


def expected(rows: list[dict] = ROWS) -> list:
    return [pytest.approx(small_model.probability(0.0, row), abs=1e-6) for row in rows]
