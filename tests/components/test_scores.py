"""Scores with real SavedModels and real files of examples."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn import inspection, metrics
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from tfx.components.util import examples_utils
from tfx.types import standard_artifacts

from components.examples import ExamplesError, split_files
from components.scores.component import Scores, ScoresArtifact
from components.scores.rows import ScoresError
from components.tasks import TargetError
from tests.components.scorers import (
    GRADE,
    MISSING_INT,
    PRICE,
    SOLD,
    ExamplesOnly,
    Explained,
    ExplainedGrader,
    ExplainedPricer,
    Grader,
    Pricer,
    Scorer,
    artifact,
    examples_artifact,
    model_artifact,
)
from tests.examples import example

pytestmark = pytest.mark.component

DEFAULTS = {"target": SOLD, "columns": [], "batch_rows": 128}


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


class Case:
    """A model, examples, and a run of the component's executor on them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._runs = 0
        self._models = {}

    def run(self, scorer: Scorer, data: Sequence[dict[str, Any]], shards: int = 2, **parameters: Any) -> Path:
        self._runs += 1
        folder, kind = self.folder / str(self._runs), type(scorer)
        if kind not in self._models:
            self._models[kind] = model_artifact(self.folder / kind.__name__, scorer)
        self.output = artifact(ScoresArtifact, folder / "scores")
        self.predictions = artifact(standard_artifacts.Examples, folder / "predictions")
        Scores.test_call(
            **{
                "model": self._models[kind],
                "examples": examples_artifact(folder / "examples", [example(row) for row in data], shards),
                "scores": self.output,
                "predictions": self.predictions,
            }
            | DEFAULTS
            | parameters
        )
        return folder / "scores"

    def table(self, *arguments: Any, **parameters: Any) -> pa.Table:
        return pq.read_table(self.run(*arguments, importance_rows=0, **parameters) / "scores.parquet")

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


@pytest.mark.parametrize(("target", "scorer"), [(SOLD, Explained), (GRADE, ExplainedGrader), (PRICE, ExplainedPricer)])
def test_the_worst_mistakes_are_kept_with_their_values_and_the_models_own_account(case, target, scorer):
    random = np.random.default_rng(3)
    truth = {SOLD: lambda row: row["sold"], GRADE: lambda row: int(random.integers(3)), PRICE: lambda row: row["sold"]}
    data = [row | {json.loads(target)["label"]: truth[target](row)} for row in rows(400)]
    folder = case.run(scorer(), data, target=target, importance_rows=0, batch_rows=97)
    kept = json.loads((folder / "mistakes.json").read_text())["rows"]

    table = pq.read_table(folder / "scores.parquet")
    labels, said = table["label"].to_numpy(), np.array(table[scorer.output].to_pylist())
    wrong = 1 - said[np.arange(400), labels] if target == GRADE else np.abs(labels - said)
    assert [mistake["row"] for mistake in kept] == np.argsort(-wrong, kind="stable")[:20].tolist()
    for mistake in kept:
        row = data[mistake["row"]]
        assert mistake["label"] == labels[mistake["row"]]
        assert mistake["answer"] == pytest.approx(said[mistake["row"]].tolist(), rel=1e-6)
        values = {column["column"]: column["value"] for column in mistake["columns"]}
        expected = {"shop": row["shop"].decode(), "floor": row["floor"], "size": row.get("size")}
        assert values == expected | {"size": expected["size"] and float(str(np.float32(expected["size"])))}
        moved = sum(np.array(column["attribution"]) for column in mistake["columns"])
        np.testing.assert_allclose(moved, np.array(mistake["answer"]) - mistake["base_value"], rtol=1e-5)


def test_few_rows_are_all_mistakes_and_columns_that_some_batches_lack_are_missing(case):
    data = [{**row, "size": None} for row in rows(7)]
    folder = case.run(Explained(), data, importance_rows=0, batch_rows=3)
    kept = json.loads((folder / "mistakes.json").read_text())["rows"]
    assert sorted(mistake["row"] for mistake in kept) == list(range(7))
    assert {column["value"] for mistake in kept for column in mistake["columns"] if column["column"] == "size"} == {
        None
    }


