"""Scores with real SavedModels and real files of examples."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn import inspection, metrics
from sklearn.base import BaseEstimator, ClassifierMixin
from tfx.types import Channel, standard_artifacts

from components.scores.component import Scores, ScoresArtifact
from components.scores.executor import ScoresExecutor
from components.scores.rows import ScoresError

pytestmark = pytest.mark.component

MISSING_INT = np.iinfo(np.int64).min
COLUMNS = {"shop": (tf.string, ""), "floor": (tf.int64, int(MISSING_INT)), "size": (tf.float32, float("nan"))}
RAW = [tf.TensorSpec([None, 1], kind, name=name) for name, (kind, _) in COLUMNS.items()]


class Scorer(tf.Module):
    """Reads size much, floor a little and the shop not at all; tells missing values from others."""

    def score(self, shop, floor, size):
        size = tf.where(tf.math.is_nan(size), -1.0, size)
        floor = tf.where(floor == MISSING_INT, 2.0, tf.cast(tf.maximum(floor, -9), tf.float32))
        return tf.sigmoid(3.0 * size + 0.3 * floor - 2.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        parsed = tf.io.parse_example(examples, {name: tf.io.VarLenFeature(kind) for name, (kind, _) in COLUMNS.items()})
        dense = {
            name: tf.sparse.to_dense(tf.sparse.reset_shape(parsed[name], [tf.size(examples), 1]), missing)
            for name, (_, missing) in COLUMNS.items()
        }
        return {"probability": self.score(**dense)}

    @tf.function(input_signature=RAW)
    def raw(self, shop, floor, size):
        return {"probability": self.score(shop, floor, size)}

    def signatures(self) -> dict[str, Any]:
        return {"serving_default": self.serve, "predict_raw": self.raw}


class ExamplesOnly(Scorer):
    """Without the raw signature."""

    def signatures(self):
        return {"serving_default": self.serve}


class RawOnly(Scorer):
    """Without the signature that everything else needs."""

    def signatures(self):
        return {"predict_raw": self.raw}


class NotANumber(Scorer):
    """Answers, but not with numbers."""

    def score(self, shop, floor, size):
        return super().score(shop, floor, size) * float("nan")


class OneForAll(Scorer):
    """Answers with one number for all rows."""

    def score(self, shop, floor, size):
        return tf.reduce_mean(super().score(shop, floor, size), axis=0, keepdims=True)


def rows(count: int = 600, seed: int = 0) -> list[dict[str, Any]]:
    """Sales, of which some lack a value; sold or not hangs on size and floor."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        size, floor = float(np.float32(random.random())), int(random.integers(0, 5))
        sold = int(random.random() < 1 / (1 + np.exp(2.5 - 3 * size - 0.3 * floor)))
        row = {"shop": f"shop-{index % 3}".encode(), "floor": floor, "size": size, "sold": sold}
        if index % 7 == 3:
            del row["size"]
        if index % 11 == 5:
            row["floor"] = None
        made.append(row)
    return made


def example(row: dict[str, Any]) -> bytes:
    """A row as SpanExampleGen writes it: a missing value is a feature without values, or none."""
    message = tf.train.Example()
    for name in sorted(row):
        feature, value = message.features.feature[name], row[name]
        values = [] if value is None else value if isinstance(value, list) else [value]
        if name == "shop":
            feature.bytes_list.value.extend(values)
        elif values and isinstance(values[0], float):
            feature.float_list.value.extend(values)
        else:
            feature.int64_list.value.extend(values)
    return message.SerializeToString(deterministic=True)


