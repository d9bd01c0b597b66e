"""Real Evaluators of TFX on the predictions of Scores, and stock ones, on the same rows and models."""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tfx.components.evaluator.executor import Executor
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from components.evaluation import batched_extracts, vector_metrics
from components.scores import component
from components.scores.component import BASELINE_KEY, CANDIDATE_KEY, Scores, ScoresArtifact
from tests.components.local_runs import IN_MEMORY
from tests.components.scorers import Scorer, artifact, examples_artifact, model_artifact
from tests.examples import example

ROWS = 400
SLICES = (
    *(config_pb2.SlicingSpec(feature_keys=keys) for keys in ([], ["shop"], ["floor"], ["shop", "floor"])),
    config_pb2.SlicingSpec(feature_values={"shop": "B"}),
    config_pb2.SlicingSpec(feature_values={"floor": "2"}),
    config_pb2.SlicingSpec(feature_keys=["floor"], feature_values={"shop": "C"}),
    config_pb2.SlicingSpec(feature_keys=["nowhere"]),
)
FEW_SLICES = SLICES[:2]


def examples_of(rows: int) -> list[tf.train.Example]:
    """Of which some lack the shop or the floor; sold or not, of which grade and at what price hangs on the size."""
    draw, further = np.random.default_rng(7), np.random.default_rng(8)
    made = []
    for _ in range(rows):
        size = draw.uniform()
        row = {"size": [size], "weight": [draw.uniform(0.1, 3)], "sold": [int(draw.uniform() < 0.1 + 0.5 * size)]}
        if draw.uniform() > 0.1:
            row["shop"] = [draw.choice([b"A", b"B", b"C", "Ü".encode()])]
        if draw.uniform() > 0.1:
            row["floor"] = [int(draw.integers(-1, 4))]
        row["grade"] = [int(np.clip(3 * size + further.normal(0, 0.6), 0, 2))]
        row["price"] = [float(40 * size + further.normal(0, 10))]
        made.append(example(row))
    return made


