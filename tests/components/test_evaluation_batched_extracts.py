"""TFX's Evaluator on the predictions of Scores against stock TFX: the same rows and models, the same results."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.proto import config_pb2
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import standard_artifacts

from components import tasks
from components.evaluation import batched_extracts
from components.scores.component import CANDIDATE_KEY
from pipeline import evaluation
from tests.components.evaluations import ROWS, SLICES, Subject, assert_same, metric, slice_of, worlds
from tests.components.scorers import SOLD, ExamplesOnly, Scorer, artifact

pytestmark = pytest.mark.component

ROW_METRICS = "components.evaluation.row_metrics"
METRICS = (
    *("AUC", "AUCPrecisionRecall", "BinaryAccuracy", "Precision", "Recall", "F1Score", "MaxRecall"),
    *("MeanLabel", "MeanPrediction", "Calibration", "CalibrationPlot"),
)
ROC = metric("ConfusionMatrixAtThresholds", {"thresholds": [0.25, 0.5, 0.1]})
SHARED_METRICS = [*map(metric, METRICS), metric("SensitivityAtSpecificity", {"specificity": 0.5}), ROC]
OUR_METRICS = [*SHARED_METRICS, *(metric(name, module=ROW_METRICS) for name in ("RowCount", "LogLoss"))]
STOCK_METRICS = [*SHARED_METRICS, metric("ExampleCount"), metric("BinaryCrossEntropy", {"name": "log_loss"})]


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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    yield from worlds(tmp_path_factory.mktemp("world"), Subject(SOLD, Scorer(), ExamplesOnly(shop=0.7)))


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


def test_the_picture_is_the_roc_of_the_challenger_alone(world):
    ours, _ = world.ours(ROC, metric("RowCount", module=ROW_METRICS), champion=True)

    table = world.rows()[()]
    labels, scores = (np.array(table[name].to_pylist()).ravel() for name in ("sold", CANDIDATE_KEY))
    expected = [
        {
            "confidenceThreshold": threshold,
            "falsePositiveRate": (scores[labels == 0] > threshold).mean(),
            "recall": (scores[labels == 1] > threshold).mean(),
        }
        for threshold in (0.5, 0.25, 0.1)
    ]
    (curve,) = evaluation.picture(ours, tasks.of(SOLD))["roc"].values()
    for point, wanted in zip(sorted(curve, key=lambda point: -point["confidenceThreshold"]), expected, strict=True):
        assert point == pytest.approx(wanted)


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
        world.evaluate(world.config(metric("AUC")), made, module_path=batched_extracts.__name__)


def test_unfit_configurations_are_named_and_evaluated_row_by_row(world):
    def reason(name="AUC", spec=None, **fields) -> str:
        config = world.config(ours=fields.pop("ours", True))
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
