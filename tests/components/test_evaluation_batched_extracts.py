"""Batched extracts against stock TFMA: the same rows and models, the same values for every slice."""

import json
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tfx_bsl.tfxio import tensor_adapter, tf_example_record

from components.evaluation import batched_extracts
from tests.components.local_runs import IN_MEMORY
from tests.components.scorers import EXAMPLES
from tests.examples import example

pytestmark = pytest.mark.component

ROWS = 2_000
ROW_METRICS = "components.evaluation.row_metrics"
METRICS = (
    *("AUC", "BinaryAccuracy", "Precision", "Recall"),
    *("MeanLabel", "MeanPrediction", "Calibration", "CalibrationPlot"),
)
SLICES = (
    *(config_pb2.SlicingSpec(feature_keys=keys) for keys in ([], ["shop"], ["floor"], ["shop", "floor"], ["tags"])),
    config_pb2.SlicingSpec(feature_values={"shop": "B"}),
    config_pb2.SlicingSpec(feature_values={"floor": "2"}),
    config_pb2.SlicingSpec(feature_keys=["floor"], feature_values={"shop": "C"}),
    config_pb2.SlicingSpec(feature_keys=["nowhere"]),
)
FEW_SLICES = SLICES[:2]
# `shop` and `floor` are missing in some rows, `tags` has up to three values.
SCHEMA = text_format.Parse(
    """
    feature { name: "shop" type: BYTES value_count { min: 0 max: 1 } }
    feature { name: "floor" type: INT value_count { min: 0 max: 1 } }
    feature { name: "tags" type: BYTES value_count { min: 0 max: 3 } }
    feature { name: "size" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    feature { name: "weight" type: FLOAT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    feature { name: "sold" type: INT presence { min_fraction: 1 } shape { dim { size: 1 } } }
    """,
    schema_pb2.Schema(),
)


class Scorer(tf.Module):
    """Scores `size` behind a signature of serialised examples, with a transform signature."""

    def __init__(self, seed: int, outputs: int):
        super().__init__()
        self.weights = tf.Variable(np.random.default_rng(seed).normal(size=[1, outputs]), dtype=tf.float32)

    @tf.function(input_signature=EXAMPLES)
    def serve(self, examples):
        size = tf.io.parse_example(examples, {"size": tf.io.FixedLenFeature([1], tf.float32)})["size"]
        return {"probability": tf.sigmoid(size * self.weights)}

    @tf.function(input_signature=EXAMPLES)
    def transform(self, examples):
        shop = tf.io.parse_example(examples, {"shop": tf.io.FixedLenFeature([1], tf.string, "")})["shop"]
        index = tf.strings.to_hash_bucket_fast(shop, 3)
        return {"shop": index, "shop_index": index}


def export_scorer(folder: Path, seed: int, outputs: int = 1) -> str:
    scorer = Scorer(seed, outputs)
    signatures = {"serving_default": scorer.serve, "transform_features": scorer.transform}
    tf.saved_model.save(scorer, str(folder), signatures=signatures)
    return str(folder)


def write_examples(path: Path, rows: int = ROWS) -> str:
    draw = np.random.default_rng(7)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for _ in range(rows):
            size = draw.normal()
            features = {
                "size": [size],
                "weight": [draw.uniform(0.1, 3)],
                "sold": [int(draw.uniform() < 0.3 + 0.1 * size)],
            }
            if draw.uniform() > 0.1:
                features["shop"] = [draw.choice([b"A", b"B", b"C", "Ü".encode()])]
            if draw.uniform() > 0.1:
                features["floor"] = [int(draw.integers(-1, 4))]
            features["tags"] = list(draw.choice([b"new", b"sale", b"red"], draw.integers(0, 4)))
            writer.write(example(features).SerializeToString())
    return str(path)


def eval_config(*metrics: config_pb2.MetricConfig, slices=FEW_SLICES, **model_spec: Any) -> config_pb2.EvalConfig:
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serving_default", label_key="sold", **model_spec)],
        slicing_specs=slices,
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def row_metric(name: str, **fields) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=name, module=ROW_METRICS, **fields)


ROC = config_pb2.MetricConfig(class_name="ConfusionMatrixAtThresholds", config='{"thresholds": [0.25, 0.5]}')
SHARED_METRICS = [*(config_pb2.MetricConfig(class_name=name) for name in METRICS), ROC]
BATCHED_METRICS = [*SHARED_METRICS, row_metric("RowCount"), row_metric("LogLoss")]
STOCK_METRICS = [
    *SHARED_METRICS,
    config_pb2.MetricConfig(class_name="ExampleCount"),
    config_pb2.MetricConfig(class_name="BinaryCrossEntropy", config=json.dumps({"name": "log_loss"})),
]


