"""The main job for classes and for a number, from the same spans and features."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ledger.opening import open_readonly
from ledger.outputs import outputs_of_run
from tests.world import LOCAL, World

pytestmark = pytest.mark.e2e

CLASS_METRICS, VALUE_METRICS = "components.evaluation.class_metrics", "components.evaluation.value_metrics"
ROW_COUNT = "{name: RowCount, module: components.evaluation.row_metrics}"
CLASSES = ("on time", "late", "very late")


def predicting(contract: str, objective: str, *metrics: str) -> tuple[str, ...]:
    """Overrides with which something else is predicted under the same name."""
    file = LOCAL.parents[1] / "data" / f"{contract}.yaml"
    asked = ", ".join((*metrics, ROW_COUNT))
    return f"use_case.contract={file}", f"model.tuning.objective={objective}", f"evaluation.metrics=[{asked}]"


def lateness(recall: float) -> tuple[str, ...]:
    return predicting(
        *("lateness", "val_accuracy"),
        f"{{name: LogLoss, module: {CLASS_METRICS}, better: lower, at_most: 3.0, may_lose: 2.0}}",
        f"{{name: ClassRecall, module: {CLASS_METRICS}, better: higher, at_least: {recall}}}",
    )


DELAY = predicting(
    *("delay", "val_rmse"),
    f"{{name: RMSE, module: {VALUE_METRICS}, better: lower, at_most: 500.0, may_lose: 400.0}}",
    f"{{name: DecileMAE, module: {VALUE_METRICS}, better: lower, at_most: 900.0}}",
)


@pytest.fixture(scope="module")
def world(small_spans, tmp_path_factory):
    return World(tmp_path_factory.mktemp("workspace"), small_spans)


@pytest.fixture(scope="module")
def classes(world):
    return world.run(*lateness(0.0))


@pytest.fixture(scope="module")
def number(world, classes):
    return world.run(*DELAY)


@pytest.fixture(scope="module")
def refused(world, number):
    return world.run(*lateness(0.999), "model.epochs=2")


def scores(world: World, run: dict) -> Path:
    return Path(outputs_of_run(open_readonly(world.connection()), run["run_id"])["Scores"]["scores"].uri)


def test_a_model_of_classes_is_measured_by_class_and_pushed(world, classes):
    assert (classes["outcome"], classes["reasons"], classes["anomalies"]) == ("pushed", [], [])
    assert set(classes["metrics"]) == {"log_loss", "example_count", *(f"recall/{name}" for name in CLASSES)}
    assert classes["main_metric"] == "log_loss"


def test_a_model_of_a_number_is_measured_by_decile_and_not_compared_with_one_of_classes(world, number):
    assert (number["outcome"], number["reasons"]) == ("pushed", [])
    assert set(number["metrics"]) == {"rmse", "example_count", *(f"mae/decile_{tenth}" for tenth in range(1, 11))}
    assert number["champion_metrics"] == {}
    table = pq.read_table(scores(world, number) / "scores.parquet")
    assert table.column_names[:3] == ["row", "label", "value"]
    importance = json.loads((scores(world, number) / "importance.json").read_text())
    assert {"r2", "rmse"} < set(importance)


def test_a_threshold_on_each_class_refuses_and_the_champion_is_the_newest_that_answers_the_same(classes, refused):
    assert refused["outcome"] == "not blessed"
    assert len(refused["reasons"]) >= 2
    assert all(reason.endswith("and must be at least 0.999") for reason in refused["reasons"])
    assert {reason.partition(" is ")[0] for reason in refused["reasons"]} <= {f"recall/{name}" for name in CLASSES}
    assert refused["champion_metrics"] == pytest.approx(classes["metrics"])