def test_each_row_has_its_label_and_what_the_model_said_in_the_order_of_the_files(case):
    data = rows()

    folder = case.run(Scorer(), data, shards=3, importance_rows=0)
    table = pq.read_table(folder / "scores.parquet")

    assert [file.name for file in folder.iterdir()] == ["scores.parquet"]
    assert table.column_names == ["row", "label", "probability"]
    assert [str(field.type) for field in table.schema] == ["int64", "int8", "double"]
    assert table.column("row").to_pylist() == list(range(len(data)))
    assert table.column("label").to_pylist() == [row["sold"] for row in data]
    np.testing.assert_allclose(table.column("probability").to_numpy(), expected(data), atol=1e-6)
    assert case.output.rows == len(data)


def test_columns_are_kept_with_their_values_and_gaps(case):
    data = rows(300)

    table = case.table(Scorer(), data, columns=["shop", "floor", "absent"])

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
    others = [fingerprint(table) for table in (changed, relabelled, data[::-1], data[:-1])]
    assert len({same, *others}) == 5


def test_the_predictions_hold_what_both_models_said_in_the_form_of_tfx(case, tmp_path):
    data = rows(300)
    baseline = model_artifact(tmp_path / "baseline", Scorer(shop=0.5))

    scores = case.table(Scorer(), data, columns=["shop", "floor", "absent"], baseline_model=baseline)

    predictions = case.predictions
    assert examples_utils.get_payload_format_string(predictions) == "FORMAT_PARQUET"
    (file,) = split_files(predictions, "eval")
    table = pq.read_table(file)
    assert table.column_names == ["sold", "shop", "floor", "prediction/candidate", "prediction/baseline"]
    assert table.column("sold").to_pylist() == [[row["sold"]] for row in data]
    floors = [row["floor"] for row in data]
    assert table.column("floor").to_pylist() == [floor if floor is None else [floor] for floor in floors]
    candidate, champion = (
        np.concatenate(table.column(f"prediction/{model}").to_pylist()) for model in ("candidate", "baseline")
    )
    assert candidate.tolist() == scores.column("probability").to_pylist()
    alone = case.table(Scorer(), data, model=baseline)
    assert champion.tolist() == alone.column("probability").to_pylist()
    assert (champion > candidate).all()


def test_parquet_and_tf_examples_and_both_signatures_give_the_same_scores_and_fingerprint(case, tmp_path):
    data = rows(200)
    tables = [case.table(scorer, data) for scorer in (Scorer(), ExamplesOnly())]
    fingerprint = str(case.output.rows_fingerprint)
    columns = {
        "sold": pa.int64(),
        "shop": pa.large_binary(),
        "floor": pa.int64(),
        "size": pa.float32(),
        "closed": pa.int64(),
    }
    made = artifact(standard_artifacts.Examples, tmp_path, split_names='["train", "eval"]')
    (tmp_path / "Split-eval").mkdir()
    for shard, part in enumerate((data[:128], data[128:])):
        table = pa.table({name: pa.array([row.get(name) for row in part], kind) for name, kind in columns.items()})
        pq.write_table(table, tmp_path / "Split-eval" / f"data-{shard:05d}-of-00002.parquet")

    tables += [case.table(scorer, data, examples=made) for scorer in (Scorer(), ExamplesOnly())]

    assert str(case.output.rows_fingerprint) == fingerprint
    for table in tables[1:]:
        assert table.to_pylist() == tables[0].to_pylist()


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
    options = {"scoring": "roc_auc", "n_repeats": 30, "random_state": 0}
    reference = inspection.permutation_importance(Same(), table, labels, **options)

    measured = case.importance(Scorer(), data, importance_repeats=30)

    by_name = {column["feature"]: column for column in measured["features"]}
    assert list(by_name) == ["size", "floor", "shop"]
    assert by_name["size"]["auc_drop"] == pytest.approx(reference.importances_mean[3], abs=0.005)
    assert by_name["size"]["auc_drop_std"] == pytest.approx(reference.importances_std[3], rel=0.6)
    assert by_name["floor"]["auc_drop"] > 0.005
    assert (by_name["shop"]["auc_drop"], by_name["shop"]["log_loss_rise"]) == (0.0, 0.0)
    assert measured["auc"] == pytest.approx(metrics.roc_auc_score(labels, expected(data)), abs=1e-6)
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(labels, expected(data)), abs=1e-6)
    assert (measured["rows"], measured["repeats"], measured["through"]) == (2000, 30, "raw signature")


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


