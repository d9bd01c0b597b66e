"""Compares the network with gradient-boosted trees on the same features and splits.

The network is that of a settings file and goes the whole way a pipeline takes it: spans -> tf.Examples ->
tf.Transform -> `models.training.run_fn` -> the exported model's `serving_default`; once per seed, and once more per
seed without embedded numbers. The trees are scikit-learn's HistGradientBoostingClassifier with default settings on the
raw columns. All learn from the spans before the newest one and are scored on that. With `--write` the figures go into
``docs/quality.json``, and from there into the page beside it and into the rows of other pages that quote them.

    python -m benchmarks.quality --write

The exit status is 1 if the network's ROC AUC, the mean over the seeds, is below that of the trees for any month.
"""

from __future__ import annotations

import argparse
import calendar
import functools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import markdown, pipeline
from data import prepare, spans
from data.contract import Target
from flightdeck.settings import Settings, read_settings
from models.features import FeatureSettings
from models.settings import ModelSettings

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from tfx.components.trainer.fn_args_utils import FnArgs

CONTRACT = Path("data/contract.yaml")
SCHEMA = Path("data/schema.pbtxt")
NETWORK, PLAIN, TREES = "network", "network, numbers not embedded", "gradient-boosted trees"
QUOTED = "| ROC AUC on "
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


def networks(
    train: Sequence[pa.Table], newest: pa.Table, settings: Settings, seeds: int
) -> Iterator[tuple[str, np.ndarray, float]]:
    """Trains the network, with and without embedded numbers, from one seed after the other.

    Yields:
        What was trained, its probabilities for the newest span, and the seconds of the whole Trainer.
    """
    from models.training import run_fn

    contract, features = settings.contract(), _features(settings)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        columns = contract.ingested()
        write_examples(train, columns, folder / "Split-train")
        write_examples([newest], columns, folder / "Split-eval")
        analyse(str(folder / "Split-train" / "*"), SCHEMA, features, folder / "transform")
        for seed in range(seeds):
            model = ModelSettings.model_validate(settings.model.model_dump() | {"seed": seed})
            for name, tried in (NETWORK, model), (PLAIN, model.model_copy(update={"number_frequencies": 0})):
                there = folder / f"{name}-{seed}"
                arguments = trainer_arguments(folder, folder / "transform", there, features, tried, contract.target)
                started = time.monotonic()
                run_fn(arguments)
                seconds = time.monotonic() - started
                yield name, serve(there / "serving", sorted((folder / "Split-eval").iterdir())), seconds


def trees(
    train: Sequence[pa.Table], newest: pa.Table, label: str, features: FeatureSettings
) -> tuple[np.ndarray, float]:
    """Trains the trees and returns their probabilities for the newest span and the seconds of training."""
    import pandas as pd
    from sklearn.ensemble import HistGradientBoostingClassifier

    older = pd.concat([table.to_pandas() for table in train])
    known = {name: sorted(older[name].dropna().unique()) for name in features.categorical}
    model = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
    started = time.monotonic()
    model.fit(_raw(older, features, known), older[label])
    seconds = time.monotonic() - started
    return model.predict_proba(_raw(newest.to_pandas(), features, known))[:, 1], seconds


def _raw(frame: pd.DataFrame, features: FeatureSettings, known: dict[str, list]) -> pd.DataFrame:
    import pandas as pd

    numbers = {name: frame[name].astype("float64") for name in features.measured}
    categories = {name: pd.Categorical(frame[name], categories=values) for name, values in known.items()}
    return pd.DataFrame(numbers | categories, index=frame.index)


def _features(settings: Settings) -> FeatureSettings:
    return FeatureSettings.model_validate(settings.features.model_dump())


def compare(settings: Settings, newest: int, seeds: int) -> dict[str, Any]:
    """Trains all models on the spans before the newest one.

    Returns:
        ``newest``, the rows of both splits, and per model a list, one entry per seed, of ``auc``, ``log_loss`` and
        ``seconds``.
    """
    from sklearn.metrics import log_loss, roc_auc_score

    contract = settings.contract()
    train = [spans.read(Path(settings.spans), span) for span in range(1, newest)]
    evaluation = spans.read(Path(settings.spans), newest)
    labels = evaluation.column(contract.label).to_numpy()
    models: dict[str, list[dict[str, float]]] = {NETWORK: [], PLAIN: [], TREES: []}
    of_trees = (TREES, *trees(train, evaluation, contract.label, _features(settings)))
    for name, probabilities, seconds in (of_trees, *networks(train, evaluation, settings, seeds)):
        area, loss = roc_auc_score(labels, probabilities), log_loss(labels, probabilities)
        models[name].append({"auc": float(area), "log_loss": float(loss), "seconds": seconds})
        print(f"span {newest}, {name}: ROC AUC {area:.4f}, {seconds:.1f} s", file=sys.stderr, flush=True)
    rows = {"train": sum(table.num_rows for table in train), "eval": len(labels)}
    return {"newest": newest, "rows": rows, "models": models}


