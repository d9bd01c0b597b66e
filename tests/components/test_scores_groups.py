"""Scores keeps the name of its group instead of a number that rows are to be sliced by."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tfx.types import standard_artifacts

from components.scores import rows
from components.scores.component import Scores, ScoresArtifact
from tests.components.evaluations import examples_of
from tests.components.scorers import SOLD, Scorer, artifact, examples_artifact, model_artifact

pytestmark = pytest.mark.component

NAMES = ["under 1", "1 to under 2.5", "2.5 or more"]


@pytest.mark.parametrize("kind", [pa.int64(), pa.float32()])
def test_a_number_that_equals_a_bound_is_in_the_group_above_it(kind):
    numbers = pa.array([0, 1, 2, 3, None, -7], kind)

    grouped = rows.grouped(numbers, [1, 2.5], NAMES)

    assert grouped.type == pa.large_binary()
    assert [name and name.decode() for name in grouped.to_pylist()] == [
        "under 1", "1 to under 2.5", "1 to under 2.5", "2.5 or more", None, "under 1"
    ]  # fmt: skip


def test_a_column_without_any_value_has_no_groups():
    assert rows.grouped(pa.nulls(3), [1], NAMES[:2]).to_pylist() == [None] * 3


def test_the_groups_are_in_what_people_and_the_evaluator_read(tmp_path: Path):
    given = {
        "model": model_artifact(tmp_path / "model", Scorer()),
        "examples": examples_artifact(tmp_path / "examples", examples_of(60)),
        "target": SOLD,
        "columns": ["floor", "size"],
        "importance_rows": 0,
    }

    def kept(name: str, **groups: str) -> tuple[pa.Table, pa.Table]:
        scores = artifact(ScoresArtifact, tmp_path / name / "scores")
        predictions = artifact(standard_artifacts.Examples, tmp_path / name / "predictions")
        Scores.test_call(scores=scores, predictions=predictions, **given, **groups)
        return pq.read_table(Path(scores.uri, "scores.parquet")), pq.read_table(Path(predictions.uri, "Split-eval"))

    plain, _ = kept("plain")
    grouped, predictions = kept("grouped", groups='{"floor": [[1], ["below", "above"]]}')

    expected = [None if floor is None else "above" if floor >= 1 else "below" for floor in plain["floor"].to_pylist()]
    assert {"above", "below", None} == {*expected}
    assert grouped["floor"].to_pylist() == expected
    assert [values and values[0].decode() for values in predictions["floor"].to_pylist()] == [
        name or values for name, values in zip(expected, predictions["floor"].to_pylist(), strict=True)
    ]
    # What the model was asked is the number.
    assert grouped["probability"].equals(plain["probability"])
    assert grouped["size"].equals(plain["size"])