def test_answers_that_are_no_numbers_are_kept_and_have_no_importance(case):
    folder = case.run(NotANumber(), rows(100))

    assert np.isnan(pq.read_table(folder / "scores.parquet").column("probability").to_numpy()).all()
    measured = json.loads((folder / "importance.json").read_text())
    assert measured["auc"] is None
    assert all(column["auc_drop"] is None for column in measured["features"])


def test_labels_that_are_neither_0_nor_1_are_kept_as_they_are(case):
    data = [row | {"sold": row["sold"] * 0.25} for row in rows(60)]

    table = case.table(Scorer(), data)

    assert table.column("label").to_pylist() == [row["sold"] for row in data]


def graded(count: int) -> list[dict[str, Any]]:
    """Sales with one of three grades and a price, which hang on the size."""
    random = np.random.default_rng(3)
    return [
        row
        | {
            "grade": int(np.clip(3 * row.get("size", 0.5) + random.normal(0, 0.6), 0, 2)),
            "price": float(40 * row.get("size", 0.5) + random.normal(0, 10)),
        }
        for row in rows(count)
    ]


def answered(scorer: Scorer, data: Sequence[dict[str, Any]]) -> np.ndarray:
    """What a scorer says to some rows, by its function alone."""
    size = [[float("nan") if row.get("size") is None else row["size"]] for row in data]
    floor = [[int(MISSING_INT) if row["floor"] is None else row["floor"]] for row in data]
    shop = tf.constant([[row["shop"]] for row in data])
    return scorer.score(shop, tf.constant(floor, tf.int64), tf.constant(size, tf.float32)).numpy().astype(np.float64)


@pytest.mark.parametrize(
    ("target", "scorer", "kinds"),
    [
        (GRADE, Grader, ["int64", "int64", "fixed_size_list<element: double>[3]"]),
        (PRICE, Pricer, ["int64", "double", "double"]),
    ],
)
def test_each_task_has_labels_and_answers_of_its_own(case, tmp_path, target, scorer, kinds):
    data, label = graded(300), json.loads(target)["label"]
    baseline = model_artifact(tmp_path / "baseline", scorer(shop=0.5))

    table = case.table(scorer(), data, shards=3, target=target, columns=["shop"], baseline_model=baseline)

    assert table.column_names == ["row", "label", scorer.output, "shop"]
    assert [str(field.type) for field in table.schema][:3] == kinds
    assert table["label"].to_pylist() == pytest.approx([row[label] for row in data])
    said = answered(scorer(), data)
    np.testing.assert_allclose(np.reshape(table[scorer.output].to_pylist(), said.shape), said, rtol=1e-6)
    assert case.output.target == target
    (file,) = split_files(case.predictions, "eval")
    predictions = pq.read_table(file)
    assert (
        predictions["prediction/candidate"].to_pylist()
        == np.reshape(table[scorer.output].to_pylist(), said.shape).tolist()
    )
    champion = np.array(predictions["prediction/baseline"].to_pylist())
    np.testing.assert_allclose(champion, answered(scorer(shop=0.5), data), rtol=1e-6)


class SameGrades(ClassifierMixin, BaseEstimator):
    """The scorer of grades for scikit-learn, of the columns of `numbers`."""

    classes_ = np.arange(3)

    def fit(self, x, y):
        return self

    def predict(self, x):
        return Grader().score(*raw(x)).numpy().argmax(axis=1)


class SamePrices(RegressorMixin, BaseEstimator):
    """The same of prices."""

    def fit(self, x, y):
        return self

    def predict(self, x):
        return Pricer().score(*raw(x)).numpy().ravel()


def raw(x: np.ndarray) -> tuple[Any, Any, Any]:
    """Inputs of a scorer, from columns floor, whether that is missing, and size."""
    floor = np.where(x[:, [1]] > 0, MISSING_INT, x[:, [0]].astype(np.int64))
    return tf.fill([len(x), 1], "shop"), tf.constant(floor, tf.int64), tf.constant(x[:, [2]], tf.float32)


