"""Compares TFMA's stock extractors with components.evaluation.batched_extracts on synthetic data.

`python -m benchmarks.evaluation --rows 20000 --slices 20` makes the data and a small Keras model, evaluates
the same rows with both, each in a fresh process, and prints wall seconds, CPU seconds and peak memory, with
the largest difference between the metrics of the two. Imports are not in the seconds, but in the memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_EXTRA_FEATURES = 20
_METRICS = ("AUC", "BinaryAccuracy", "Precision", "Recall", "MeanLabel", "MeanPrediction", "Calibration")
_BEAM = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"]


def main() -> None:
    """Runs both evaluations and prints the comparison."""
    options = _options()
    if options.evaluate:
        _evaluate(Path(options.workspace), batched=options.evaluate == "batched")
        return
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        _run("--prepare", workspace, options)
        measured = {kind: _run(f"--evaluate={kind}", workspace, options) for kind in ("stock", "batched")}
    print(f"{options.rows:,} rows, the whole and {options.slices} slices, {len(_METRICS)} metrics, count and log loss")
    for kind, result in measured.items():
        print(f"{kind:8} {result['seconds']:7.1f} s {result['cpu_seconds']:7.1f} CPU s {result['peak_mb']:7,.0f} MB")
    stock, batched = measured["stock"]["metrics"], measured["batched"]["metrics"]
    if stock.keys() != batched.keys():
        sys.exit(f"The two do not have the same results: {sorted(stock.keys() ^ batched.keys())[:3]} …")
    difference = max(abs(stock[key] - batched[key]) for key in stock)
    print(f"largest difference of {len(stock):,} values: {difference:.1e}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="examples to evaluate (default 20,000)")
    parser.add_argument("--slices", type=int, default=20, help="values of the column to slice by (default 20)")
    parser.add_argument("--prepare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--evaluate", choices=("stock", "batched"), help=argparse.SUPPRESS)
    parser.add_argument("--workspace", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rows < options.slices or options.slices < 1:
        parser.error("there must be at least one slice and one row per slice")
    if options.prepare:
        _prepare(Path(options.workspace), options.rows, options.slices)
        sys.exit(0)
    return options


def _run(step: str, workspace: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Runs one step in a process of its own, so that its peak memory is its own."""
    subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.evaluation", step, f"--workspace={workspace}"),
            *(f"--rows={options.rows}", f"--slices={options.slices}"),
        ],
        check=True,
        cwd=Path(__file__).resolve().parents[1],
    )
    result = workspace / f"{step.rpartition('=')[2]}.json"
    return json.loads(result.read_text()) if result.exists() else {}


def _prepare(workspace: Path, rows: int, slices: int) -> None:
    """Writes the examples and the model."""
    import keras
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(rows, _EXTRA_FEATURES)).astype("float32")
    labels = (draw.uniform(size=rows) < 1 / (1 + np.exp(-numbers[:, 0]))).astype("int64")
    with tf.io.TFRecordWriter(str(workspace / "examples.gz"), "GZIP") as writer:
        for row in range(rows):
            example = tf.train.Example()
            features = example.features.feature
            for column in range(_EXTRA_FEATURES):
                features[f"number_{column:02}"].float_list.value.append(numbers[row, column])
            features["part"].bytes_list.value.append(b"part-%d" % (row % slices))
            features["label"].int64_list.value.append(labels[row])
            writer.write(example.SerializeToString())
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input([1]), keras.layers.Dense(1, activation="sigmoid")])
    parsing = {"number_00": tf.io.FixedLenFeature([1], tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(examples: Any) -> dict[str, Any]:
        return {"probability": network(tf.io.parse_example(examples, parsing)["number_00"])}

    module = tf.Module()
    module.network = network
    tf.saved_model.save(module, str(workspace / "model"), signatures={"serving_default": serve})


def _evaluate(workspace: Path, batched: bool) -> None:
    """Evaluates as TFX's Evaluator does and writes what it took."""
    import apache_beam as beam
    import tensorflow_model_analysis as tfma
    from tfx_bsl.tfxio import tf_example_record

    from components.evaluation import batched_extracts

    config = _eval_config(batched)
    model = tfma.default_eval_shared_model(str(workspace / "model"), eval_config=config)
    tfxio = tf_example_record.TFExampleRecord(
        str(workspace / "examples.gz"),
        raw_record_column_name=tfma.constants.ARROW_INPUT_COLUMN,
        telemetry_descriptors=["benchmark"],
    )
    if batched and (reasons := batched_extracts.why_not_batched(config, model)):
        raise RuntimeError(" ".join(reasons))
    extractors = batched_extracts.custom_extractors(model, config) if batched else None
    kind = "batched" if batched else "stock"
    output = str(workspace / f"{kind}-output")
    wall, cpu = time.perf_counter(), time.process_time()
    with beam.Pipeline(argv=_BEAM) as pipeline:
        _ = (
            pipeline
            | tfxio.BeamSource()
            | tfma.ExtractEvaluateAndWriteResults(
                eval_shared_model=model, eval_config=config, extractors=extractors, output_path=output
            )
        )
    result = {
        "seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "metrics": _metrics(tfma, output),
    }
    (workspace / f"{kind}.json").write_text(json.dumps(result))


def _metrics(tfma: Any, output: str) -> dict[str, float]:
    """Returns all values by slice and metric."""
    from tensorflow_model_analysis.slicer import slicer_lib

    return {
        f"{slicer_lib.deserialize_slice_key(record.slice_key)} {metric.key.name}": value.double_value.value
        for record in tfma.load_metrics(output)
        for metric in record.metric_keys_and_values
        if (value := metric.value).HasField("double_value")
    }


def _eval_config(batched: bool) -> Any:
    from tensorflow_model_analysis.proto import config_pb2

    metrics = [config_pb2.MetricConfig(class_name=name) for name in _METRICS]
    if batched:
        module = "components.evaluation.row_metrics"
        metrics += [config_pb2.MetricConfig(class_name=name, module=module) for name in ("RowCount", "LogLoss")]
    else:
        log_loss = json.dumps({"name": "log_loss"})
        metrics += [
            config_pb2.MetricConfig(class_name="ExampleCount"),
            config_pb2.MetricConfig(class_name="BinaryCrossEntropy", config=log_loss),
        ]
    return config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(signature_name="serving_default", label_key="label")],
        slicing_specs=[config_pb2.SlicingSpec(), config_pb2.SlicingSpec(feature_keys=["part"])],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


if __name__ == "__main__":
    main()
