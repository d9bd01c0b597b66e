"""TFX's Evaluator on the predictions of Scores against stock TFX: the same rows and models, the same results."""

import itertools
import json
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
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from components.evaluation import batched_extracts, vector_metrics
from components.scores import component
from components.scores.component import BASELINE_KEY, CANDIDATE_KEY, Scores, ScoresArtifact
from tests.components.local_runs import IN_MEMORY
from tests.components.scorers import SOLD, ExamplesOnly, Scorer, artifact, examples_artifact, model_artifact
from tests.examples import example

pytestmark = pytest.mark.component

ROWS = 400
ROW_METRICS = "components.evaluation.row_metrics"
METRICS = (
    *("AUC", "AUCPrecisionRecall", "BinaryAccuracy", "Precision", "Recall", "F1Score", "MaxRecall"),
    *("MeanLabel", "MeanPrediction", "Calibration", "CalibrationPlot"),
)
SLICES = (
    *(config_pb2.SlicingSpec(feature_keys=keys) for keys in ([], ["shop"], ["floor"], ["shop", "floor"])),
    config_pb2.SlicingSpec(feature_values={"shop": "B"}),
    config_pb2.SlicingSpec(feature_values={"floor": "2"}),
    config_pb2.SlicingSpec(feature_keys=["floor"], feature_values={"shop": "C"}),
    config_pb2.SlicingSpec(feature_keys=["nowhere"]),
)
FEW_SLICES = SLICES[:2]


def examples_of(rows: int) -> list[tf.train.Example]:
    """Of which some lack the shop or the floor."""
    draw = np.random.default_rng(7)
    made = []
    for _ in range(rows):
        size = draw.uniform()
        row = {"size": [size], "weight": [draw.uniform(0.1, 3)], "sold": [int(draw.uniform() < 0.1 + 0.5 * size)]}
        if draw.uniform() > 0.1:
            row["shop"] = [draw.choice([b"A", b"B", b"C", "Ü".encode()])]
        if draw.uniform() > 0.1:
            row["floor"] = [int(draw.integers(-1, 4))]
        made.append(example(row))
    return made


def metric(name: str, config: dict[str, Any] | None = None, **fields: Any) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=name, config=json.dumps(config) if config else "", **fields)


ROC = metric("ConfusionMatrixAtThresholds", {"thresholds": [0.25, 0.5, 0.1]})
SHARED_METRICS = [*map(metric, METRICS), metric("SensitivityAtSpecificity", {"specificity": 0.5}), ROC]
OUR_METRICS = [*SHARED_METRICS, *(metric(name, module=ROW_METRICS) for name in ("RowCount", "LogLoss"))]
STOCK_METRICS = [*SHARED_METRICS, metric("ExampleCount"), metric("BinaryCrossEntropy", {"name": "log_loss"})]


def eval_config(*metrics: config_pb2.MetricConfig, ours: bool = True, slices=FEW_SLICES, **spec: Any) -> Any:
    specs = [config_pb2.ModelSpec(signature_name="serving_default", label_key="sold", **spec)]
    if ours:
        kind = {"model_type": tfma.constants.MATERIALIZED_PREDICTION, "label_key": "sold", **spec}
        specs = [
            config_pb2.ModelSpec(name="candidate", prediction_key=CANDIDATE_KEY, **kind),
            config_pb2.ModelSpec(name="baseline", prediction_key=BASELINE_KEY, is_baseline=True, **kind),
        ]
    return config_pb2.EvalConfig(
        model_specs=specs, slicing_specs=slices, metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)]
    )


def auc(lower: float, change: float, *columns: str) -> config_pb2.MetricConfig:
    """With a threshold on the whole, or on the slices by the columns."""
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": lower}),
        change_threshold=config_pb2.GenericChangeThreshold(
            direction=config_pb2.MetricDirection.HIGHER_IS_BETTER, absolute={"value": change}
        ),
    )
    slices = [config_pb2.SlicingSpec(feature_keys=columns)]
    bound = config_pb2.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)
    return metric("AUC", per_slice_thresholds=[bound])


class World:
    """Two models and examples, for Evaluators of which each run has a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._runs = itertools.count()
        self.candidate = model_artifact(folder / "candidate", Scorer())
        self.champion = model_artifact(folder / "champion", ExamplesOnly(shop=0.7))
        self.champion.id = 2
        self.examples = examples_artifact(folder / "examples", examples_of(ROWS))
        self.predictions = artifact(standard_artifacts.Examples, folder / "predictions")
        Scores.test_call(
            model=self.candidate,
            baseline_model=self.champion,
            examples=self.examples,
            scores=artifact(ScoresArtifact, folder / "scores"),
            predictions=self.predictions,
            target=SOLD,
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
        config = eval_config(*metrics, **settings)
        return self.evaluate(config, self.predictions, champion, batched_extracts.__name__)

    def stock(self, *metrics: config_pb2.MetricConfig, champion: bool = False, **settings: Any) -> Any:
        """With TFMA's own extractors and metrics, and models that TFMA loads."""
        for kind in metric_types.registered_metrics().values():
            if issubclass(kind, vector_metrics.InVectors):
                metric_types.register_metric(kind.__bases__[1])
        return self.evaluate(eval_config(*metrics, ours=False, **settings), self.examples, champion)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        # Small row groups: several extracts per slice, many of them of one row.
        patch.setattr(component, "ROW_GROUP", 150)
        return World(tmp_path_factory.mktemp("world"))


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


