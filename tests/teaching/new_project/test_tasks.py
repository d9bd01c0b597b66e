"""What a label is taken for, what is refused with what to do, and what each task writes into a project."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import datasets

from data.contract import Contract
from errors import FlightdeckError
from teaching.new_project import creation, plan
from teaching.new_project.tasks import BinaryLabel, LabelError, MulticlassLabel, RegressionLabel, decide
from tests.teaching.new_project.projects import code_is_clean, contract_of, own_tests_pass, prepared

pytestmark = pytest.mark.unit

ROWS = 400
RANDOM = np.random.default_rng(0)


def values(words, name: str = "label") -> pd.Series:
    """As a CSV has them: texts."""
    return pd.Series([None if word is None else str(word) for word in words], name=name, dtype="string")


def of(*words, times: int = 100) -> pd.Series:
    return values(list(words) * times)


@pytest.mark.parametrize(
    ("given", "positive", "expected"),
    [
        (["0", "1"], None, "1"),
        (["False", "True"], None, "True"),
        (["n", "Y"], None, "Y"),
        (["good", "bad"], "bad", "bad"),
        (["1.0", "0.0"], None, "1.0"),
        (["good", "bad"], None, "say which one is predicted"),
        (["1", "2"], None, "say which one is predicted"),
    ],
)
def test_the_positive_value_is_the_one_that_says_so_or_that_somebody_names(given, positive, expected: str):
    label = values(given * 60)
    if expected in given:
        decided = decide(label, positive=positive)
        assert isinstance(decided, BinaryLabel)
        assert decided.positive == expected
    else:
        with pytest.raises(LabelError, match=expected):
            decide(label, positive=positive)


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        (of("small", "large", "Medium"), ("Medium", "large", "small")),
        (of(10, 9, 8, 30), ("8", "9", "10", "30")),
        (of("2.0", "1.0", "-1"), ("-1", "1", "2")),
        (pd.Series([3.0, 1.0, 2.0, np.nan] * 50, name="label"), ("1", "2", "3")),
        (pd.Series([3, 1, 2] * 50, name="label"), ("1", "2", "3")),
        (of(3, 1, 2, "-"), ("1", "2", "3")),
        (of("007", "003", "010"), ("003", "007", "010")),
        (of("10 %", "20 %", "5 %"), ("10 %", "20 %", "5 %")),
        (of(*range(100, 120), times=30).rename("zip_code"), tuple(map(str, range(100, 120)))),
        (of(*[f"kind {n:02d}" for n in range(50)], times=30), tuple(f"kind {n:02d}" for n in range(50))),
    ],
    ids=["texts", "numbers", "decimals", "gaps", "Parquet", "nothing", "digits", "few signs", "codes", "fifty"],
)
def test_texts_and_few_whole_numbers_are_classes_in_the_order_of_the_alphabet_or_of_numbers(label, classes):
    decided = decide(label)

    assert isinstance(decided, MulticlassLabel)
    assert decided.classes == classes
    numbered = decided.prepared(label)
    assert numbered.isna().sum() == label.isna().sum() + (label == "-").sum()
    assert sorted(numbered.dropna().unique()) == list(range(len(classes)))


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        (values(range(ROWS)), "int64"),
        (values([row % 11 for row in range(ROWS)]), "int64"),
        (of("0.5", "1", "1.5"), "float32"),
        (values(["n/a", *RANDOM.normal(5, 1, ROWS)]), "float32"),
        (values([1e20 * row for row in range(ROWS)]), "float32"),
    ],
)
def test_other_numbers_are_a_quantity(label, kind: str):
    decided = decide(label)

    assert isinstance(decided, RegressionLabel)
    assert decided.column.type == kind


def test_whoever_knows_better_says_which_task_it_is():
    stars = of(1, 2, 3, 4, 5)

    assert decide(stars, "regression").document == {
        "task": "regression", "unit": None, "label": {"min": 1.0, "max": 5.0, "mean": 3.0, "std": 1.414214},
    }  # fmt: skip
    assert decide(values([row % 30 for row in range(900)]), "multiclass").document["class_rows"]["29"] == 30
    assert isinstance(decide(of(0, 1), "regression"), RegressionLabel)


@pytest.mark.parametrize(
    ("label", "options", "sentence"),
    [
        (of(), {}, r"has 0 values \(all are missing\), so there is nothing to predict: name another column"),
        (of("a"), {}, r"has 1 value \(a\), so there is nothing to predict"),
        (of(0, 1, "-"), {}, r"has 3 values \(.*\), and the task binary needs exactly two"),
        (of("a", "b"), {"task": "multiclass"}, "the task multiclass needs at least three: the task binary predicts"),
        (
            of("a", "b", "c"),
            {"positive": "a"},
            "--positive a says which of two values .* the task multiclass: leave it",
        ),
        (values(range(ROWS)), {"positive": "1"}, "--positive 1 says .* has the task regression: leave it out"),
        (of("a", "b", "c", times=30), {}, "There are 90 rows with the label 'label': .* 100, and 20 of every class"),
        (values(range(90)), {}, "There are 90 rows with the label 'label': a pipeline .* needs 100.$"),
        (
            values(["a", "b"] * 60 + ["rare", "rarer"] * 10 + ["rare"]),
            {},
            r"too few rows of some classes \(11 of rare, 10 of rarer\), and each needs 20: merge them with others or "
            "leave their label empty.$",
        ),
        (
            values([*[5, 6, 7] * 50, 9, 10]),
            {},
            r"\(1 of 9, 1 of 10\), .* or leave their label empty or predict the number itself with --task regression",
        ),
        (
            values(f"id {row}" for row in range(ROWS)),
            {},
            "has 400 values .* at most 50 classes can be told apart: merge",
        ),
        (values(range(ROWS)), {"task": "multiclass"}, "merge those that are alike or predict the number itself with"),
        (
            values(f"{row} %" for row in range(ROWS)),
            {},
            r"is no number \(all values are numbers but for signs and separators, as in '0 %'\): take them away in the",
        ),
        (
            values([*range(ROWS), "unknown"]),
            {},
            r"is no number \(almost all values are numbers; 'unknown' is not\): correct the table",
        ),
        (of("a", "b", "c"), {"task": "regression"}, r"is no number \(it holds 'a'\): --task multiclass predicts which"),
        (values([1e39 * row for row in range(ROWS)]), {}, r"reaches 3.99e\+41, and float32 ends at 3.4e\+38"),
        (of("2024-01-01", "2024-01-02", "2024-01-03"), {}, "holds moments: make a column of what is predicted of them"),
        (values(pd.date_range("2024-01-01", periods=ROWS)), {}, "holds moments"),
        (of("2024-01-01", "2024-01-02", "2024-01-03"), {"task": "regression"}, "holds moments"),
    ],
)
def test_a_label_that_cannot_be_predicted_is_refused_in_one_sentence_with_what_to_do(label, options, sentence: str):
    with pytest.raises(LabelError, match=sentence) as caught:
        decide(label, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).count(". ") == 0


def test_a_column_that_tells_every_class_or_one_beyond_doubt_is_suspected():
    label = MulticlassLabel("label", {"on time": 200, "late": 150, "cancelled": 50}, numeric=False)
    codes = pd.Series(np.repeat([0, 1, 2], [200, 150, 50]))

    def told(column, use: str = "number") -> tuple[float, str]:
        return label.strength(use, pd.Series(list(column)), codes)

    assert told(codes + RANDOM.normal(0, 0.1, ROWS)) == (pytest.approx(1, abs=0.001), "")
    assert told(np.where(codes == 2, 7.0, np.nan)) == (1.0, "cancelled")
    assert told([{0: "a", 1: "a", 2: "fog"}[code] for code in codes], "category") == (1.0, "cancelled")
    assert told([f"we {'cancel' if code == 2 else 'fly'} flight {n % 9}" for n, code in enumerate(codes)], "text") == (
        1.0,
        "cancelled",
    )
    nearly = told(np.where((codes == 2) != (RANDOM.random(ROWS) < 0.02), 7.0, 0.0))
    assert nearly[0] < 0.9
    assert nearly[1] == ""
    assert told(RANDOM.normal(0, 1, ROWS))[0] < 0.65


def test_a_column_that_tells_a_number_is_suspected_however_it_does_so():
    size = pd.Series(np.exp(RANDOM.normal(0, 2, ROWS)))  # A few are far larger than all others.
    label = decide(size.rename("label"))
    ranks = size.rank()

    def told(column, use: str = "number") -> float:
        return label.strength(use, pd.Series(list(column)), size)[0]

    for known in (size * 1.19, -size, size.where(size > 1), (ranks - 200) ** 3 + RANDOM.normal(0, 10, ROWS)):
        assert told(known) > 0.95
    # Neither rising nor falling with the label: its distance from the middle, and which side, told by its ranges.
    assert told(np.where(ranks > 200, ranks - 200, 1000 - ranks)) > 0.9
    assert told((ranks // 20).astype(str), "category") > 0.95
    assert told(["a text"] * 200 + [None] * 200, "text") < 0.1
    for honest in (RANDOM.normal(0, 1, ROWS), ranks + RANDOM.normal(0, 200, ROWS)):
        assert told(honest) < 0.6
    assert told([f"house {row}" for row in range(ROWS)], "category") < 0.1


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes the project of a table that scikit-learn ships, once."""
    folder = tmp_path_factory.mktemp("projects")

    def made_of(name: str) -> Path:
        if not (folder / name).exists():
            bunch = getattr(datasets, f"load_{name}")(as_frame=True)
            frame = bunch.frame
            if name != "diabetes":
                frame["target"] = np.array(bunch.target_names)[frame["target"]]
            frame.to_csv(folder / f"{name}.csv", index=False)
            creation.create(plan.make(folder / f"{name}.csv", "target"), folder / name)
        return folder / name

    return made_of


