"""`flightdeck new`: what it says, and on four public datasets from the table to a pushed model and an answered request.

Nothing of Flightdeck's own packages is changed for any. Three are in scikit-learn, numbers without time, with a label
of two classes, of three, and a number; one in TFX, trips of taxis with time, categories, text, gaps, and a column that
is known too late.
"""

import dataclasses
import functools
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import forked
from tests.flightdeck.conftest import refused
from tests.makefiles import make
from tests.repository import git
from tests.teaching.new_project.projects import PERSON
from tests.world import World

e2e = pytest.mark.e2e
unit = pytest.mark.unit

# Seconds instead of a good model.
SMALL = ("model.epochs=4", "evaluation.importance_rows=0", "infra_validation.requests=4")


def loans(folder: Path, rows: int = 400) -> Path:
    """A table of which two columns give the label away; names and folder are as people write them."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(0)
    told = np.arange(rows) % 2
    path = folder / "my loans.csv"
    pd.DataFrame(
        {
            "opened at": pd.date_range("2023-01-01", periods=rows, freq="D").astype(str),
            "amount": random.normal(0, 1, rows).round(3),
            "paid back": told + random.normal(0, 0.1, rows).round(3),
            "fee": 3 * told + random.normal(0, 0.1, rows).round(3),
            "good?": np.where(told, "ja", "nein"),
        }
    ).to_csv(path, index=False)
    return path


LOANS = ("--label", "good?", "--time", "opened at", "--positive", "ja")


@pytest.fixture
def new(flightdeck, tmp_path: Path, monkeypatch) -> Callable[..., tuple[int, str, str]]:
    """Runs `flightdeck new` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for name, value in PERSON.items():
        monkeypatch.setenv(name, value)
    return functools.partial(flightdeck, "new")


@unit
def test_what_is_set_aside_is_taken_in_by_the_command_that_is_shown(new, tmp_path: Path):
    table = loans(tmp_path)
    code, out, err = new("a b", "--from", str(table), *LOANS, "--after", "amount", "--known", "fee")
    assert (code, err) == (0, "")
    assert "paid_back                    AUC 1.000   if so: --known 'paid back'" in out
    command = out[out.index("  rm -r") :].splitlines()[0].strip()
    removal, again = command.split(" && ")
    assert shlex.split(removal) == ["rm", "-rf", str(tmp_path / "a b")]

    program, verb, *arguments = shlex.split(again)
    assert (program, verb) == ("flightdeck", "new")
    subprocess.run(removal, shell=True, check=True)
    code, out, err = new(*arguments)
    assert (code, err) == (0, "")
    assert re.search(r"^number +paid_back, fee$", out, re.MULTILINE)
    assert re.search(r"^later +amount$", out, re.MULTILINE)
    assert "Set aside" not in out


@unit
def test_steps_untidy_numbers_and_the_command_that_takes_in_all_that_was_set_aside_are_shown(new, tmp_path: Path):
    table = loans(tmp_path)
    lines = table.read_text().splitlines()
    table.write_text("\n".join(f"{line},{'income' if n == 0 else f'${7 * n % 11}.50'}" for n, line in enumerate(lines)))
    _, out, _ = new("shop", "--from", str(table), *LOANS)
    _, document, err = new("other", "--from", str(table), *LOANS, "--json")

    assert out[out.index("  rm -r") :].splitlines()[0].endswith("--positive ja --known 'paid back' --known fee")
    assert "without the --known of those that are not:" in out
    assert out.splitlines()[:4] == [
        f"Reading {table}",
        "Looking at 6 columns of 400 rows",
        "Splitting the rows into spans",
        f"Writing {tmp_path / 'shop'}",
    ]
    assert re.search(r"^untidy +income: All values are numbers but for signs and separators, as in ", out, re.MULTILINE)
    report = json.loads(document)
    assert (report["rows"], report["uncommitted"], list(report["untidy"])) == (400, None, ["income"])
    assert err == ""


