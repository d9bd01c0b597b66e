"""The metrics of classes and of numbers: the values of stock TFX where it has the metric, else of scikit-learn."""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components import tasks
from components.evaluation import batched_extracts, row_metrics
from components.scores.component import BASELINE_KEY, CANDIDATE_KEY
from errors import FlightdeckError
from pipeline import evaluation, task_page
from pipeline.settings import Evaluation
from tests.components.evaluations import (
    FEW_SLICES,
    ROWS,
    SLICES,
    Subject,
    assert_same,
    metric,
    metrics_of,
    worlds,
)
from tests.components.scorers import GRADE, PRICE, Grader, Pricer, target

pytestmark = pytest.mark.component

CLASSES = json.loads(GRADE)["classes"]
ROW_METRICS, CLASS_METRICS, VALUE_METRICS = (
    f"components.evaluation.{kind}_metrics" for kind in ("row", "class", "value")
)
ROW_COUNT = {"name": "RowCount", "module": ROW_METRICS}


def asked(*metrics: dict, **settings) -> Evaluation:
    return Evaluation.model_validate_json(json.dumps({"metrics": metrics, **settings}))


GRADES = asked(
    {"name": "LogLoss", "module": CLASS_METRICS, "better": "lower", "at_most": 9.0},
    *({"name": name, "module": CLASS_METRICS} for name in ("Accuracy", "MacroF1", "ClassPrecision", "ClassRecall")),
    ROW_COUNT,
)
PRICES = asked(
    {"name": "RMSE", "module": VALUE_METRICS, "better": "lower", "at_most": 900.0},
    *({"name": name, "module": VALUE_METRICS} for name in ("MAE", "R2", "DecileMAE")),
    *({"name": name} for name in ("MeanLabel", "MeanPrediction", "Calibration")),
    ROW_COUNT,
)
STOCK_GRADES = [
    metric("SparseCategoricalCrossentropy", {"name": "log_loss"}),
    metric("SparseCategoricalAccuracy", {"name": "accuracy"}),
    metric("ExampleCount"),
    *(
        metric(name, {"name": f"{reported}/{grade}", "class_id": number, "top_k": 1})
        for name, reported in (("Precision", "precision"), ("Recall", "recall"), ("F1Score", "f1"))
        for number, grade in enumerate(CLASSES)
    ),
    metric("MultiClassConfusionMatrixAtThresholds", {"name": "confusion_matrix", "thresholds": [0.0]}),
]
STOCK_PRICES = [
    metric("RootMeanSquaredError", {"name": "rmse"}),
    metric("MeanAbsoluteError", {"name": "mae"}),
    *map(metric, ("MeanLabel", "MeanPrediction", "Calibration", "ExampleCount")),
]


@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    yield from worlds(tmp_path_factory.mktemp("grades"), Subject(GRADE, Grader(), Grader(shop=0.7)))


@pytest.fixture(scope="module")
def prices(tmp_path_factory):
    yield from worlds(tmp_path_factory.mktemp("prices"), Subject(PRICE, Pricer(), Pricer(shop=0.7)))


def config(predicted: str, evaluated: Evaluation, slices=SLICES) -> config_pb2.EvalConfig:
    made = evaluation.configuration(evaluated, tasks.of(predicted))
    assert batched_extracts.why_not_batched(made) == []
    del made.slicing_specs[:]
    made.slicing_specs.extend(slices)
    return made


def answers(table: pa.Table, column: str) -> np.ndarray:
    """A column of lists, [rows, width]."""
    return np.array(table[column].to_pylist())


@pytest.mark.parametrize("champion", [False, True], ids=["no champion", "champion"])
def test_metrics_of_classes_are_those_of_stock_tfx(grades, champion):
    ours, _ = grades.batched(config(GRADE, GRADES), champion)
    stock, _ = grades.stock(*STOCK_GRADES, champion=champion, slices=SLICES)

    values, expected = metrics_of(ours), metrics_of(stock)
    own_name = "candidate" if champion else ""
    answered = {(key[0], key[1], CLASSES[key[-1]]) for key in expected if key[2] == "confusion_matrix" and not key[3]}
    for key, value in expected.items():
        family, _, grade = key[2].partition("/")
        models = [key[1], "baseline"] if key[3] else [key[1]]
        if family == "f1":
            continue
        if grade and not answered.issuperset((key[0], model, grade) for model in models):
            # Stock TFMA then counts all rows as answered so, whatever its confusion matrix says.
            assert key[3] or values[key] == 0.0, key
        elif np.isnan(value):
            # Of a class that a slice has not, it says nothing.
            assert family == "recall", key
            assert values[key] == 0.0, key
        else:
            assert values[key] == pytest.approx(value, rel=1e-6, abs=1e-6), key
    slices = {key[0] for key in values}
    assert len(slices) == 30
    f1 = [expected[(), own_name, f"f1/{grade}", False] for grade in CLASSES]
    assert values[(), own_name, "macro_f1", False] == pytest.approx(np.mean(f1), abs=1e-6)
    assert values[(), own_name, "example_count", False] == ROWS
    assert {key[2] for key in values} - {"macro_f1"} == {key[2] for key in expected if not key[2].startswith("f1/")}
    assert any(key[3] for key in values) == champion


