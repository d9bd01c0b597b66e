"""The same flights get the same classes, and the same minutes, whichever way the model of a real run is asked."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightdeck.settings import Settings, read_settings
from operations.serving import child
from tests.world import ROOT, World

pytestmark = pytest.mark.e2e

CONFIGS = {"multiclass": "config/lateness.yaml", "regression": "config/delay.yaml"}
# What a model of a few seconds reaches.
METRIC = {
    "multiclass": "{name: Accuracy, module: components.evaluation.class_metrics, better: higher, at_least: 0.1}",
    "regression": "{name: RMSE, module: components.evaluation.value_metrics, better: lower, at_most: 500}",
}
CLASSES = ["on time", "late", "very late"]
SPAN = "3:3"


class Served(NamedTuple):
    """A workspace in which one model was trained on two months and pushed, and its answers to a month it has not seen.

    The answers are those of a batch in one process, by flight.
    """

    task: str
    world: World
    settings: Settings
    flights: pa.Table
    answers: dict[str, dict[str, Any]]

    def predict(self, output: Path, *arguments: str) -> tuple[dict, pa.Table]:
        told = self.world.json("predict", *arguments, "--config", CONFIGS[self.task], "--output", str(output))
        return told, pq.read_table(output)

    def expect_same(self, answers: dict[str, dict[str, Any]]) -> None:
        assert answers.keys() == self.answers.keys()
        for flight, expected in self.answers.items():
            given = answers[flight]
            if self.task == "multiclass":
                assert given["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-6), flight
                assert given["class"] == expected["class"], flight
            else:
                assert given["value"] == pytest.approx(expected["value"], rel=1e-5, abs=1e-4), flight


def by_flight(table: pa.Table, name: str = "flight_id") -> dict[str, dict[str, Any]]:
    rows = {row[name]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows
    return rows


@pytest.fixture(scope="module", params=CONFIGS)
def served(request, small_spans, tmp_path_factory) -> Served:
    task = request.param
    metrics = f"evaluation.metrics=[{METRIC[task]}, {{name: RowCount, module: components.evaluation.row_metrics}}]"
    world = World(tmp_path_factory.mktemp(task) / "workspace", small_spans, (metrics, 'data.window="1:2"'))
    assert world.json("run", "--config", CONFIGS[task])["outcome"] == "pushed"
    overrides = [option for option in world.options() if option != "--set"]
    settings = read_settings(ROOT / CONFIGS[task], overrides)
    file = small_spans / "span-003" / "flights.parquet"
    made = Served(task, world, settings, pq.read_table(file), {})
    _, table = made.predict(world.workspace / "answers.parquet", str(file))
    made.answers.update(by_flight(table))
    return made


def test_a_batch_has_a_column_of_answers_that_differ(served):
    if served.task == "multiclass":
        chances = np.array([row["probabilities"] for row in served.answers.values()])
        assert chances.shape == (served.flights.num_rows, 3)
        np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)
        named = [row["class"] for row in served.answers.values()]
        assert named == [CLASSES[index] for index in chances.argmax(axis=1)]
        assert len(np.unique(chances.round(4), axis=0)) > 100
    else:
        values = np.array([row["value"] for row in served.answers.values()])
        assert len(np.unique(values.round(2))) > 100
        # In minutes: their mean is near that of the labels, however short the training.
        assert abs(values.mean() - np.nanmean(served.flights["arr_delay"].to_numpy(zero_copy_only=False))) < 60


def test_the_pipeline_gives_the_same(served, tmp_path):
    told, table = served.predict(tmp_path / "out.parquet", "--window", SPAN)
    assert told["through"] == "pipeline"
    assert table["flight_id"].to_pylist() == served.flights["flight_id"].to_pylist()
    assert table.schema.equals(pq.read_schema(served.world.workspace / "answers.parquet"))
    served.expect_same(by_flight(table))


def test_the_service_gives_the_same_and_says_what_it_means(served):
    name = served.settings.use_case.name
    rows = served.flights.select(sorted(served.settings.features.inputs)).to_pylist()
    pushed = Path(served.settings.pushed)
    with child.serving(name, pushed, served.settings.serving, None, None) as service:
        url = f"{service.url}/v1/models/{name}"
        answer = httpx.post(f"{url}:predict", json={"instances": rows}, timeout=120).json()["predictions"]
        meaning = httpx.get(f"{url}/metadata").json()["metadata"]["outputs"]
        metrics = httpx.get(f"{service.url}/metrics").text
    flights = served.flights["flight_id"].to_pylist()
    if served.task == "multiclass":
        assert meaning == {"probabilities": {"labels": CLASSES}}
        served.expect_same(dict(zip(flights, answer, strict=True)))
    else:
        assert meaning == {"value": {"unit": "minutes"}}
        served.expect_same({flight: {"value": row[0]} for flight, row in zip(flights, answer, strict=True)})
        (version,) = pushed.iterdir()
        contract = json.loads((version / "assets.extra" / "contract.json").read_text())
        for bound in contract["label_quantiles"]:
            assert f'prediction_bucket{{le="{float(bound)}",output="value"' in metrics


def test_a_stream_of_files_logs_the_same(served, tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(served.flights, tmp_path / "in" / "a.parquet")
    tally = served.world.json("stream", str(tmp_path / "in"), "--once", "--config", CONFIGS[served.task])
    assert (tally["rows"], tally["dead"]) == (served.flights.num_rows, 0)
    log = pa.concat_tables(pq.read_table(file) for file in Path(served.settings.payloads).glob("*/stream-*.parquet"))
    served.expect_same(by_flight(log, "prediction_id"))