@unit
def test_classes_and_numbers_are_told_on_screen_and_in_the_document(new, tmp_path: Path):
    table = loans(tmp_path)
    lines = table.read_text().splitlines()
    grades = ["grade", *(f"{'ABC'[n % 3]}" for n in range(len(lines) - 1))]
    table.write_text("\n".join(f"{line},{grade}" for line, grade in zip(lines, grades, strict=True)))
    _, classes, _ = new("grades", "--from", str(table), "--label", "grade")
    _, document, _ = new("classes", "--from", str(table), "--label", "grade", "--json")
    _, number, _ = new("amounts", "--from", str(table), "--label", "amount", "--task", "regression")
    _, fees, _ = new("fees", "--from", str(table), "--label", "fee", "--json")

    assert "\n400 rows, 3 classes of grade: 33.5% are A, 33.2% are B, 33.2% are C\n" in classes
    report = json.loads(document)
    assert (report["task"], report["class_rows"]) == ("multiclass", {"A": 134, "B": 133, "C": 133})
    assert "positive_rate" not in report
    assert re.search(r"^400 rows, amount from -\d\.\d+ to \d\.\d+, mean .*, std ", number, re.MULTILINE)
    report = json.loads(fees)
    assert (report["task"], report["unit"], report["label"].keys()) == (
        "regression", None, {"min", "max", "mean", "std"},
    )  # fmt: skip
    assert report["suspects"] == {}


@unit
def test_columns_that_are_sensitive_by_name_are_asked_about_with_the_command_that_says_otherwise(new, tmp_path: Path):
    import pandas as pd

    table = loans(tmp_path)
    frame = pd.read_csv(table).assign(**{"Sex": ["f", "m", "m", "f"] * 100, "age": range(400)})
    frame.to_csv(table, index=False)
    code, out, err = new("a b", "--from", str(table), *LOANS)
    assert (code, err) == (0, "")
    asked = out[out.index("Marked as sensitive") :]
    assert "  Sex                          if so: --not-sensitive Sex\n" in asked
    command = next(line for line in asked.splitlines() if "rm -rf" in line)
    assert command.endswith("--not-sensitive Sex --not-sensitive age")

    subprocess.run(command.split(" && ")[0], shell=True, check=True)
    _, document, _ = new(*shlex.split(command.split(" && ")[1])[2:], "--json")
    report = json.loads(document)
    assert report["sensitive"] == []
    assert report["columns"]["category"] == ["Sex"]
    _, document, _ = new("other", "--from", str(table), *LOANS, "--json", "--not-sensitive", "age")
    assert json.loads(document)["sensitive"] == ["Sex"]


@unit
def test_the_task_that_somebody_named_is_in_the_command_that_makes_it_anew(new, tmp_path: Path):
    import numpy as np
    import pandas as pd

    size = np.arange(400) % 5
    columns = {"size": size, "price": size * 7.5 + 2, "other": np.random.default_rng(0).normal(0, 1, 400)}
    pd.DataFrame(columns).to_csv(tmp_path / "sizes.csv", index=False)
    _, out, _ = new("sizes", "--from", str(tmp_path / "sizes.csv"), "--label", "size", "--task", "regression")

    assert "price                        rank R\u00b2 1.000   if so: --known price" in out
    assert "sizes.csv --label size --task regression --known price\n" in out