def mean(month: Mapping[str, Any], model: str, what: str = "auc") -> float:
    """The mean of a figure of a model over its seeds."""
    return statistics.fmean(run[what] for run in month["models"][model])


def table(document: Mapping[str, Any]) -> str:
    """All figures, as a table in Markdown."""
    header = ("newest month", "model", "ROC AUC", "least, most", "log loss", "seconds of training")
    rows = []
    for month in document["months"]:
        for model, runs in month["models"].items():
            areas = [run["auc"] for run in runs]
            loss, seconds = (mean(month, model, what) for what in ("log_loss", "seconds"))
            of_area = f"{mean(month, model):.4f}", f"{min(areas):.4f}, {max(areas):.4f}"
            rows.append([calendar.month_name[month["newest"]], model, *of_area, f"{loss:.4f}", f"{seconds:.1f}"])
    return markdown.table(header, rows)


def page(document: Mapping[str, Any]) -> str:
    """The page of the figures."""
    on, months = document["machine"], document["months"]
    rows = "; ".join(
        f"{calendar.month_name[month['newest']]}: {month['rows']['train']:,} and {month['rows']['eval']:,}"
        for month in months
    )
    return f"""# The network beside gradient-boosted trees

All learn from the months before the newest one and are scored on that, with the same columns. The figures of the
network are means over {len(months[0]["models"][NETWORK])} seeds; the trees are scikit-learn's, with its default
settings, and depend on no seed.

{table(document)}

Rows to train on and to score: {rows}. The seconds of the network are those of the whole Trainer, which also reads,
transforms, evaluates and exports; those of the trees are of fitting alone. Numbers are embedded by sines and cosines of
learned frequencies, after Gorishniy, Rubachev and Babenko, "On Embeddings for Numerical Features in Tabular Deep
Learning", NeurIPS 2022; `model.number_frequencies` says how many, and 0 leaves them as they are.

Measured on {on["cores"]} cores ({on["processor"]}), commit `{on["commit"]}`, {on["date"]}. `make benchmark` measures
again and writes this page and [its figures](quality.json).
"""


def row(document: Mapping[str, Any], path: Path) -> str:
    """What the first month showed, as a row of a table of a page."""
    month = document["months"][0]
    newest, before = (calendar.month_name[number] for number in (month["newest"], month["newest"] - 1))
    link = "quality.md" if path.parent.name == "docs" else "docs/quality.md"
    return (
        f"{QUOTED}{newest}, trained on January to {before}, mean of {len(month['models'][NETWORK])} seeds | "
        f"{mean(month, NETWORK):.4f} | {mean(month, TREES):.4f} with gradient boosting on the same features "
        f"([side by side]({link})) |"
    )


def main() -> int:
    """Runs the comparison and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=pipeline.ROOT / "config" / "local.yaml")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--newest", type=int, nargs="+", default=(12, 6, 9), metavar="SPAN", help="spans to score on")
    parser.add_argument("--seeds", type=int, default=5, help="how often the network is trained (default 5)")
    parser.add_argument("--write", action="store_true", help="write docs/quality.json and its page")
    options = parser.parse_args()
    settings = read_settings(options.config, options.overrides)
    prepare.prepare(Path(settings.spans))
    months = [compare(settings, newest, options.seeds) for newest in options.newest]
    document = {"machine": pipeline.machine(), "changed": options.overrides, "months": months}
    print(table(document))
    if options.write:
        docs = pipeline.ROOT / "docs"
        (docs / "quality.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        (docs / "quality.md").write_text(page(document), encoding="utf-8")
        for name in pipeline.QUOTING:
            pipeline.quote(pipeline.ROOT / name, QUOTED, row(document, pipeline.ROOT / name))
    return int(any(mean(month, NETWORK) < mean(month, TREES) for month in months))


if __name__ == "__main__":
    sys.exit(main())