def evaluate(
    examples: str, models: list[str], config: config_pb2.EvalConfig, output: Path, batched: bool, schema=None
) -> str:
    """Evaluates as TFX's Evaluator does: TFXIO, then TFMA with our extractors or its own."""
    config = tfma.utils.update_eval_config_with_defaults(config, has_baseline=len(models) > 1, rubber_stamp=True)
    shared = [
        tfma.default_eval_shared_model(path, model_name=spec.name, eval_config=config)
        for path, spec in zip(models, config.model_specs, strict=True)
    ]
    shared = shared if len(shared) > 1 else shared[0]
    tfxio = tf_example_record.TFExampleRecord(
        examples,
        schema=schema,
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
        telemetry_descriptors=["test"],
    )
    adapter = schema and tensor_adapter.TensorAdapterConfig(tfxio.ArrowSchema(), tfxio.TensorRepresentations())
    extractors = None
    if batched:
        assert batched_extracts.why_not_batched(config, shared) == []
        extractors = batched_extracts.custom_extractors(shared, config, adapter)
    with beam.Pipeline(argv=IN_MEMORY) as pipeline:
        _ = (
            pipeline
            # Small batches: several extracts per slice, many of them of one row.
            | tfxio.BeamSource(batch_size=150)
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=shared,
                eval_config=config,
                extractors=extractors,
                output_path=str(output),
                tensor_adapter_config=adapter,
            )
        )
    return str(output)


def metrics_of(output: str) -> dict[tuple, float]:
    """All values by (slice, model, metric, is a difference between models)."""
    values = {}
    for record in tfma.load_metrics(output):
        for metric in record.metric_keys_and_values:
            key = (slice_of(record), metric.key.model_name, metric.key.name, metric.key.is_diff)
            if metric.value.HasField("double_value"):
                values[key] = metric.value.double_value.value
            for matrix in metric.value.confusion_matrix_at_thresholds.matrices:
                values[(*key, matrix.threshold, "TP")] = matrix.true_positives
                values[(*key, matrix.threshold, "FP")] = matrix.false_positives
    return values


def slice_of(record) -> tuple:
    """The slice of a result: () for the whole, else ((column, value), ...)."""
    return slicer_lib.deserialize_slice_key(record.slice_key)


def assert_same(batched: str, stock: str, count_tolerance: float = 0) -> dict[tuple, float]:
    ours, theirs = metrics_of(batched), metrics_of(stock)
    assert ours.keys() == theirs.keys()
    assert len({key[0] for key in ours}) >= 5
    for key, value in theirs.items():
        tolerance = count_tolerance if key[2] == "example_count" else 1e-6
        assert ours[key] == pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True), key
    return ours


def bound(lower: float, *columns: str, change: float | None = None) -> dict:
    """A threshold on the whole, or on the slices by the columns."""
    threshold = config_pb2.MetricThreshold(
        value_threshold=config_pb2.GenericValueThreshold(lower_bound={"value": lower})
    )
    if change is not None:
        threshold.change_threshold.direction = config_pb2.MetricDirection.HIGHER_IS_BETTER
        threshold.change_threshold.absolute.value = change
    slices = [config_pb2.SlicingSpec(feature_keys=columns)]
    return {"per_slice_thresholds": [config_pb2.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)]}


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return write_examples(tmp_path_factory.mktemp("examples") / "data.gz")


@pytest.fixture(scope="module")
def scorers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return [export_scorer(folder / "candidate", seed=1), export_scorer(folder / "baseline", seed=2)]


@pytest.fixture(scope="module")
def stock(examples, scorers, tmp_path_factory):
    config = eval_config(*STOCK_METRICS, slices=SLICES)
    return evaluate(examples, scorers[:1], config, tmp_path_factory.mktemp("stock"), False, SCHEMA)


@pytest.mark.parametrize("schema", [None, SCHEMA], ids=["without schema", "with schema"])
def test_one_model_gets_the_values_of_stock_tfma(examples, scorers, stock, schema, tmp_path):
    config = eval_config(*BATCHED_METRICS, slices=SLICES)
    batched = evaluate(examples, scorers[:1], config, tmp_path / "batched", True, schema)
    values = assert_same(batched, stock)
    assert values[(), "", "example_count", False] == ROWS
    assert len({key[0] for key in values}) > 30
    plots = [list(tfma.load_plots(output)) for output in (batched, stock)]
    buckets = [
        {
            (slice_of(record), bucket.lower_threshold_inclusive): bucket.num_weighted_examples.value
            for record in output
            for plot in record.plot_keys_and_values
            for bucket in plot.value.calibration_histogram_buckets.buckets
        }
        for output in plots
    ]
    assert buckets[0] == pytest.approx(buckets[1])
    assert sum(count for (name, _), count in buckets[0].items() if not name) == ROWS


