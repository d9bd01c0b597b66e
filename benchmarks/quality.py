"""Compares the network with gradient-boosted trees on the same features and split.

The network goes the whole way a pipeline takes it: spans -> tf.Examples -> tf.Transform -> `models.training.run_fn`
-> the exported model's `serving_default`. The trees are scikit-learn's HistGradientBoostingClassifier with default
settings on the raw columns. Both learn from all spans but the newest one and are scored on that.

    python -m benchmarks.quality --spans workspace/spans

The exit status is 1 if the network's ROC AUC is worse by more than the margin.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data import prepare, spans
from data.contract import Contract, Target
from models.features import FeatureSettings
from models.flights import FlightFeatures
from models.settings import ModelSettings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from tfx.components.trainer.fn_args_utils import FnArgs

MARGIN = 0.01
CONTRACT = Path("data/contract.yaml")
SCHEMA = Path("data/schema.pbtxt")
_BEAM = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"]


def write_examples(tables: Sequence[pa.Table], columns: dict[str, str], folder: Path) -> None:
    """Writes one gzipped TFRecord file of tf.Examples per table, in the given order."""
    import tensorflow as tf

    from components.examples import encode
    from components.span_example_gen.columns import ingested

    folder.mkdir(parents=True, exist_ok=True)
    options = tf.io.TFRecordOptions("GZIP", compression_level=1)
    for index, table in enumerate(tables):
        path = folder / f"data_tfrecord-{index:05d}-of-{len(tables):05d}.gz"
        with tf.io.TFRecordWriter(str(path), options) as writer:
            for batch in table.select(list(columns)).combine_chunks().to_batches():
                for example in encode(ingested(batch, columns)):
                    writer.write(example)


def analyse(
    files: str, schema_path: Path, features: FeatureSettings, destination: Path, batch_rows: int | None = None
) -> None:
    """Runs tf.Transform's analysis of the preprocessing function and writes its output."""
    import apache_beam as beam
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2
    from tensorflow_transform.tf_metadata import dataset_metadata
    from tfx_bsl.public import tfxio

    from models.preprocessing import preprocessing_fn

    schema = text_format.Parse(schema_path.read_text(encoding="utf-8"), schema_pb2.Schema())
    function = functools.partial(preprocessing_fn, custom_config={"features": features.model_dump(mode="json")})
    source = tfxio.TFExampleRecord(files, schema=schema, telemetry_descriptors=["flightdeck"])
    source = source.Project(features.inputs)
    metadata = str(destination / tft.TFTransformOutput.RAW_METADATA_DIR)
    with (
        tempfile.TemporaryDirectory() as temporary,
        beam.Pipeline(options=PipelineOptions(_BEAM)) as pipeline,
        tft_beam.Context(temp_dir=temporary),
    ):
        dataset = (pipeline | source.BeamSource(batch_rows), source.TensorAdapterConfig())
        transform = dataset | tft_beam.AnalyzeDataset(function)
        _ = transform | tft_beam.WriteTransformFn(str(destination))
        _ = dataset_metadata.DatasetMetadata(schema) | tft_beam.WriteMetadata(metadata, pipeline)


def trainer_arguments(
    examples: Path,
    transform: Path,
    destination: Path,
    features: FeatureSettings,
    model: ModelSettings,
    target: Target,
) -> FnArgs:
    """Returns what TFX's Trainer would hand to `run_fn`: a model in ``destination/serving``, logs in ``run``."""
    from tfx.components.trainer.fn_args_utils import FnArgs

    values: dict[str, Any] = {
        "train_files": [str(examples / "Split-train" / "*")],
        "eval_files": [str(examples / "Split-eval" / "*")],
        "transform_graph_path": str(transform),
        "serving_model_dir": str(destination / "serving"),
        "model_run_dir": str(destination / "run"),
        "custom_config": {
            "features": features.model_dump(mode="json"),
            "model": model.model_dump(mode="json"),
            "target": target.model_dump(mode="json"),
        },
    }
    return FnArgs(**values)