@unit
def test_without_git_the_commands_that_help_are_named(new, tmp_path: Path, monkeypatch):
    table = loans(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    _, out, _ = new("shop", "--from", str(table), *LOANS)
    _, document, _ = new("other", "--from", str(table), *LOANS, "--json")

    reason = "there is no git on this machine; install it first"
    assert f"\nNothing is committed, because {reason}. To commit it:\n  git -C " in out
    assert json.loads(document)["commit"] is None
    assert json.loads(document)["uncommitted"] == reason


@unit
def test_what_needs_the_checkout_is_refused_in_a_project_with_the_reason(new, tmp_path: Path):
    new("shop", "--from", str(loans(tmp_path)), *LOANS)
    for words in ([], ["--config", "config/local.yaml"]):
        # In a process of its own, whose path of packages the project may change.
        done = forked.run("flightdeck", "runs", "against", *words, cwd=tmp_path / "shop")
        refused(
            (done.returncode, done.stdout, done.stderr),
            f"The use case is in {tmp_path / 'shop'}, and only branches of Flightdeck's checkout can be compared like "
            "this: check out both commits of the project, one after the other, each with a `flightdeck run`, and "
            "compare the two runs with `flightdeck runs compare`.",
        )


def tumours(folder: Path) -> Path:
    """569 tumours, 30 measurements each: Wolberg, Street and Mangasarian 1995, as scikit-learn ships it."""
    from sklearn.datasets import load_breast_cancer

    path = folder / "tumours.parquet"
    load_breast_cancer(as_frame=True).frame.to_parquet(path)
    return path


def shipped(name: str, folder: Path) -> Path:
    """A table that scikit-learn ships."""
    from sklearn import datasets

    path = folder / f"{name}.csv"
    getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(path, index=False)
    return path


def trips(folder: Path) -> Path:
    """15,002 trips from the City of Chicago's open data, as TFX ships them."""
    # Found and not imported, which takes long.
    (tfx,) = importlib.util.find_spec("tfx").submodule_search_locations  # pyright: ignore
    source = Path(tfx) / "examples/chicago_taxi_pipeline/data/big_tipper_label/data.csv"
    return Path(shutil.copy(source, folder / "trips.csv"))


@dataclasses.dataclass(frozen=True)
class Project(World):
    """A project as `flightdeck new` made it, and what it said."""

    report: dict = dataclasses.field(default_factory=dict)

    def options(self, *overrides: str) -> list[str]:
        return [part for setting in overrides for part in ("--set", setting)]

    def make(self, target: str) -> str:
        done = make(target, self.folder)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


# The table, the options, and what of a metric is much better than chance.
CASES: dict[str, tuple[Callable[[Path], Path], tuple[str, ...], tuple[str, float]]] = {
    "tumours": (tumours, ("--label", "target"), ("auc", 0.95)),
    "trips": (trips, ("--label", "big_tipper", "--time", "trip_start_timestamp"), ("auc", 0.8)),
    # 178 wines of three growers: Forina et al. 1991.
    "wine": (functools.partial(shipped, "wine"), ("--label", "target"), ("accuracy", 0.8)),
    # 442 patients with diabetes: Efron, Hastie, Johnstone and Tibshirani 2004.
    "diabetes": (functools.partial(shipped, "diabetes"), ("--label", "target"), ("r2", 0.3)),
}


@pytest.fixture(scope="module")
def project_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Project]:
    """Makes the project of a dataset, with prepared spans and a run, once; trips by `make`, as a person does."""

    @functools.cache
    def made_of(name: str) -> Project:
        table, options, (metric, _) = CASES[name]
        folder = tmp_path_factory.mktemp(name)
        command = ("new", name, "--from", str(table(folder)), *options, "--json")
        made = forked.run("flightdeck", *command, cwd=folder, env=os.environ | PERSON)
        assert made.returncode == 0, made.stderr
        workspace = folder / name / "workspace"
        project = Project(workspace, workspace / "spans", folder=folder / name, report=json.loads(made.stdout))
        if name == "trips":
            assert "pushed as version" in project.make("demo")
        else:
            few = SMALL if metric == "auc" else SMALL[1:]  # The other two are small, and need all epochs.
            project.says("data", "prepare", overrides=few)
            project.run(*few)
        return dataclasses.replace(project, report=project.report | {"run": project.json("runs", "show", "latest")})

    return made_of


@pytest.fixture(params=CASES)
def project(request: pytest.FixtureRequest, project_of: Callable[[str], Project]) -> Project:
    return project_of(request.param)


@e2e
def test_time_words_gaps_and_what_is_known_too_late_are_found(project_of: Callable[[str], Project]):
    project = project_of("trips")

    assert project.report["columns"]["time"] == ["trip_start_timestamp"]
    assert project.report["columns"]["text"] == ["company"]
    assert "payment_type" in project.report["columns"]["category"]
    assert project.report["suspects"].keys() == {"tips"}
    assert "tips" not in (project.folder / "config" / "local.yaml").read_text()