class Case:
    """A model, examples, and a run of the component's executor on them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._runs = 0

    def model(self, scorer: Scorer) -> standard_artifacts.Model:
        artifact = standard_artifacts.Model()
        artifact.uri = str(self.folder / type(scorer).__name__)
        if not Path(artifact.uri).exists():
            tf.saved_model.save(scorer, f"{artifact.uri}/Format-Serving", signatures=scorer.signatures())
        return artifact

    def run(self, scorer: Scorer, data: Sequence[dict[str, Any]], shards: int = 2, **parameters: Any) -> Path:
        """Scores the rows, and returns the folder of the output."""
        self._runs += 1
        examples = standard_artifacts.Examples()
        examples.uri = str(self.folder / f"examples-{self._runs}")
        examples.split_names = '["train", "eval"]'
        (Path(examples.uri) / "Split-eval").mkdir(parents=True)
        for shard, part in enumerate(np.array_split(np.arange(len(data)), shards)):
            path = f"{examples.uri}/Split-eval/data_tfrecord-{shard:05d}-of-{shards:05d}.gz"
            with tf.io.TFRecordWriter(path, "GZIP") as writer:
                for index in part:
                    writer.write(example(data[index]))
        component = Scores(
            model=Channel(type=standard_artifacts.Model),
            examples=Channel(type=standard_artifacts.Examples),
            label="sold",
            **{"batch_rows": 128, **parameters},
        )
        self.output = ScoresArtifact()
        self.output.uri = str(self.folder / f"scores-{self._runs}")
        Path(self.output.uri).mkdir()
        ScoresExecutor().Do(
            {"model": [self.model(scorer)], "examples": [examples]},
            {"scores": [self.output]},
            dict(component.spec.exec_properties),
        )
        return Path(self.output.uri)

    def importance(self, *arguments: Any, **parameters: Any) -> dict[str, Any]:
        return json.loads((self.run(*arguments, **parameters) / "importance.json").read_text())


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case(tmp_path_factory.mktemp("scores"))


def expected(data: Sequence[dict[str, Any]]) -> np.ndarray:
    """What the scorer says, computed without TensorFlow."""
    size = np.array([-1.0 if row.get("size") is None else row["size"] for row in data])
    floor = np.array([2.0 if row["floor"] is None else row["floor"] for row in data])
    return 1 / (1 + np.exp(2.0 - 3.0 * size - 0.3 * floor))


def test_each_row_has_its_label_and_what_the_model_said_in_the_order_of_the_files(case):
    data = rows()

    table = pq.read_table(case.run(Scorer(), data, shards=3, importance_rows=0) / "scores.parquet")

    assert table.column_names == ["row", "label", "probability"]
    assert [str(field.type) for field in table.schema] == ["int64", "int8", "double"]
    assert table.column("row").to_pylist() == list(range(len(data)))
    assert table.column("label").to_pylist() == [row["sold"] for row in data]
    np.testing.assert_allclose(table.column("probability").to_numpy(), expected(data), atol=1e-6)
    assert case.output.rows == len(data)


def test_columns_are_kept_with_their_values_and_gaps(case):
    data = rows(300)

    table = pq.read_table(
        case.run(Scorer(), data, importance_rows=0, columns=["shop", "floor", "absent"]) / "scores.parquet"
    )

    assert table.column("shop").to_pylist() == [row["shop"].decode() for row in data]
    assert table.column("floor").to_pylist() == [row["floor"] for row in data]
    assert table.column("absent").null_count == len(data)


def test_the_fingerprint_is_that_of_the_rows_and_of_nothing_else(case):
    def fingerprint(data: Sequence[dict[str, Any]], scorer: Scorer | None = None, **parameters: Any) -> str:
        case.run(scorer or Scorer(), data, importance_rows=0, **parameters)
        return str(case.output.rows_fingerprint)

    data = rows(200)
    same = fingerprint(data)
    assert same.startswith("sha256:")
    assert fingerprint(data, NotANumber(), shards=5, batch_rows=17, columns=["shop"]) == same
    changed = [dict(row) for row in data]
    changed[150]["size"] = 0.123
    relabelled = [dict(row) for row in data]
    relabelled[0]["sold"] = 1 - relabelled[0]["sold"]
    others = [fingerprint(each) for each in (changed, relabelled, data[::-1], data[:-1])]
    assert len({same, *others}) == 5


def test_importance_is_what_scikit_learn_measures(case):
    data = rows(2000)
    table = np.array(
        [[index % 3, row["floor"] or 0, row["floor"] is None, row.get("size", -1.0)] for index, row in enumerate(data)]
    )

    class Same(ClassifierMixin, BaseEstimator):
        """The scorer for scikit-learn, of columns shop, floor (and whether it is missing) and size."""

        classes_ = np.array([0, 1])

        def fit(self, x, y):
            return self

        def predict_proba(self, x):
            floor = np.where(x[:, 2] > 0, 2.0, x[:, 1])
            positive = 1 / (1 + np.exp(2.0 - 3.0 * x[:, 3] - 0.3 * floor))
            return np.stack([1 - positive, positive], axis=1)

    labels = np.array([row["sold"] for row in data])
    reference = inspection.permutation_importance(
        Same(), table[:, [0, 1, 2, 3]], labels, scoring="roc_auc", n_repeats=30, random_state=0
    )

    found = case.importance(Scorer(), data, importance_repeats=30)

    by_name = {each["feature"]: each for each in found["features"]}
    assert [each["feature"] for each in found["features"]] == ["size", "floor", "shop"]
    assert by_name["size"]["auc_drop"] == pytest.approx(reference.importances_mean[3], abs=0.005)
    assert by_name["size"]["auc_drop_std"] == pytest.approx(reference.importances_std[3], rel=0.6)
    assert by_name["floor"]["auc_drop"] > 0.005
    assert (by_name["shop"]["auc_drop"], by_name["shop"]["log_loss_rise"]) == (0.0, 0.0)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, expected(data)), abs=1e-6)
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, expected(data)), abs=1e-6)
    assert (found["rows"], found["repeats"], found["through"]) == (2000, 30, "raw signature")


def test_importance_through_examples_is_that_through_raw_values(case):
    raw = case.importance(Scorer(), rows(400), importance_repeats=3)
    examples = case.importance(ExamplesOnly(), rows(400), importance_repeats=3)

    assert examples["through"] == "examples"
    for one, other in zip(raw["features"], examples["features"], strict=True):
        assert one["feature"] == other["feature"]
        assert one["auc_drop"] == pytest.approx(other["auc_drop"], abs=1e-6)
        assert one["log_loss_rise"] == pytest.approx(other["log_loss_rise"], abs=1e-6)


def test_importance_is_the_same_on_every_run_and_measured_on_a_sample(case):
    settings = {"importance_rows": 150, "importance_repeats": 2}
    once = case.importance(Scorer(), rows(500), **settings)
    again = case.importance(Scorer(), rows(500), shards=4, **settings)
    # Sums in another order differ in the last digit; the sample is the same.
    in_small_batches = case.importance(Scorer(), rows(500), batch_rows=33, **settings)
    other = case.importance(Scorer(), rows(500), seed=1, **settings)

    assert once == again
    assert in_small_batches["log_loss"] == pytest.approx(once["log_loss"], abs=1e-6)
    assert once["rows"] == 150
    assert once["features"] != other["features"]


def test_no_importance_is_measured_on_no_rows(case):
    assert [file.name for file in case.run(Scorer(), rows(100), importance_rows=0).iterdir()] == ["scores.parquet"]


def test_answers_that_are_no_numbers_are_kept_and_have_no_importance(case):
    folder = case.run(NotANumber(), rows(100))

    assert np.isnan(pq.read_table(folder / "scores.parquet").column("probability").to_numpy()).all()
    found = json.loads((folder / "importance.json").read_text())
    assert found["auc"] is None
    assert all(each["auc_drop"] is None for each in found["features"])


def test_labels_that_are_neither_0_nor_1_are_kept_as_they_are(case):
    data = [row | {"sold": row["sold"] * 0.25} for row in rows(60)]

    table = pq.read_table(case.run(Scorer(), data, importance_rows=0) / "scores.parquet")

    assert table.column("label").to_pylist() == [row["sold"] for row in data]


def test_a_row_without_a_label_is_refused(case):
    data = rows(300)
    data[200]["sold"] = None

    with pytest.raises(ScoresError, match="1 rows have no label sold"):
        case.run(Scorer(), data)


def test_no_examples_are_refused(case):
    with pytest.raises(ScoresError, match="has no rows"):
        case.run(Scorer(), [], shards=1)
    with pytest.raises(ScoresError, match="no examples of the split 'test'"):
        case.run(Scorer(), rows(10), split="test")


def test_several_values_in_a_kept_column_are_refused(case):
    data = rows(20)
    data[3]["tags"] = [1, 2]

    with pytest.raises(ScoresError, match="tags has several values"):
        case.run(Scorer(), data, columns=["tags"])


@pytest.mark.parametrize(
    ("scorer", "said"),
    [(RawOnly, "has no signature serving_default; it has predict_raw"), (OneForAll, "one number per row is needed")],
)
def test_a_model_that_does_not_answer_per_row_is_refused(case, scorer, said):
    with pytest.raises(ScoresError, match=said):
        case.run(scorer(), rows(20))


@pytest.mark.parametrize(
    "wrong", [{"batch_rows": 0}, {"importance_rows": -1}, {"importance_repeats": 0}], ids=lambda each: next(iter(each))
)
def test_numbers_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ScoresError, match=f"{next(iter(wrong))} of at least"):
        Scores(
            model=Channel(type=standard_artifacts.Model),
            examples=Channel(type=standard_artifacts.Examples),
            label="sold",
            **wrong,
        )