def serve(model: Path, files: Sequence[Path]) -> np.ndarray:
    """Returns the probabilities, float32 [rows], that an exported model gives to the examples of some files."""
    import tensorflow as tf

    score = tf.saved_model.load(str(model)).signatures["serving_default"]
    examples = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP").batch(4096)
    return np.concatenate([score(examples=batch)["probability"].numpy()[:, 0] for batch in examples])


def network_probabilities(
    train: Sequence[pa.Table],
    newest: pa.Table,
    contract: Contract,
    features: FeatureSettings,
    model: ModelSettings,
) -> tuple[np.ndarray, float]:
    """Trains the network and returns its probabilities for the newest span and the seconds of training."""
    from models.training import run_fn

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        columns = contract.ingested()
        write_examples(train, columns, folder / "Split-train")
        write_examples([newest], columns, folder / "Split-eval")
        analyse(str(folder / "Split-train" / "*"), SCHEMA, features, folder / "transform")
        started = time.monotonic()
        run_fn(trainer_arguments(folder, folder / "transform", folder, features, model, contract.target))
        seconds = time.monotonic() - started
        return serve(folder / "serving", sorted((folder / "Split-eval").iterdir())), seconds


def tree_probabilities(
    train: Sequence[pa.Table], newest: pa.Table, label: str, features: FeatureSettings
) -> tuple[np.ndarray, float]:
    """Trains the trees and returns their probabilities for the newest span and the seconds of training."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier

    older = pd.concat([table.to_pandas() for table in train])
    known = {name: sorted(older[name].dropna().unique()) for name in features.categorical}
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    started = time.monotonic()
    trees.fit(_raw(older, features, known), older[label])
    seconds = time.monotonic() - started
    return trees.predict_proba(_raw(newest.to_pandas(), features, known))[:, 1], seconds


def _raw(frame: pd.DataFrame, features: FeatureSettings, known: dict[str, list]) -> pd.DataFrame:
    import pandas as pd

    numbers = {name: frame[name].astype("float64") for name in features.measured}
    categories = {name: pd.Categorical(frame[name], categories=values) for name, values in known.items()}
    return pd.DataFrame(numbers | categories, index=frame.index)


def compare(folder: Path, first: int, newest: int, model: ModelSettings) -> float:
    """Prints both models' figures and returns by how much the network's ROC AUC is better than the trees'."""
    from sklearn.metrics import log_loss, roc_auc_score

    contract, features = Contract.load(CONTRACT), FlightFeatures()
    train = [spans.read(folder, span) for span in range(first, newest)]
    evaluation = spans.read(folder, newest)
    labels = evaluation.column(contract.label).to_numpy()
    rows = sum(table.num_rows for table in train)
    print(f"trained on spans {first} to {newest - 1} ({rows:,} rows), scored on span {newest} ({len(labels):,} rows)")
    print(f"{'model':<34}{'ROC AUC':>9}{'log loss':>10}{'fit, s':>9}")
    areas = []
    for name, (probabilities, seconds) in {
        "network (whole Trainer)": network_probabilities(train, evaluation, contract, features, model),
        "HistGradientBoostingClassifier": tree_probabilities(train, evaluation, contract.label, features),
    }.items():
        areas.append(roc_auc_score(labels, probabilities))
        print(f"{name:<34}{areas[-1]:>9.4f}{log_loss(labels, probabilities):>10.4f}{seconds:>9.1f}")
    difference = float(areas[0] - areas[1])
    print(f"{'difference in ROC AUC':<34}{difference:>+9.4f}   (at least {-MARGIN:+.2f} is required)")
    return difference


def main() -> int:
    """Runs the comparison and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=Path, default=Path("workspace/spans"), help="prepared if it is not there")
    parser.add_argument("--first", type=int, default=1, help="oldest span to learn from")
    parser.add_argument("--newest", type=int, default=12, help="span to score on")
    parser.add_argument("--seed", type=int, default=0, help="seed of the network")
    arguments = parser.parse_args()
    prepare.prepare(arguments.spans)
    settings = ModelSettings(seed=arguments.seed)
    return int(compare(arguments.spans, arguments.first, arguments.newest, settings) < -MARGIN)


if __name__ == "__main__":
    sys.exit(main())