@e2e
def test_the_model_is_pushed_and_better_than_chance(project: Project):
    run = project.report["run"]

    assert run["outcome"] == "pushed"
    metric, chance = CASES[project.folder.name][2]
    assert chance < run["metrics"][metric] < 1


@e2e
def test_people_in_the_table_are_compared_and_the_model_does_not_read_what_they_are(
    project_of: Callable[[str], Project],
):
    project = project_of("diabetes")
    assert project.report["sensitive"] == ["age", "sex"]

    run = project.json("runs", "show", "latest")
    age, sex = run["contents"]["fairness"]
    (measured,) = sex["measures"]
    assert (sex["column"], sex["feature"], measured["name"]) == ("sex", False, "mean_error")
    assert len(sex["groups"]) == 2
    assert len(age["groups"]) == 4
    assert sum(group["rows"] for group in sex["groups"]) == run["rows"]["eval"]
    pair = measured["largest"]
    assert pair["low"] < pair["difference"] < pair["high"]
    slices = {part["slice"]: part for part in run["contents"]["slices"]}
    for group in (*age["groups"], *sex["groups"]):
        column = "age" if group in age["groups"] else "sex"
        assert slices[f"{column}={group['group']}"]["rows"] == group["rows"]
    # The error of a slice is as large as its bias at least.
    for group, error in measured["values"].items():
        assert abs(error) <= slices[f"sex={group}"]["challenger"]["rmse"] + 1e-6
    shown = " ".join(project.says("runs", "show", "latest").split())
    assert "sensitive measure difference 95 % interval" in shown
    assert "sex mean error" in shown
    (served,) = (project.workspace / "models" / "diabetes").glob("[0-9]*")
    columns = json.loads((served / "assets.extra" / "contract.json").read_text())["columns"]
    assert not {"age", "sex"} & {column["name"] for column in columns}


@e2e
def test_the_run_is_stamped_with_both_commits(project: Project):
    record = project.report["run"]
    shown = project.says("runs", "show", record["run_id"])

    assert record["commit"] == git(project.folder, "rev-parse", "HEAD")
    assert record["dirty"] is False
    assert record["platform"]["commit"] not in (None, record["commit"])
    assert re.search(rf"^Code        {record['commit']}, branch \w+, nothing changed$", shown, re.MULTILINE)
    assert re.search(rf"^Flightdeck  {record['platform']['commit']}, ", shown, re.MULTILINE)
    assert f" {record['commit'][:8]}\n" in re.sub(r" +\n", "\n", project.says("runs", "list"))


@e2e
def test_a_request_is_answered(project: Project):
    with project.serving() as (screen, shown):
        answer = subprocess.run(shown, shell=True, capture_output=True, text=True, check=True).stdout
    (prediction,) = json.loads(answer)["predictions"]
    if project.folder.name == "wine":
        assert sum(prediction["probabilities"]) == pytest.approx(1)
        assert prediction["class"] in {"0", "1", "2"}
    else:
        low, high = (0, 670) if project.folder.name == "diabetes" else (0, 1)
        assert low < prediction[0] < high
    assert screen.startswith("Version ")


@e2e
@pytest.mark.parametrize("name", ["tumours", "wine", "diabetes"])
def test_its_own_tests_pass(project_of: Callable[[str], Project], name: str):
    assert re.search(r"^=+ 5 passed", project_of(name).make("test"), re.MULTILINE)


@e2e
def test_the_run_is_made_again_to_the_last_bit_and_not_with_other_code(project_of: Callable[[str], Project]):
    project = project_of("tumours")
    assert project.json("runs", "reproduce", "latest")["identical"] is True

    prepare = project.folder / "usecase" / "prepare.py"
    before = prepare.read_text()
    prepare.write_text(before + "\n# changed\n")
    run = project.report["run"]["run_id"]
    refused = project.flightdeck("runs", "reproduce", run)
    other = project.flightdeck("runs", "reproduce", run, "--at", "HEAD")
    prepare.write_text(before)
    assert refused.returncode == other.returncode == 2
    assert "Code: usecase/prepare.py has changed." in refused.stderr
    assert f"in {project.folder}" in refused.stderr