def test_three_sorts_of_wine_are_classes_in_every_file(project: Callable[..., Path]):
    """Forina et al. 1991: 178 wines of three growers."""
    wine = project("wine")
    contract, settings = contract_of(wine), yaml.safe_load((wine / "config" / "local.yaml").read_text())
    accuracy = settings["evaluation"]["metrics"][0]

    assert (contract.task, contract.classes) == ("multiclass", ("class_0", "class_1", "class_2"))
    assert contract.column("target").range == (0, 2)
    assert settings["model"]["tuning"] == {"objective": "val_accuracy"}
    assert (accuracy["name"], accuracy["at_least"]) == ("Accuracy", 0.43)  # 71 of 178 are the largest class.
    assert "Predicts `target`, one of 3 classes, from the columns" in (wine / "README.md").read_text()
    card = (wine / "usecase" / "CARD.md").read_text()
    assert "178 labelled rows; 33.1 % are class_0, 39.9 % are class_1, 27.0 % are class_2 |" in card
    rows = prepared(wine)
    assert np.bincount([row["target"] for row in rows]).tolist() == [59, 71, 48]
    spans = json.loads((wine / "workspace/spans/preparation.json").read_text())["spans"]
    assert all(span["rows"] == sum(span["class_rows"].values()) > 0 for span in spans)
    own_tests_pass(wine)