def test_metrics_of_classes_are_those_of_scikit_learn(grades):
    ours, _ = grades.batched(config(GRADE, GRADES, FEW_SLICES), champion=True)

    values = metrics_of(ours)
    for model, column in (("candidate", CANDIDATE_KEY), ("baseline", BASELINE_KEY)):
        for slice_key, table in grades.rows().items():
            labels, probabilities = answers(table, "grade").ravel(), answers(table, column)
            called = probabilities.argmax(axis=1)
            expected = {
                "accuracy": metrics.accuracy_score(labels, called),
                "log_loss": metrics.log_loss(labels, probabilities, labels=range(3)),
                "macro_f1": metrics.f1_score(labels, called, average="macro", zero_division=0),
            }
            for name, score in (("precision", metrics.precision_score), ("recall", metrics.recall_score)):
                of_class = score(labels, called, average=None, labels=range(3), zero_division=0)
                expected |= {f"{name}/{grade}": value for grade, value in zip(CLASSES, of_class, strict=True)}
            assert {name: values[slice_key, model, name, False] for name in expected} == pytest.approx(
                expected, abs=1e-6
            )


def test_kubeflow_shows_the_confusion_matrix_of_the_challenger_and_its_numbers(grades):
    ours, _ = grades.batched(config(GRADE, GRADES), champion=True)

    shown = {"metrics": task_page.metrics(ours, GRADES)} | evaluation.picture(ours, tasks.of(GRADE))
    declared = {name: {"artifacts": [{"uri": name}]} for name in ("metrics", "confusion_matrix")}
    written = json.loads(task_page.executor_output({"outputs": {"artifacts": declared}}, shown))["artifacts"]

    table = grades.rows()[()]
    expected = metrics.confusion_matrix(answers(table, "grade").ravel(), answers(table, CANDIDATE_KEY).argmax(axis=1))
    assert written["confusion_matrix"]["artifacts"][0]["metadata"] == {
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": name} for name in CLASSES],
            "rows": [{"row": row} for row in expected.tolist()],
        }
    }
    assert {"recall/fair", "champion_recall/fair"} < set(written["metrics"]["artifacts"][0]["metadata"])


def test_equal_labels_share_a_decile_and_kubeflow_is_told_nothing_of_one_without_rows(tmp_path):
    # Three distinct labels, so that most deciles have no rows.
    numbers = target("regression", "grade")
    (world,) = worlds(tmp_path, Subject(numbers, Pricer(), Pricer()))
    ours, _ = world.batched(config(numbers, PRICES, FEW_SLICES[:1]))

    (whole,) = evaluation.results(ours)
    labels = answers(world.rows()[()], "grade").ravel()
    assert len({*labels}) == 3
    deciles = [whole.challenger[f"mae/decile_{number}"] for number in range(1, 11)]
    assert np.isfinite(deciles).sum() == 3
    assert evaluation.picture(ours, tasks.of(numbers)) == {}
    assert task_page.metrics(ours, PRICES) == {
        name: value for name, value in whole.challenger.items() if np.isfinite(value)
    }


def test_metrics_of_numbers_are_those_of_stock_tfx(prices):
    slices = [*SLICES[:3]]
    evaluated = PRICES.model_copy(
        update={"metrics": tuple(one for one in PRICES.metrics if one.name not in ("R2", "DecileMAE"))}
    )
    ours, _ = prices.batched(config(PRICE, evaluated, slices), champion=True)
    stock, _ = prices.stock(*STOCK_PRICES, champion=True, slices=slices)

    values = assert_same(ours, stock)
    assert values[(), "candidate", "example_count", False] == ROWS


def test_metrics_of_numbers_are_those_of_scikit_learn(prices):
    ours, _ = prices.batched(config(PRICE, PRICES, FEW_SLICES), champion=True)

    values = metrics_of(ours)
    for model, column in (("candidate", CANDIDATE_KEY), ("baseline", BASELINE_KEY)):
        for slice_key, table in prices.rows().items():
            labels, predictions = answers(table, "price").ravel().astype(float), answers(table, column).ravel()
            expected = {
                "rmse": metrics.root_mean_squared_error(labels, predictions),
                "mae": metrics.mean_absolute_error(labels, predictions),
                "r2": metrics.r2_score(labels, predictions),
            }
            edges = np.quantile(labels, np.arange(1, 10) / 10)
            decile = 1 + (labels[:, np.newaxis] > edges).sum(axis=1)
            for number in range(1, 11):
                chosen = decile == number
                error = metrics.mean_absolute_error(labels[chosen], predictions[chosen])
                expected[f"mae/decile_{number}"] = error
            assert {name: values[slice_key, model, name, False] for name in expected} == pytest.approx(
                expected, rel=1e-6
            )
    # Each tenth of all rows is a tenth, because no two prices are the same.
    deciles = [values[(), "candidate", f"mae/decile_{number}", False] for number in range(1, 11)]
    assert np.mean(deciles) == pytest.approx(values[(), "candidate", "mae", False], rel=1e-6)


