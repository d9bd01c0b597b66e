"""A model of shops that tells missing values from others, and what a component reads: a Model, Examples."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.types import standard_artifacts

from components.examples import encode, read

MISSING_INT = np.iinfo(np.int64).min
COLUMNS = {"shop": (tf.string, ""), "floor": (tf.int64, int(MISSING_INT)), "size": (tf.float32, float("nan"))}
RAW = [tf.TensorSpec([None, 1], kind, name=name) for name, (kind, _) in COLUMNS.items()]
EXAMPLES = [tf.TensorSpec([None], tf.string, name="examples")]


def target(task: str, label: str = "sold", classes: Sequence[str] = ()) -> str:
    """What is predicted, as components are told."""
    return json.dumps({"label": label, "task": task, "classes": classes, "unit": None})


SOLD = target("binary")
GRADE = target("multiclass", "grade", ["poor", "fair", "very good"])
PRICE = target("regression", "price")


def parse(examples: tf.Tensor) -> list[tf.Tensor]:
    """Parses the columns to [rows, 1]; FixedLenFeature would refuse an empty list."""
    parsed = tf.io.parse_example(examples, {name: tf.io.VarLenFeature(kind) for name, (kind, _) in COLUMNS.items()})
    return [
        tf.ensure_shape(
            tf.sparse.to_dense(tf.sparse.reset_shape(parsed[name], [tf.size(examples), 1]), missing), [None, 1]
        )
        for name, (_, missing) in COLUMNS.items()
    ]


class Scorer(tf.Module):
    """Reads size much, floor a little, and of the shop the length of its name as much as it is told to."""

    output = "probability"

    def __init__(self, shop: float = 0.0):
        super().__init__()
        self.weights = tf.Variable([[shop], [0.3], [3.0]])

    def columns(self, shop, floor, size):
        """All values as numbers, float32 [rows, 3]."""
        return tf.concat(
            [
                tf.where(shop == "", -1.0, tf.cast(tf.strings.length(shop), tf.float32)),
                tf.where(floor == MISSING_INT, 2.0, tf.cast(tf.maximum(floor, -9), tf.float32)),
                tf.where(tf.math.is_nan(size), -1.0, size),
            ],
            axis=1,
        )

    def sum(self, shop, floor, size):
        """The columns as they weigh, float32 [rows, 1]."""
        return self.columns(shop, floor, size) @ self.weights

    def score(self, shop, floor, size):
        return tf.sigmoid(self.sum(shop, floor, size) - 2.0)

    @tf.function(input_signature=EXAMPLES)
    def serve(self, examples):
        return {self.output: self.score(*parse(examples))}

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {self.output: self.score(shop, floor, size)}

    def signatures(self) -> dict[str, Any]:
        return {"serving_default": self.serve, "predict_raw": self.raw}


class Grader(Scorer):
    """Answers with a probability of each of three grades."""

    output = "probabilities"

    def score(self, shop, floor, size):
        total = self.sum(shop, floor, size)
        return tf.nn.softmax(tf.concat([2.0 - total, 0.5 * total - 0.6, 2.0 * total - 4.0], axis=1))


class Pricer(Scorer):
    """Answers with a price, which may be far from zero."""

    output = "value"

    def score(self, shop, floor, size):
        return 14.0 * self.sum(shop, floor, size) - 3.0


class Explained(Scorer):
    """Gives each column an equal part of the difference from 0.25."""

    def signatures(self) -> dict[str, Any]:
        return {**super().signatures(), "explain": self.explain}

    @tf.function(input_signature=RAW)
    def explain(self, shop, floor, size):
        answer = self.score(shop, floor, size)
        part = (answer - 0.25) / len(COLUMNS)
        why = {f"why_{name}": part for name in COLUMNS}
        return {self.output: answer, "base_value": tf.fill(tf.shape(answer), 0.25), **why}


class ExplainedGrader(Explained, Grader):
    """Explains each of the three probabilities."""


class ExplainedPricer(Explained, Pricer):
    """Explains a price."""


class ExamplesOnly(Scorer):
    """Without the raw signature."""

    def signatures(self):
        return {"serving_default": self.serve}


def artifact(kind: type, folder: Path, **properties: Any) -> Any:
    made = kind()
    folder.mkdir(parents=True, exist_ok=True)
    made.uri = str(folder)
    for name, value in properties.items():
        setattr(made, name, value)
    return made


def model_artifact(folder: Path, scorer: Scorer | None) -> standard_artifacts.Model:
    made = artifact(standard_artifacts.Model, folder, id=1)
    (folder / "Format-Serving").mkdir()
    if scorer is not None:
        tf.saved_model.save(scorer, str(folder / "Format-Serving"), signatures=scorer.signatures())
    return made


def in_columns(examples: standard_artifacts.Examples) -> standard_artifacts.Examples:
    """Replaces TFRecord files by Parquet files with the same rows."""
    for path in sorted(Path(examples.uri).glob("Split-*/*.gz")):
        pq.write_table(pa.Table.from_batches(read([str(path)])), path.with_suffix(".parquet"))
        path.unlink()
    return examples


def examples_artifact(folder: Path, messages: Sequence[Any], shards: int = 2) -> standard_artifacts.Examples:
    """Examples of which the split `eval` holds some messages, those of each file one after another."""
    made = artifact(standard_artifacts.Examples, folder, split_names='["train", "eval"]')
    (folder / "Split-eval").mkdir()
    for shard, part in enumerate(np.array_split(np.arange(len(messages)), shards)):
        path = folder / "Split-eval" / f"data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for index in part:
                writer.write(messages[index].SerializeToString(deterministic=True))
    return made


def in_both_formats(folder: Path, splits: Mapping[str, Sequence[pa.RecordBatch]], **properties: Any) -> dict[str, Any]:
    """Examples artifacts of the same rows, a file for each batch: the ending of their files -> artifact."""
    for split, batches in splits.items():
        for index, batch in enumerate(batches):
            name = f"Split-{split}/data-{index:05d}-of-{len(batches):05d}"
            for ending in ("parquet", "gz"):
                (folder / ending / name).parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(pa.table(batch), folder / "parquet" / f"{name}.parquet")
            with tf.io.TFRecordWriter(str(folder / "gz" / f"{name}.gz"), "GZIP") as writer:
                for example in encode(batch):
                    writer.write(example)
    properties["split_names"] = json.dumps(list(splits))
    return {
        ending: artifact(standard_artifacts.Examples, folder / ending, **properties) for ending in ("parquet", "gz")
    }