def test_example_weights_weigh_rows_as_in_stock_tfma(examples, scorers, tmp_path):
    weighted = {"example_weight_key": "weight"}
    stock = evaluate(examples, scorers[:1], eval_config(*STOCK_METRICS, **weighted), tmp_path / "stock", False)
    batched = evaluate(examples, scorers[:1], eval_config(*BATCHED_METRICS, **weighted), tmp_path / "batched", True)
    # TFMA adds up weights in single precision.
    values = assert_same(batched, stock, count_tolerance=1e-5)
    assert values[(), "", "example_count", False] > 1.2 * ROWS


@pytest.mark.parametrize("allowed_change", [-1.0, 1.0], ids=["accepted", "refused"])
def test_challenger_and_champion_are_compared_as_in_stock_tfma(examples, scorers, allowed_change, tmp_path):
    auc = config_pb2.MetricConfig(class_name="AUC", **bound(0.05, change=allowed_change))
    count = row_metric("RowCount", **bound(100, "shop"))  # of rows: in each shop there are fewer extracts
    batched = evaluate(examples, scorers, eval_config(auc, count), tmp_path / "batched", True)
    verdict = tfma.load_validation_result(batched)
    assert verdict.validation_ok == (allowed_change < 0)
    if verdict.validation_ok:
        return
    count = config_pb2.MetricConfig(class_name="ExampleCount", **bound(100, "shop"))
    stock = evaluate(examples, scorers, eval_config(auc, count), tmp_path / "stock", False)
    assert assert_same(batched, stock)[(), "candidate", "auc", True] != 0
    verdicts = [verdict, tfma.load_validation_result(stock)]
    failures = [{slice_of(record) for record in result.metric_validations_per_slice} for result in verdicts]
    assert failures[0] == failures[1] == {()}


def test_slices_are_of_the_raw_feature_where_a_transformed_one_has_its_name(examples, scorers, tmp_path):
    slices = [config_pb2.SlicingSpec(feature_keys=[key]) for key in ("shop", "shop_index")]
    transformed = {"preprocessing_function_names": ["transform_features"]}
    config = eval_config(row_metric("RowCount"), slices=slices, **transformed)
    batched = metrics_of(evaluate(examples, scorers[:1], config, tmp_path / "batched", True))
    assert {key[0] for key in batched if key[0][0][0] == "shop"} == {(("shop", shop),) for shop in "ABCÜ"}
    assert sum(value for key, value in batched.items() if key[0][0][0] == "shop_index") == ROWS


def test_more_than_one_value_per_example_is_refused_in_one_sentence(examples, tmp_path):
    model = export_scorer(tmp_path / "model", seed=1, outputs=3)
    with pytest.raises(Exception, match=r"predictions must have exactly one value .* an array of shape \[\d+, 3\]"):
        evaluate(examples, [model], eval_config(row_metric("RowCount")), tmp_path / "batched", True)


def test_unfit_configurations_are_named_and_evaluated_row_by_row(scorers):
    def reason(metric="AUC", spec=None, **fields) -> str:
        config = eval_config(**fields.pop("model_spec", {}))
        config.MergeFrom(config_pb2.EvalConfig(**fields))
        config.metrics_specs[0].MergeFrom(
            config_pb2.MetricsSpec(metrics=[config_pb2.MetricConfig(class_name=metric)], **spec or {})
        )
        model = tfma.default_eval_shared_model(scorers[0], eval_config=config)
        reasons = batched_extracts.why_not_batched(config, model)
        stages = [extractor.stage_name for extractor in batched_extracts.custom_extractors(model, config)]
        assert ("ExtractUnbatchedInputs" in stages) == bool(reasons)
        return " ".join(reasons)

    assert reason() == ""
    assert "ExampleCount" in reason("ExampleCount")
    assert "BinaryCrossentropy" in reason("BinaryCrossentropy")
    assert "binarize" in reason(spec={"binarize": config_pb2.BinarizationOptions(class_ids={"values": [1]})})
    assert "query_key" in reason(spec={"query_key": "shop"})
    assert "min_slice_size" in reason(options=config_pb2.Options(min_slice_size={"value": 5}))
    assert "onfidence" in reason(options=config_pb2.Options(compute_confidence_intervals={"value": True}))