def test_the_progress_of_a_disease_is_a_number_in_every_file(project: Callable[..., Path]):
    """Efron et al. 2004: 442 patients with diabetes."""
    diabetes = project("diabetes")
    contract, settings = contract_of(diabetes), yaml.safe_load((diabetes / "config" / "local.yaml").read_text())
    metrics = {metric["name"]: metric for metric in settings["evaluation"]["metrics"]}

    assert (contract.task, contract.classes, contract.target.unit) == ("regression", (), None)
    assert (contract.column("target").type, contract.column("target").range) == ("int64", (0, 670))
    assert "    # unit: TO BE REVIEWED" in (diabetes / "usecase" / "contract.yaml").read_text()
    assert "range: [0, 670]  # seen: 25 to 346" in (diabetes / "usecase" / "contract.yaml").read_text()
    assert settings["model"]["tuning"] == {"objective": "val_rmse"}
    assert (metrics["RMSE"]["may_lose"], metrics["R2"]["at_least"]) == (2.0, 0.05)
    card = (diabetes / "usecase" / "CARD.md").read_text()
    assert "between 25 and 346, mean 152.133, std 77.0057" in card
    assert "AUC" not in card
    assert sum(row["target"] for row in prepared(diabetes)) == 67243
    own_tests_pass(diabetes)