def test_weights_weigh_rows_of_classes_and_numbers_as_in_stock_tfma(grades, prices):
    for world, predicted, evaluated, stock_metrics in (
        (grades, GRADE, GRADES, STOCK_GRADES),
        (prices, PRICE, PRICES, STOCK_PRICES),
    ):
        weighted = config(predicted, evaluated, FEW_SLICES)
        for spec in weighted.model_specs:
            spec.example_weight_key = "weight"
        values = metrics_of(world.batched(weighted)[0])
        expected = metrics_of(world.stock(*stock_metrics, slices=FEW_SLICES, example_weight_key="weight")[0])
        compared = [key for key in expected if key in values and np.isfinite(expected[key])]
        assert len(compared) > 20
        for key in compared:
            # TFMA adds up weights in single precision.
            assert values[key] == pytest.approx(expected[key], rel=1e-5, abs=1e-5), key


def test_beside_a_metric_of_keras_all_are_computed_row_by_row_with_the_same_results(grades, prices):
    for world, predicted, evaluated, stock in (
        (grades, GRADE, GRADES, {"SparseCategoricalAccuracy": "accuracy", "SparseCategoricalCrossentropy": "log_loss"}),
        (prices, PRICE, PRICES, {"MeanAbsoluteError": "mae", "RootMeanSquaredError": "rmse"}),
    ):
        made = config(predicted, evaluated, FEW_SLICES)
        batched = metrics_of(world.batched(made)[0])
        made.metrics_specs[0].metrics.extend(metric(name, {"name": name}) for name in stock)
        row_by_row = metrics_of(world.batched(made)[0])
        for key, value in batched.items():
            assert row_by_row[key] == pytest.approx(value, rel=1e-9, nan_ok=True), key
        for name, ours in stock.items():
            assert row_by_row[(), "", name, False] == pytest.approx(batched[(), "", ours, False], abs=1e-6)


@pytest.mark.parametrize(
    ("world", "predicted", "rules", "reasons"),
    [
        ("grades", GRADE, {"name": "ClassRecall", "module": CLASS_METRICS, "at_least": 0.05}, []),
        (
            "grades",
            GRADE,
            {"name": "ClassRecall", "module": CLASS_METRICS, "at_least": 0.5},
            [r"recall/fair is 0\.\d+, and must be at least 0\.5"],
        ),
        (
            "grades",
            GRADE,
            {"name": "ClassPrecision", "module": CLASS_METRICS, "slices_at_least": 0.6},
            [r"precision/\w+ on shop=. is 0\.\d+, and must be at least 0\.6"],
        ),
        (
            "grades",
            GRADE,
            {"name": "ClassRecall", "module": CLASS_METRICS, "better": "higher", "may_lose": 0.01},
            [r"recall/[\w ]+ changed by -0\.\d+ against the champion, and -0\.0100 is allowed"],
        ),
        ("prices", PRICE, {"name": "DecileMAE", "module": VALUE_METRICS, "at_most": 900.0}, []),
        (
            "prices",
            PRICE,
            {"name": "DecileMAE", "module": VALUE_METRICS, "at_most": 12.0},
            [r"mae/decile_\d+ is \d+\.\d+, and must be at most 12"],
        ),
    ],
)
def test_thresholds_of_a_class_or_decile_bless_and_refuse(request, world, predicted, rules, reasons):
    first = {GRADE: GRADES, PRICE: PRICES}[predicted].metrics[0].model_dump()
    evaluated = asked(first, rules, slices=[["shop"]], gated_slices=[["shop"]])

    judged, blessing = request.getfixturevalue(world).batched(config(predicted, evaluated, SLICES[:2]), champion=True)

    failed = evaluation.failed_thresholds(judged)
    (file,) = [file.name for file in Path(blessing.uri).iterdir()]
    assert file == ("NOT_BLESSED" if reasons else "BLESSED")
    assert bool(failed) == bool(reasons)
    for clause in failed:
        assert re.fullmatch(reasons[0], clause)


def test_a_metric_of_one_number_per_row_is_refused_for_several():
    (computation,) = row_metrics.LogLoss().computations()
    combiner = computation.combiner
    rows = metric_types.StandardMetricInputs({"labels": np.array([0, 2]), "predictions": np.full((2, 3), 1 / 3)})

    with pytest.raises(FlightdeckError, match="of one number per row was asked for, and the model answers with 3"):
        combiner.add_input(combiner.create_accumulator(), rows)