def metric(name: str, config: dict[str, Any] | None = None, **fields: Any) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=name, config=json.dumps(config) if config else "", **fields)


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is predicted, by a column of the examples, and two models that do."""

    target: str
    candidate: Scorer
    champion: Scorer

    @property
    def label(self) -> str:
        return json.loads(self.target)["label"]


class World:
    """Two models and examples, for Evaluators of which each run has a folder of its own."""

    def __init__(self, folder: Path, subject: Subject):
        self.folder = folder
        self.target, self.label = subject.target, subject.label
        self._runs = itertools.count()
        self.candidate = model_artifact(folder / "candidate", subject.candidate)
        self.champion = model_artifact(folder / "champion", subject.champion)
        self.champion.id = 2
        self.examples = examples_artifact(folder / "examples", examples_of(ROWS))
        self.predictions = artifact(standard_artifacts.Examples, folder / "predictions")
        Scores.test_call(
            model=self.candidate,
            baseline_model=self.champion,
            examples=self.examples,
            scores=artifact(ScoresArtifact, folder / "scores"),
            predictions=self.predictions,
            target=subject.target,
            columns=["shop", "floor", "weight", "nowhere"],
            importance_rows=0,
        )

    def evaluate(self, config: Any, examples: Any, champion: bool = False, module_path: str | None = None) -> Any:
        """Runs TFX's Evaluator; returns its evaluation and blessing."""
        folder = self.folder / f"run {next(self._runs)}"
        made = {
            "evaluation": [artifact(standard_artifacts.ModelEvaluation, folder / "evaluation")],
            "blessing": [artifact(standard_artifacts.ModelBlessing, folder / "blessing")],
        }
        inputs = {"examples": [examples], "model": [self.candidate]}
        if champion:
            inputs["baseline_model"] = [self.champion]
        properties = {"eval_config": json_format.MessageToJson(config), "module_path": module_path}
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=[*IN_MEMORY], tmp_dir=str(folder / "tmp"), unique_id="1"
        )
        Executor(context).Do(inputs, made, {**properties, "example_splits": '["eval"]'})
        return made["evaluation"][0].uri, made["blessing"][0]

    def ours(self, *metrics: config_pb2.MetricConfig, champion: bool = False, **settings: Any) -> Any:
        return self.batched(self.config(*metrics, **settings), champion)

    def batched(self, config: config_pb2.EvalConfig, champion: bool = False) -> Any:
        return self.evaluate(config, self.predictions, champion, batched_extracts.__name__)

    def stock(self, *metrics: config_pb2.MetricConfig, champion: bool = False, **settings: Any) -> Any:
        """With TFMA's own extractors and metrics, and models that TFMA loads."""
        for kind in metric_types.registered_metrics().values():
            if issubclass(kind, vector_metrics.InVectors):
                metric_types.register_metric(kind.__bases__[1])
        return self.evaluate(self.config(*metrics, ours=False, **settings), self.examples, champion)

    def config(
        self, *metrics: config_pb2.MetricConfig, ours: bool = True, slices: Sequence[Any] = FEW_SLICES, **spec: Any
    ) -> config_pb2.EvalConfig:
        specs = [config_pb2.ModelSpec(signature_name="serving_default", label_key=self.label, **spec)]
        if ours:
            kind = {"model_type": tfma.constants.MATERIALIZED_PREDICTION, "label_key": self.label, **spec}
            specs = [
                config_pb2.ModelSpec(name="candidate", prediction_key=CANDIDATE_KEY, **kind),
                config_pb2.ModelSpec(name="baseline", prediction_key=BASELINE_KEY, is_baseline=True, **kind),
            ]
        return config_pb2.EvalConfig(
            model_specs=specs, slicing_specs=slices, metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)]
        )

    def rows(self) -> dict[tuple, pa.Table]:
        """The rows of the predictions, and those of each shop, by the key of the slice."""
        table = pq.read_table(Path(self.predictions.uri, "Split-eval"))
        shops = [values and values[0] for values in table["shop"].to_pylist()]
        of_shop = {
            (("shop", shop.decode()),): table.filter(pa.array([other == shop for other in shops]))
            for shop in {*shops} - {None}
        }
        return {(): table, **of_shop}


def worlds(folder: Path, subject: Subject) -> Iterator[World]:
    """A world with small row groups: several extracts per slice, many of them of one row."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(component, "ROW_GROUP", 150)
        yield World(folder, subject)


def metrics_of(output: str) -> dict[tuple, float]:
    """All values by (slice, model, metric, is a difference between models)."""
    values = {}
    for record in tfma.load_metrics(output):
        for measured in record.metric_keys_and_values:
            key = (slice_of(record), measured.key.model_name, measured.key.name, measured.key.is_diff)
            if measured.value.HasField("double_value"):
                values[key] = measured.value.double_value.value
            for matrix in measured.value.confusion_matrix_at_thresholds.matrices:
                for field in ("true_positives", "false_positives", "true_negatives", "false_negatives", "precision"):
                    values[(*key, matrix.threshold, field)] = getattr(matrix, field)
            for matrix in measured.value.multi_class_confusion_matrix_at_thresholds.matrices:
                for entry in matrix.entries:
                    values[(*key, entry.actual_class_id, entry.predicted_class_id)] = entry.num_weighted_examples
    return values


def slice_of(record) -> tuple:
    """The slice of a result: () for the whole, else ((column, value), ...)."""
    return slicer_lib.deserialize_slice_key(record.slice_key)


def assert_same(ours: str, stock: str, tolerance: float = 1e-6) -> dict[tuple, float]:
    values, expected = metrics_of(ours), metrics_of(stock)
    assert values.keys() == expected.keys()
    assert len({key[0] for key in values}) >= 5
    for key, value in expected.items():
        assert values[key] == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True), key
    return values