def test_what_almost_gives_the_class_away_is_set_aside_with_its_measure(project: Callable[..., Path]):
    iris = project("iris")

    text = (iris / "usecase" / "contract.yaml").read_text()
    assert "Set aside: alone it almost gives the label away (AUC 0.97" in text
    assert contract_of(iris).column("petal_width_cm").role == "outcome"
    assert "numeric: [sepal_length_cm, sepal_width_cm]" in (iris / "config" / "local.yaml").read_text()
    assert "| `petal_width_cm` | 0.974 |" in (iris / "usecase" / "CARD.md").read_text()


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_the_code_that_is_written_is_clean(project: Callable[..., Path], name: str):
    code_is_clean(project(name))


def test_classes_of_any_name_come_back_as_they_were_and_those_of_another_order_too(tmp_path: Path):
    names = ["NO", 'don\'t "ask": #1', "\U0001f600 \\N", "a|b *c*"]
    frame = pd.DataFrame({"size cm": RANDOM.normal(0, 1, ROWS), "was": [names[row % 4] for row in range(ROWS)]})
    frame.loc[::50, "was"] = None
    frame.to_csv(tmp_path / "rows.csv", index=False)
    project = creation.create(plan.make(tmp_path / "rows.csv", "was"), tmp_path / "shop").path
    contract = project / "usecase" / "contract.yaml"

    assert contract_of(project).classes == tuple(sorted(names))
    own_tests_pass(project)
    written = yaml.safe_load(contract.read_text()) | {"classes": names}
    contract.write_text(yaml.safe_dump(written))
    rows = prepared(project)
    assert len(rows) == ROWS - 8
    assert np.bincount([row["was"] for row in rows]).sum() == len(rows)
    assert [row["was"] for row in rows].count(0) == sum(frame["was"] == "NO")

    contract.write_text(yaml.safe_dump(written | {"classes": ["no", *names[1:]]}))
    prepared(project, fails="The label 'was' is 'NO', which is none of the classes no, ")


def test_the_unit_is_taken_from_the_name_and_reviewed(tmp_path: Path):
    frame = pd.DataFrame({"size": RANDOM.normal(0, 1, ROWS), "Weight (kg)": RANDOM.normal(70, 9, ROWS).round(1)})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    project = creation.create(plan.make(tmp_path / "rows.csv", "Weight (kg)"), tmp_path / "shop").path

    assert Contract.load(project / "usecase" / "contract.yaml").target.unit == "kg"
    assert "unit: kg  # by its name; TO BE REVIEWED" in (project / "usecase" / "contract.yaml").read_text()


def test_where_all_columns_are_set_aside_they_are_named(tmp_path: Path):
    codes = np.arange(ROWS) % 3
    pd.DataFrame({"paid": codes * 2.0 + 1, "kind": codes}).to_csv(tmp_path / "rows.csv", index=False)

    with pytest.raises(FlightdeckError, match=r"give it away alone: name those known in time with --known \(paid\)\.$"):
        plan.make(tmp_path / "rows.csv", "kind")