@pytest.mark.parametrize(
    ("target", "scorer", "same", "scoring", "keys"),
    [
        (GRADE, Grader, SameGrades, "accuracy", ("accuracy", "drop", "log_loss", "rise")),
        (PRICE, Pricer, SamePrices, "r2", ("r2", "drop", "rmse", "rise")),
    ],
)
def test_importance_of_other_tasks_is_what_scikit_learn_measures(case, target, scorer, same, scoring, keys):
    data, label = graded(1500), json.loads(target)["label"]
    table = np.array([[row["floor"] or 0, row["floor"] is None, row.get("size", np.nan)] for row in data], float)
    labels = np.array([row[label] for row in data])
    options = {"scoring": scoring, "n_repeats": 20, "random_state": 0}
    reference = inspection.permutation_importance(same(), table, labels, **options)

    measured = case.importance(scorer(), data, target=target, importance_repeats=20)

    first, drop, second, rise = keys
    by_name = {column["feature"]: column for column in measured["features"]}
    assert list(by_name) == ["size", "floor", "shop"]
    assert by_name["size"].keys() == {
        "feature",
        *(f"{first}_{drop}{end}" for end in ("", "_std")),
        *(f"{second}_{rise}{end}" for end in ("", "_std")),
    }
    size = by_name["size"][f"{first}_{drop}"]
    assert size == pytest.approx(reference.importances_mean[2], rel=0.05)
    assert by_name["size"][f"{second}_{rise}"] > by_name["floor"][f"{second}_{rise}"] > 0
    assert by_name["shop"][f"{first}_{drop}"] == by_name["shop"][f"{second}_{rise}"] == 0.0
    said = answered(scorer(), data)
    expected = {
        GRADE: lambda: (metrics.accuracy_score(labels, said.argmax(axis=1)), metrics.log_loss(labels, said)),
        PRICE: lambda: (metrics.r2_score(labels, said), metrics.root_mean_squared_error(labels, said)),
    }[target]()
    assert (measured[first], measured[second]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("target", "scorer", "change", "sentence"),
    [
        (GRADE, Grader, {"grade": 3}, r"The label grade is 3 in some rows.* 0 \(poor\), 1 \(fair\), 2 \(very good\)\."),
        (GRADE, Scorer, {}, r"with an array of shape \[21, 1\]; 3 numbers per row are needed"),
        (PRICE, Pricer, {"price": float("nan")}, "The label price is not a finite number in some rows"),
        (PRICE, Grader, {}, r"with an array of shape \[21, 3\]; one number per row is needed"),
    ],
)
def test_labels_and_models_of_another_target_are_refused(case, target, scorer, change, sentence):
    data = graded(21)
    data[7] |= change

    with pytest.raises((ScoresError, TargetError), match=sentence):
        case.run(scorer(), data, target=target)


@pytest.mark.parametrize(
    ("scorer", "data", "parameters", "sentence"),
    [
        (Scorer, [*rows(200), rows(1)[0] | {"sold": None}], {}, "1 rows have no label sold"),
        (Scorer, [], {}, "has no rows"),
        (Scorer, rows(10), {"split": "test"}, "no examples of the split 'test'"),
        (Scorer, [*rows(20), rows(1)[0] | {"tags": [1, 2]}], {"columns": ["tags"]}, "tags has several values"),
        (RawOnly, rows(20), {}, "has no signature serving_default; it has predict_raw"),
        (OneForAll, rows(20), {}, "one number per row is needed"),
    ],
)
def test_what_cannot_be_scored_is_refused(case, scorer, data, parameters, sentence):
    with pytest.raises((ScoresError, ExamplesError), match=sentence):
        case.run(scorer(), data, **parameters)


@pytest.mark.parametrize(("name", "number"), [("batch_rows", 0), ("importance_rows", -1), ("importance_repeats", 0)])
def test_numbers_that_make_no_sense_are_refused(name, number):
    nothing = {"model": standard_artifacts.Model(), "examples": standard_artifacts.Examples()}
    with pytest.raises(ScoresError, match=f"{name} of at least"):
        Scores.test_call(
            **nothing, scores=ScoresArtifact(), predictions=standard_artifacts.Examples(), **DEFAULTS | {name: number}
        )