@pytest.mark.parametrize("champion", [False, True], ids=["no champion", "champion"])
@pytest.mark.parametrize("lower", [0.5, 0.999], ids=["blessed", "not blessed"])
def test_evaluation_and_blessing_are_those_of_stock_tfx(world, champion, lower):
    thresholds = [auc(lower, -1.0), auc(0.1, 0.0, "shop")] if lower > 0.9 else [auc(lower, -1.0)]
    ours, our_blessing = world.ours(*OUR_METRICS[1:], *thresholds, champion=champion, slices=SLICES)
    stock, stock_blessing = world.stock(*STOCK_METRICS[1:], *thresholds, champion=champion, slices=SLICES)

    values = assert_same(ours, stock)
    assert values[(), "candidate" if champion else "", "example_count", False] == ROWS
    assert len({key[0] for key in values}) == 30
    assert any(key[3] for key in values) == champion
    verdicts = [tfma.load_validation_result(output) for output in (ours, stock)]
    assert [verdict.validation_ok for verdict in verdicts] == [lower < 0.9] * 2
    failures = [
        {
            (slice_of(record), failure.metric_key.name, failure.metric_key.is_diff): failure.metric_threshold
            for record in verdict.metric_validations_per_slice
            for failure in record.failures
        }
        for verdict in verdicts
    ]
    assert failures[0] == failures[1]
    files = [sorted(file.name for file in Path(blessing.uri).iterdir()) for blessing in (our_blessing, stock_blessing)]
    assert files[0] == files[1] == ["BLESSED" if lower < 0.9 else "NOT_BLESSED"]
    ours, stock = (blessing.mlmd_artifact.custom_properties for blessing in (our_blessing, stock_blessing))
    assert dict(ours) == dict(stock)
    assert ("baseline_model_id" in ours) == champion


def test_plots_are_those_of_stock_tfma(world):
    buckets = [
        {
            (slice_of(record), bucket.lower_threshold_inclusive): bucket.num_weighted_examples.value
            for record in tfma.load_plots(output)
            for plot in record.plot_keys_and_values
            for bucket in plot.value.calibration_histogram_buckets.buckets
        }
        for output, _ in (evaluate(metric("CalibrationPlot")) for evaluate in (world.ours, world.stock))
    ]
    assert buckets[0] == pytest.approx(buckets[1])
    assert sum(count for (name, _), count in buckets[0].items() if not name) == ROWS


def test_example_weights_weigh_rows_as_in_stock_tfma(world):
    stock, _ = world.stock(*STOCK_METRICS, example_weight_key="weight")
    ours, _ = world.ours(*OUR_METRICS, example_weight_key="weight")
    # TFMA adds up weights in single precision.
    values = assert_same(ours, stock, tolerance=1e-5)
    assert values[(), "", "example_count", False] > 1.2 * ROWS


def test_what_cannot_be_batched_is_evaluated_row_by_row_from_the_same_table(world):
    ours, _ = world.ours(*STOCK_METRICS, champion=True)
    stock, _ = world.stock(*STOCK_METRICS, champion=True)
    assert_same(ours, stock)


def test_a_missing_prediction_is_refused_in_one_sentence(world, tmp_path):
    made = artifact(standard_artifacts.Examples, tmp_path, split_names='["eval"]')
    examples_utils.set_payload_format(made, example_gen_pb2.PayloadFormat.FORMAT_PARQUET)
    (tmp_path / "Split-eval").mkdir()
    table = pa.table({"sold": [[0], [1]], CANDIDATE_KEY: [[0.5], None]})
    pq.write_table(table, tmp_path / "Split-eval" / "data.parquet")
    with pytest.raises(Exception, match=f"column {CANDIDATE_KEY} of labels, predictions or weights must have a value"):
        world.evaluate(eval_config(metric("AUC")), made, module_path=batched_extracts.__name__)


def test_unfit_configurations_are_named_and_evaluated_row_by_row():
    def reason(name="AUC", spec=None, **fields) -> str:
        config = eval_config(ours=fields.pop("ours", True))
        config.MergeFrom(config_pb2.EvalConfig(**fields))
        config.metrics_specs[0].MergeFrom(config_pb2.MetricsSpec(metrics=[metric(name)], **spec or {}))
        reasons = batched_extracts.why_not_batched(config)
        shared = [tfma.default_eval_shared_model("model", model_name="candidate", eval_config=config)]
        config = tfma.utils.update_eval_config_with_defaults(config, has_baseline=False, rubber_stamp=True)
        stages = [extractor.stage_name for extractor in batched_extracts.custom_extractors(shared, config)]
        assert ("ExtractUnbatchedInputs" in stages) == bool(reasons)
        return " ".join(reasons)

    assert reason() == ""
    assert "ExampleCount" in reason("ExampleCount")
    assert "BinaryCrossentropy" in reason("BinaryCrossentropy")
    assert "binarize" in reason(spec={"binarize": config_pb2.BinarizationOptions(class_ids={"values": [1]})})
    assert "query_key" in reason(spec={"query_key": "shop"})
    assert "min_slice_size" in reason(options=config_pb2.Options(min_slice_size={"value": 5}))
    assert "onfidence" in reason(options=config_pb2.Options(compute_confidence_intervals={"value": True}))
