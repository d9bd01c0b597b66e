"""Comparison of runs in a real metadata store, with real files of scores."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics as sklearn_metrics

from ledger import significance
from ledger.comparison import Comparison, MetricChange, compare
from ledger.opening import LedgerError, open_readonly
from ledger.run_facts import flattened
from tests.flightdeck.conftest import imports_none_of
from tests.ledger.executions import Executions
from tests.ledger.seeding import EVALUATION, Seeder

pytestmark = pytest.mark.unit
ROWS = 4000
DEPOTS = ("north", "south", "west")


class Parcels:
    """Runs that scored parcels; a skill is how much of the truth a model sees."""

    def __init__(self, seeder: Seeder, folder: Path):
        self.seeder, self.folder = seeder, folder
        self.executions = Executions(seeder.store)
        random = np.random.default_rng(7)
        self.labels = (random.random(ROWS) < 0.3).astype(np.int8)
        self.seen = random.normal(size=ROWS) + self.labels
        self.depots = np.array(DEPOTS)[random.integers(0, 3, ROWS)]
        self.depots[:50] = "tiny"

    def scores(self, skill: float, seed: int, where: str | None = None) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(size=ROWS)
        more = skill * self.labels * (1.0 if where is None else self.depots == where)
        return 1 / (1 + np.exp(1 - self.seen - more - 0.3 * noise))

    def run(
        self, run_id: str, scores: np.ndarray, fingerprint: str | None = "sha256:same", folder: str = "", **fields: Any
    ) -> str:
        auc = float(sklearn_metrics.roc_auc_score(self.labels, scores))
        slices = []
        for depot in (*DEPOTS, "tiny"):
            chosen = self.depots == depot
            auc_there = float(sklearn_metrics.roc_auc_score(self.labels[chosen], scores[chosen]))
            slices.append({"slice": f"depot={depot}", "rows": int(chosen.sum()), "challenger": {"auc": auc_there}})
        put = self.seeder.recorder.put_document
        documents = {"slices": put(slices), "settings": put({"evaluation": EVALUATION})} | fields.pop("documents", {})
        metrics = {"auc": auc, "log_loss": float(sklearn_metrics.log_loss(self.labels, scores)), "example_count": ROWS}
        self.seeder.run(run_id, documents=documents, metrics=metrics, **fields)
        if fingerprint is not None:
            uri = self.folder / (folder or run_id)
            uri.mkdir(parents=True)
            columns = {"row": np.arange(ROWS), "label": self.labels, "probability": scores, "depot": self.depots}
            pq.write_table(pa.table(columns), uri / "scores.parquet")
            made = self.executions.artifact("Scores", str(uri), rows=ROWS, rows_fingerprint=fingerprint)
            self.executions.execute(run_id, "Scores", {}, {"scores": made})
        return run_id

    def compare(self, first: str, second: str) -> Comparison:
        return compare(open_readonly(self.seeder.connection), first, second)


@pytest.fixture
def parcels(seeder: Seeder, tmp_path: Path) -> Parcels:
    return Parcels(seeder, tmp_path / "scores")


def changes(comparison: Comparison, section: str) -> Mapping[str, tuple[Any, Any]]:
    return {change.name: (change.first, change.second) for change in comparison.sections[section]}


def metrics(comparison: Comparison) -> dict[str, MetricChange]:
    return {change.name: change for change in comparison.metrics}


def test_a_better_model_is_better_and_a_luckier_one_is_within_noise(parcels):
    parcels.run("plain", parcels.scores(0.0, 1))
    parcels.run("luckier", parcels.scores(0.0, 2))
    parcels.run("better", parcels.scores(0.4, 3))

    pairs = (("plain", "luckier"), ("plain", "better"), ("better", "plain"))
    lucky, good, bad = (metrics(parcels.compare(*pair)) for pair in pairs)

    assert [metric["auc"].verdict for metric in (lucky, good, bad)] == ["within noise", "better", "worse"]
    assert good["brier"].verdict == "better"
    assert bad["auc"].delta == pytest.approx(-(good["auc"].delta or 0))
    # The settings say of neither direction of log_loss that it is better.
    assert good["log_loss"].verdict == "lower"
    assert "example_count" not in good


def test_the_test_on_rows_is_the_one_of_the_scores(parcels):
    first, second = parcels.scores(0.0, 1), parcels.scores(0.1, 2)
    parcels.run("one", first)
    parcels.run("two", second)

    auc = metrics(parcels.compare("one", "two"))["auc"]

    expected = significance.delong(parcels.labels.astype(float), first, second)
    assert auc.noise == expected
    assert expected.difference == pytest.approx(auc.delta)


def test_a_slice_that_changed_is_told_from_those_that_did_not(parcels):
    parcels.run("one", parcels.scores(0.0, 1))
    parcels.run("two", parcels.scores(1.0, 2, where="south"))

    comparison = parcels.compare("one", "two")

    verdicts = {change.slice: change.metric.verdict for change in comparison.slices}
    assert comparison.slices[0].slice == "depot=south"
    assert verdicts["depot=south"] == "better"
    assert verdicts["depot=north"] == verdicts["depot=west"] == "within noise"
    south = comparison.slices[0].metric
    assert south.p_value > south.noise.p_value, "corrected for four slices"


def test_only_what_differs_is_listed(parcels):
    put = parcels.seeder.recorder.put_document

    def run(name: str, model: dict, packages: dict, others: dict, **fields: Any) -> None:
        settings = {"model": model, "evaluation": EVALUATION, **others}
        documents = {"settings": put(settings), "packages": put(packages), "sources": put({"models/a.py": "aa"})}
        parcels.run(name, parcels.scores(0.0, 1), documents=documents, hyperparameters=model, **fields)

    model, packages = {"epochs": 3, "units": [8]}, {"numpy": "2.4.0", "keras": "3.15.1"}
    run("one", model, packages, {"canary": {"mode": "off"}}, commit="a" * 40)
    verdict = {"outcome": "not blessed", "reasons": ("auc is low",)}
    run("two", model | {"epochs": 5}, packages | {"numpy": "2.4.1", "scipy": "1.16"}, {}, commit="b" * 40, **verdict)

    comparison = parcels.compare("one", "two")

    assert changes(comparison, "settings") == {"model.epochs": (3, 5)}
    assert changes(comparison, "hyperparameters") == {"epochs": (3, 5)}
    assert changes(comparison, "packages") == {"numpy": ("2.4.0", "2.4.1"), "scipy": (None, "1.16")}
    assert changes(comparison, "code") == {"commit": ("a" * 40, "b" * 40)}
    assert changes(comparison, "outcome") == {"outcome": ("pushed", "not blessed"), "reasons": (None, ["auc is low"])}
    assert changes(comparison, "data") == {}
    assert comparison.unknown == {"files": "run one and run two recorded no files"}
    assert comparison.same_in == ["data"]


def test_the_code_of_a_project_is_its_own_and_flightdeck_s_below_it(parcels):
    for name, own, platform in (("one", "a", "e"), ("two", "b", "f")):
        code = {"use_case_commit": own * 40, "use_case_dirty": False, "commit": platform * 40, "dirty": False}
        parcels.run(name, parcels.scores(0, 1), **code)

    assert changes(parcels.compare("one", "two"), "code") == {
        "commit": ("a" * 40, "b" * 40),
        "commit of Flightdeck": ("e" * 40, "f" * 40),
    }


def test_a_changed_file_is_named(parcels):
    put = parcels.seeder.recorder.put_document
    file = {"name": "span-001/parcels.parquet", "span": 1, "bytes": 10, "sha256": "a" * 64}
    parcels.run("one", parcels.scores(0, 1), documents={"files": put([file])}, data="sha256:1")
    parcels.run("two", parcels.scores(0, 2), documents={"files": put([file | {"sha256": "b" * 64}])}, data="sha256:2")

    comparison = parcels.compare("one", "two")

    assert set(changes(comparison, "data")) == {"fingerprint", "span-001/parcels.parquet"}


@pytest.mark.parametrize(
    ("second", "same_rows", "said"),
    [
        ({"fingerprint": None}, None, "run two kept no scores of single rows"),
        ({"fingerprint": "sha256:other"}, False, "evaluated on different rows"),
        ({"folder": "moved"}, True, "no longer at"),
        ({"folder": "damaged"}, True, "cannot be read"),
    ],
)
def test_without_the_same_rows_it_says_why_it_cannot_tell(parcels, second, same_rows, said):
    parcels.run("one", parcels.scores(0, 1))
    parcels.run("two", parcels.scores(0.4, 2), **second)
    if second.get("folder") == "moved":
        (parcels.folder / "moved" / "scores.parquet").unlink()
    if second.get("folder") == "damaged":
        (parcels.folder / "damaged" / "scores.parquet").write_bytes(b"PAR1 and then nothing")

    comparison = parcels.compare("one", "two")

    assert comparison.same_rows is same_rows
    assert said in (comparison.why_not or "")
    auc = metrics(comparison)["auc"]
    assert auc.delta
    assert (auc.noise, auc.verdict) == (None, "unknown")


def test_runs_of_other_pipelines_and_running_ones_can_be_compared(parcels):
    parcels.run("one", parcels.scores(0, 1))
    parcels.seeder.foreign("theirs")
    parcels.seeder.run("running", outcome="running", documents={})

    assert changes(parcels.compare("one", "theirs"), "outcome")["outcome"] == ("pushed", "not ours")
    comparison = parcels.compare("one", "running")
    assert comparison.unknown["settings"] == "run running recorded no settings"
    assert all(change.second is None for change in comparison.metrics)
    with pytest.raises(LedgerError, match="the same run, running"):
        parcels.compare("running", "latest")


def test_lists_of_named_things_are_flattened_by_name():
    document = {"metrics": [{"name": "AUC", "at_least": 0.6}, {"name": "LogLoss"}], "slices": [["a"]], "empty": {}}

    assert flattened(document) == {"metrics.AUC.at_least": 0.6, "metrics.LogLoss": {}, "slices": [["a"]], "empty": {}}


def test_the_command_says_who_is_better_and_on_what_that_rests(parcels, runs_command):
    parcels.run("one", parcels.scores(0, 1))
    parcels.run("two", parcels.scores(0.4, 2), hyperparameters={"epochs": 9, "[bold]": 1})

    code, out, err = runs_command("compare", "one", "two")

    assert code == 0, err
    assert "By auc the runs differ by more than chance: B is better." in out
    assert f"The same {ROWS:,} rows" in out
    assert "[bold]" in out
    row = next(line for line in out.splitlines() if line.startswith("auc *"))
    assert row.split()[-1] == "better"
    assert "<0.001" in row


def test_json_holds_every_difference_and_test(parcels, runs_command):
    parcels.run("one", parcels.scores(0, 1))
    parcels.run("two", parcels.scores(0, 2), hyperparameters={"epochs": float("nan")})

    document = json.loads(runs_command("compare", "one", "two", "--json")[1])

    assert (document["first"], document["second"], document["same_rows"]) == ("one", "two", True)
    auc = next(change for change in document["metrics"] if change["name"] == "auc")
    assert auc["verdict"] == "within noise"
    assert auc["noise"]["beyond_noise"] is False
    fields = {field.name for field in dataclasses.fields(significance.SignificanceTest)}
    assert set(auc["noise"]) == {*fields, "beyond_noise"}
    assert {change["slice"] for change in document["slices"]} == {f"depot={depot}" for depot in (*DEPOTS, "tiny")}


def test_it_imports_neither_tensorflow_nor_pandas(parcels):
    parcels.run("one", parcels.scores(0, 1))
    parcels.run("two", parcels.scores(0, 2))
    workspace = Path(parcels.seeder.connection.sqlite.filename_uri).parent

    heavy = {"tensorflow", "tfx", "pandas", "scipy", "sklearn"}
    done = imports_none_of(heavy, "runs", "compare", "one", "two", "--set", f"workspace={workspace}")

    assert "By auc the runs differ by no more than chance" in done.stdout


class Letters:
    """Runs that sorted letters into classes, or estimated how long they take: with so much skill."""

    def __init__(self, seeder: Seeder, folder: Path):
        self.seeder, self.folder = seeder, folder
        self.executions = Executions(seeder.store)
        self.random = np.random.default_rng(11)
        self.classes = self.random.choice(3, ROWS, p=(0.6, 0.3, 0.1))
        self.days = self.random.gamma(2.0, 2.0, ROWS)
        self.depots = np.array(DEPOTS)[self.random.integers(0, 3, ROWS)]

    def classes_run(self, run_id: str, skill: float) -> str:
        logits = np.random.default_rng(5).normal(size=(ROWS, 3)) + (1 + skill) * np.eye(3)[self.classes]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        column = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), 3)
        called = probabilities.argmax(axis=1)

        def measured(rows: np.ndarray) -> dict[str, float]:
            recalls = sklearn_metrics.recall_score(self.classes[rows], called[rows], average=None)
            names = ("recall/letter", "recall/big letter", "recall/parcel")
            return {"accuracy": float((called == self.classes)[rows].mean()), **dict(zip(names, recalls, strict=True))}

        target = {"label": "kind", "task": "multiclass", "classes": ["letter", "big letter", "parcel"], "unit": None}
        asked = [{"name": "Accuracy", "better": "higher"}, {"name": "ClassRecall", "better": "higher"}]
        return self._run(run_id, self.classes, {"probabilities": column}, target, measured, asked)

    def days_run(self, run_id: str, error: float) -> str:
        values = self.days + error * np.random.default_rng(5).normal(size=ROWS)

        def measured(rows: np.ndarray) -> dict[str, float]:
            errors = np.abs(values - self.days)
            slowest = errors[rows][self.days[rows] > np.quantile(self.days[rows], 0.9)]
            return {"mae": float(errors[rows].mean()), "mae/decile_10": float(slowest.mean())}

        target = {"label": "days", "task": "regression", "classes": [], "unit": "days"}
        asked = [{"name": "MAE", "better": "lower"}, {"name": "DecileMAE", "better": "lower"}]
        return self._run(run_id, self.days, {"value": values}, target, measured, asked)

    def _run(self, run_id: str, labels: Any, predictions: Any, target: Any, measured: Any, asked: Any) -> str:
        put = self.seeder.recorder.put_document
        slices = [
            {"slice": f"depot={name}", "rows": int((self.depots == name).sum()), "challenger": measured(chosen)}
            for name in DEPOTS
            for chosen in [self.depots == name]
        ]
        documents = {"slices": put(slices), "settings": put({"evaluation": {"metrics": asked}})}
        metrics = measured(np.ones(ROWS, bool)) | {"example_count": float(ROWS)}
        main = {"main_metric": next(iter(metrics)), "main_better": asked[0]["better"]}
        self.seeder.run(run_id, documents=documents, metrics=metrics, **main)
        uri = self.folder / run_id
        uri.mkdir(parents=True)
        pq.write_table(
            pa.table({"row": np.arange(ROWS), "label": labels, **predictions, "depot": self.depots}),
            uri / "scores.parquet",
        )
        facts = {"rows": ROWS, "rows_fingerprint": "sha256:same", "target": json.dumps(target)}
        self.executions.execute(run_id, "Scores", {}, {"scores": self.executions.artifact("Scores", str(uri), **facts)})
        return run_id

    def compare(self, first: str, second: str) -> Comparison:
        return compare(open_readonly(self.seeder.connection), first, second)


@pytest.fixture
def letters(seeder: Seeder, tmp_path: Path) -> Letters:
    return Letters(seeder, tmp_path / "scores")


def test_a_better_model_of_classes_is_better_also_in_each_class_and_slice(letters):
    letters.classes_run("plain", 0.0)
    letters.classes_run("better", 0.7)

    comparison = letters.compare("plain", "better")

    found = metrics(comparison)
    names = {"accuracy", "recall/letter", "recall/big letter", "recall/parcel"}
    assert {name: change.verdict for name, change in found.items()} == dict.fromkeys(names, "better")
    assert all(change.noise.difference == pytest.approx(change.delta) for change in found.values())
    assert found["accuracy"].noise.test == significance.BOOTSTRAP
    slices = {change.slice: change.metric for change in comparison.slices}
    assert slices.keys() == {f"depot={name}" for name in DEPOTS}
    assert {change.verdict for change in slices.values()} == {"better"}
    assert all(change.noise.second == pytest.approx(change.second) for change in slices.values())
    assert max(change.p_value for change in slices.values()) < 2 / (significance.RESAMPLES + 1), "not the bootstrap's"
    assert comparison.tested_by == "all by a paired bootstrap"


def test_a_smaller_error_of_numbers_is_better_also_where_they_are_largest(letters):
    letters.days_run("plain", 2.0)
    letters.days_run("better", 1.5)

    found = metrics(letters.compare("plain", "better"))

    assert {name: change.verdict for name, change in found.items()} == {"mae": "better", "mae/decile_10": "better"}
    assert found["mae/decile_10"].noise.difference == pytest.approx(found["mae/decile_10"].delta, rel=1e-6)


def test_runs_that_predict_different_things_are_not_tested(letters):
    letters.classes_run("classes", 0.0)
    letters.days_run("days", 1.0)

    comparison = letters.compare("classes", "days")

    assert (comparison.why_not or "").endswith("the runs predict different things, kind and days.")
    assert {change.noise for change in comparison.metrics} == {None}


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([[0.5, 0.5]] * ROWS, pa.list_(pa.float64(), 2)), "are probabilities of the 3 classes"),
        (pa.array([["a"]] * ROWS), "cannot be read"),
    ],
    ids=["two classes", "text"],
)
def test_scores_that_do_not_fit_what_is_predicted_are_not_tested(letters, column, said):
    letters.classes_run("one", 0.0)
    letters.classes_run("two", 0.0)
    file = letters.folder / "two" / "scores.parquet"
    kept = pq.read_table(file).drop_columns(["probabilities"])
    pq.write_table(kept.append_column("probabilities", column), file)

    assert said in (letters.compare("one", "two").why_not or "")


def test_the_commands_understand_metrics_of_classes(letters, runs_command):
    letters.classes_run("plain", 0.0)
    letters.classes_run("better", 0.7)

    out = runs_command("compare", "plain", "better")[1]
    assert "all by a paired bootstrap, slices corrected" in out
    assert "By accuracy the runs differ by more than chance: B is better." in out
    assert next(line for line in out.splitlines() if line.startswith("recall/big letter")).split()[-1] == "better"

    bar = (letters.compare("plain", "better").metrics[2].first or 0) + 0.01
    listed = json.loads(runs_command("list", "--metric", f"recall/big letter > {bar}", "--json")[1])
    assert [run["run_id"] for run in listed["runs"]] == ["better"]
    best = json.loads(runs_command("best", "--metric", "recall/big letter", "--json")[1])
    assert (best["run_id"], best["better"]) == ("better", "higher")
    assert "recall/big letter" in runs_command("show", "better")[1]
    letters.days_run("days", 1.0)
    assert json.loads(runs_command("best", "--metric", "mae/decile_10", "--json")[1])["better"] == "lower"
    heading = runs_command("list")[1].splitlines()[0].split()
    assert heading[heading.index("window") + 1 : heading.index("time")] == ["mae", "accuracy"]
