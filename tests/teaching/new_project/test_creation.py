"""A new project: what is decided, what is written, and that it is all or nothing."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data.contract import Contract
from data.table import TableError
from errors import FlightdeckError
from models.features import FeatureSettings
from models.settings import ModelSettings
from teaching.new_project import creation, plan
from tests.makefiles import make
from tests.repository import git
from tests.teaching.new_project.projects import PERSON, code_is_clean, contract_of, own_tests_pass, prepared
from tests.world import ROOT

pytestmark = pytest.mark.unit

ROWS = 600


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table with a column of every kind; its names and values are as awkward as those of people are."""
    random = np.random.default_rng(0)
    bought = random.integers(0, 2, ROWS)
    frame = pd.DataFrame(
        {
            "customer no.": [f"C{number:04d}" for number in range(ROWS)],
            "seen at": [f"2024-{1 + number % 6:02d}-03 10:00" for number in range(ROWS)],
            "price": np.round(random.normal(20, 3, ROWS) + 2 * bought, 2),
            "2nd visit": random.choice(["yes", "no", 'don\'t know: "ask"'], ROWS),
            "größe": random.choice(["S", "M", "ÜL"], ROWS),
            "remark": [f"she said #{number} {{% raw %}} 'so' \\n" for number in range(ROWS)],
            "refund": np.where(bought == 1, random.integers(1, 9, ROWS), 0),
            "currency": ["EUR"] * ROWS,
            "bought?": np.where(bought == 1, "Yes", "No"),
        }
    )
    path = tmp_path_factory.mktemp("table") / "shop visits.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def project(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projects") / "shop"
    creation.create(plan.make(table, "bought?", "seen at"), folder)
    return folder


def training(rows: int, folder: Path, text: bool = False, every: int = 2) -> dict:
    """The settings of the network that learns from so many numbers, and perhaps texts; one label in so many is 0."""
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"size": random.normal(size=rows), "bought": (np.arange(rows) % every > 0).astype(int)})
    if text:
        frame["remark"] = [f"she said that it costs {number}" for number in range(rows)]
    frame.to_parquet(folder / "table.parquet")
    creation.create(plan.make(folder / "table.parquet", "bought"), folder / "shop")
    settings = yaml.safe_load((folder / "shop" / "config" / "local.yaml").read_text())
    FeatureSettings.model_validate(settings["features"])
    return ModelSettings.model_validate(settings["model"]).model_dump() | settings["features"]


@pytest.mark.parametrize(
    ("rows", "text", "steps", "embedded"),
    [(200, False, 700, False), (5_000, False, 2400, False), (20_000, False, 2400, True), (5_000, True, 600, False)],
)
def test_training_takes_as_many_steps_as_rows_and_columns_need(rows, text, steps, embedded, tmp_path: Path):
    settings = training(rows, tmp_path, text)

    assert settings["epochs"] * 0.8 * rows / settings["batch_size"] == pytest.approx(steps, rel=0.2)
    assert bool(settings["number_frequencies"]) == embedded
    assert settings.get("text_buckets", 0) == (4096 if text else 0)


def test_a_rare_label_is_trained_for_fewer_steps(tmp_path: Path):
    settings = training(20_000, tmp_path, every=50)

    assert settings["epochs"] * 0.8 * 20_000 / settings["batch_size"] == pytest.approx(500, rel=0.2)


def test_names_become_those_that_tensors_can_have_and_are_translated_in_the_preparation(project: Path):
    contract = contract_of(project)

    assert contract.label == "bought"
    assert [column.name for column in contract.columns] == [
        "customer_no", "seen_at", "price", "c_2nd_visit", "grosse", "remark", "refund", "bought",
    ]  # fmt: skip
    assert contract.column("c_2nd_visit").values is not None
    assert set(contract.column("c_2nd_visit").values or ()) == {"yes", "no", 'don\'t know: "ask"'}
    assert contract.row_key == ("customer_no",)


def test_what_gives_the_label_away_is_no_feature_and_its_comment_asks(project: Path):
    text = (project / "usecase" / "contract.yaml").read_text()
    settings = yaml.safe_load((project / "config" / "local.yaml").read_text())

    assert Contract.model_validate(yaml.safe_load(text)).column("refund").role == "outcome"
    assert "Set aside: alone it almost gives the label away (AUC 1.000). Is it known at prediction time?" in text
    assert settings["features"]["numeric"] == ["price"]
    assert settings["features"]["categorical"] == ["c_2nd_visit", "grosse"]
    assert settings["features"]["text"] == ["remark"]
    assert "currency: it has the same value in every row" in text


def test_the_preparation_makes_every_row_of_the_table_a_row_of_the_contract(project: Path):
    assert len(prepared(project)) == ROWS
    assert len(list((project / "workspace" / "spans").glob("span-*"))) == 6


def test_the_code_that_is_written_is_clean(project: Path):
    code_is_clean(project)


def test_it_is_a_repository_that_holds_no_data_and_no_place_of_this_machine(project: Path):
    tracked = git(project, "ls-files").split()

    assert git(project, "status", "--short") == ""
    assert (project / "source" / "shop visits.csv").is_file()
    assert not [name for name in tracked if name.startswith(("source", "local.mk", "workspace"))]
    for name in tracked:
        assert str(ROOT) not in (project / name).read_text()
    assert f"FLIGHTDECK := {ROOT}" in (project / "local.mk").read_text()


def test_without_a_name_for_git_nothing_is_committed_and_the_project_is_whole(table: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    options = {"GLOBAL": "/dev/null", "NOSYSTEM": "1", "COUNT": "1", "KEY_0": "user.useConfigOnly", "VALUE_0": "true"}
    for name, value in options.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    created = creation.create(plan.make(table, "bought?"), tmp_path / "my shop")

    assert created.commit is None
    assert created.uncommitted == "git does not know you"
    assert (tmp_path / "my shop" / "Makefile").is_file()
    # What is said to help does, once git knows somebody.
    assert created.remedy[:2] == (
        "git config --global user.name 'YOUR NAME'",
        "git config --global user.email YOU@HOST",
    )
    command, known = " && ".join(created.remedy[2:]), os.environ | PERSON
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=known)
    assert done.returncode == 0, done.stderr
    assert git(tmp_path / "my shop", "status", "--short") == ""


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "there is no git on this machine; install it first"),
        ("#!/bin/sh\necho 'fatal: no more disk' >&2\nexit 128\n", "git says: fatal: no more disk"),
    ],
)
def test_why_nothing_is_committed_is_said(table: Path, tmp_path: Path, monkeypatch, program, reason: str):
    if program:
        (tmp_path / "git").write_text(program)
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    created = creation.create(plan.make(table, "bought?"), tmp_path / "shop")

    assert (created.commit, created.uncommitted) == (None, reason)
    assert created.remedy[0] == f"git -C {tmp_path / 'shop'} init --quiet --initial-branch main"


def test_the_repository_of_a_hook_that_runs_it_is_left_alone(table: Path, tmp_path: Path, monkeypatch):
    theirs = {"GIT_INDEX_FILE": "index", "GIT_WORK_TREE": "", "GIT_DIR": "theirs"}
    for name, value in (PERSON | {name: str(tmp_path / path) for name, path in theirs.items()}).items():
        monkeypatch.setenv(name, value)

    assert creation.create(plan.make(table, "bought?"), tmp_path / "shop").commit
    assert os.listdir(tmp_path) == ["shop"]


def test_a_column_that_somebody_vouches_for_is_a_feature(table: Path):
    planned = plan.make(table, "bought?", known=["refund"], after=["price"])
    as_in_the_contract = plan.make(table, "bought", "seen_at", known=["refund"], after=["grosse"])

    assert [column.name for column in as_in_the_contract.of("outcome")] == ["grosse"]
    assert [column.name for column in planned.of("number")] == ["refund"]
    assert [column.name for column in planned.of("outcome")] == ["price"]
    assert planned.suspects == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "bougt?"}, r"no column 'bougt\?', which --label names; did you mean 'bought\?'"),
        ({"time": "seen"}, "which --time names; did you mean 'seen at'"),
        ({"time": "bought?"}, "cannot be both the label and the time"),
        ({"known": ["refund"], "after": ["refund"]}, "both --known and --after"),
        ({"known": ["rfund"]}, "which --known names; did you mean 'refund'"),
        ({"known": ["nothing like it"]}, "which --known names; it has customer no., "),
        ({"known": ["bought?"]}, "'bought' is the label, so --known cannot name it"),
        ({"after": ["bought"]}, "'bought' is the label, so --after cannot name it"),
        ({"time": "seen at", "known": ["seen at"]}, "'seen_at' is the time, so --known cannot name it"),
        ({"time": "seen at", "after": ["seen_at"]}, "'seen_at' is the time, so --after cannot name it"),
        ({"known": ["currency"]}, "'currency' is left out, so --known cannot name it: it has the same value in every"),
        ({"time": "remark"}, "must be moments in ISO 8601 or numbers"),
        ({"label": "größe", "task": "binary"}, r"has 3 values \(.*\), and the task binary needs exactly two"),
        ({"label": "größe", "positive": "S"}, "--positive S says which of two values is predicted, and the label"),
        ({"label": "currency"}, r"has 1 value \(EUR\), so there is nothing to predict"),
        ({"positive": "maybe"}, "--positive maybe is not a value of the label"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_one_sentence(table: Path, arguments, message: str):
    with pytest.raises(FlightdeckError, match=message) as caught:
        plan.make(table, **{"label": "bought?"} | arguments)
    assert "\n" not in str(caught.value)


@pytest.fixture
def made_from(tmp_path: Path) -> Callable[..., Path]:
    """Makes a project from 600 rows: the given columns, a number and a label."""

    def make(columns: dict, name: str = "shop", values=("no", "yes"), label: str = "label") -> Path:
        told = [values[row % 2] for row in range(ROWS)]
        frame = pd.DataFrame({**columns, "number": np.random.default_rng(1).normal(0, 1, ROWS), label: told})
        frame.to_csv(tmp_path / "rows.csv", index=False)
        return creation.create(plan.make(tmp_path / "rows.csv", label, positive=values[1]), tmp_path / name).path

    return make


def test_names_that_yaml_takes_for_something_else_stay_names(made_from: Callable[..., Path]):
    names = ["NO", "yes", "on", "null", "True"]
    project = made_from({name: [f"v{n % 3}" for n in range(ROWS)] for name in names}, name="no", label="off")
    settings = yaml.safe_load((project / "config" / "local.yaml").read_text())
    contract = contract_of(project)

    assert (settings["use_case"]["name"], contract.dataset, contract.label) == ("no", "no", "off")
    assert settings["features"]["categorical"] == names
    assert {name for (name,) in settings["evaluation"]["slices"]} <= {*names}
    assert [column.name for column in contract.columns] == ["row_id", *names, "number", "off"]


def test_any_character_in_names_and_values_comes_back_as_it_was(made_from: Callable[..., Path]):
    words = ["\U0001f600", "a\x92b", "c\x7f\u2028d", "\\N 'so' \"said\" #1"]
    project = made_from({"\U0001f697": [words[n // 2 % 4] for n in range(ROWS)]}, values=("\U0001f622", words[0]))
    contract = contract_of(project)

    assert set(contract.column("column_1").values or ()) == {*words}
    assert contract.column("column_1").meaning.startswith("'\U0001f697' in the table.")
    rows = prepared(project)
    assert {row["column_1"] for row in rows} == {*words}
    assert sum(row["label"] for row in rows) == ROWS // 2


@pytest.fixture(scope="module")
def leaky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of which four columns are set aside: a number, one with gaps, words, and one behind the label."""
    folder = tmp_path_factory.mktemp("leaky")
    random = np.random.default_rng(5)
    told = np.arange(ROWS) % 2
    frame = pd.DataFrame(
        {
            "paid back": told + random.normal(0, 0.1, ROWS),
            "size": random.normal(0, 1, ROWS),
            "gaps": np.where(told == 1, 3.0 * told, np.nan),
            "verdict": np.where(random.random(ROWS) < 0.01, "open", np.where(told == 1, "good", "bad")),
            "label": told,
            "later": 7 * told + np.arange(ROWS) % 3,
        }
    )
    frame.to_csv(folder / "rows.csv", index=False)
    return creation.create(plan.make(folder / "rows.csv", "label"), folder / "loans").path


def test_what_was_set_aside_becomes_a_feature_by_what_the_readme_says(leaky: Path, tmp_path: Path):
    """As a person follows it: by the lines that it shows, in the places that it names."""
    project = tmp_path / "loans"
    shutil.copytree(leaky, project)
    own_tests_pass(project)
    readme = (project / "README.md").read_text()
    files = ("usecase/contract.yaml", "usecase/schema.pbtxt", "config/local.yaml")
    contract, schema, settings = (project / file for file in files)
    step = r"^ +# (before the feature \w+|at the end)\n +(feature \{ name: \"(\w+)\" .*\})$"
    steps = re.findall(step, readme, re.MULTILINE)
    assert [name for _, _, name in steps] == ["paid_back", "gaps", "verdict", "later"]
    assert "known: at_prediction" in readme
    assert "role: feature" in readme
    assert "flightdeck new" not in readme

    for place, lines, name in steps:
        text = contract.read_text()
        column = re.search(rf"  - name: {name}\n(.*\n)*?(?=  - name|\Z)", text)
        assert column is not None
        in_time = column[0].replace("known: after_prediction", "known: at_prediction")
        contract.write_text(text.replace(column[0], in_time.replace("role: outcome", "role: feature")))
        text = schema.read_text()
        following = place.removeprefix("before the feature ")
        at = len(text) if place == "at the end" else text.index(f'feature {{\n  name: "{following}"')
        schema.write_text(f"{text[:at]}{lines}\n{text[at:]}")
    settings.write_text(
        settings.read_text()
        .replace("numeric: [size]", "numeric: [size, paid_back, gaps, later]")
        .replace("categorical: []", "categorical: [verdict]")
    )

    own_tests_pass(project)


@pytest.mark.parametrize("name", ["label", "number"])
def test_a_later_table_that_lacks_a_column_is_refused_by_its_name(made_from: Callable[..., Path], name: str):
    project = made_from({})
    table = project / "source" / "rows.csv"
    pd.read_csv(table).rename(columns={name: "other"}).to_csv(table, index=False)

    prepared(project, fails=f"data.table.TableError: The rows have no column '{name}'; they have ")


def test_few_kinds_of_rows_are_shared_out_one_by_one_and_everything_says_so(tmp_path: Path):
    """Of 2,000 rows twelve kinds, one of them more frequent than all others; some of no known label."""
    random = np.random.default_rng(3)
    kinds = np.where(random.random(2000) < 0.6, 0, random.integers(0, 12, 2000))
    told = np.where(random.random(2000) < 0.1, "", np.where(random.random(2000) < 0.4, "yes", "no"))
    frame = pd.DataFrame({"class": [f"class {kind % 4}" for kind in kinds], "sex": kinds // 4 % 3, "y": told})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    planned = plan.make(tmp_path / "rows.csv", "y")
    project = creation.create(planned, tmp_path / "shop").path
    rows = prepared(project)
    sizes = [row["rows"] for row in json.loads((project / "workspace/spans/preparation.json").read_text())["spans"]]

    assert "only 12 of the" in planned.split.why
    assert sizes == [int((planned.split.numbers == span).sum()) for span in planned.split.spans]
    assert min(sizes) > len(rows) / 5 * 0.8
    assert len({row["row_id"] for row in rows}) == len(rows) == len(planned.rows)
    assert max(map(len, (project / "usecase/prepare.py").read_text().splitlines())) <= 120
    for file in ("README.md", "usecase/prepare.py", "usecase/CARD.md", "usecase/contract.yaml"):
        said = " ".join((project / file).read_text().replace("#", " ").split())
        assert "Equal rows are in several parts, because only 12 of the" in said, file


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (("no", "yes"), ("yes", "no")),
        (("0", "1"), ("1", "0")),
        (("n\no", "y|es"), ("y\\|es", "n o")),
        (("a\\", "*b*"), ("\\*b\\*", "a\\\\")),
    ],
)
def test_the_card_says_whose_share_it_gives_in_a_table_that_stays_one(made_from, values, shown):
    card = (made_from({}, values=values) / "usecase" / "CARD.md").read_text()

    assert f"| Content | 600 labelled rows; 50.0 % have the label {shown[0]} |\n" in card
    assert f"| Label | `label` is 1 where the table says {shown[0]}, 0 where it says {shown[1]} |\n" in card


def test_the_makefile_runs_a_flightdeck_whose_folder_has_any_name(made_from: Callable[..., Path], tmp_path: Path):
    project = made_from({})
    place = tmp_path / "my $(tools) #1"
    programs = {
        "requirements/install.sh": '#!/bin/sh\necho "install.sh $*"\n',
        "requirements/link.sh": (ROOT / "requirements/link.sh").read_text(),
        "flightdeck/__main__.py": "import sys\ndef main():\n    print('flightdeck', *sys.argv[1:])\n",
        "pytest.py": "print('python -m pytest')\n",
    }
    for program, text in programs.items():
        (place / program).parent.mkdir(parents=True, exist_ok=True)
        (place / program).write_text(text)
        (place / program).chmod(0o755)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place / ".venv"], check=True)
    subprocess.run([place / "requirements/link.sh", place / ".venv"], check=True)
    (project / "local.mk").write_text(creation.local_mk(place))

    for target, said in {
        "demo": ["install.sh runtime", "flightdeck data prepare", "flightdeck run"],
        "test": ["install.sh runtime", "install.sh dev", "python -m pytest"],
        "serve": ["install.sh runtime", "flightdeck serve"],
    }.items():
        done = make(target, project)
        assert (done.stdout.splitlines(), done.stderr) == (said, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age;income;y\n" + "41,5;1000,7;0\n" * 9, "is separated by ';': write it with commas"),
        ("age\tincome\ty\n" + "41\t1000\t0\n" * 9, "is separated by tabs: write it with commas"),
        ("a,y\n" + "1,0\n2,1\n" * 30, "There are 60 rows with the label 'y'"),
        ("y\n" + "0\n1\n" * 300, "has no column from which the label could be predicted"),
        ('"a;b;c",y\n' + "0,1\n" * 9, "The label 'y' has 1 value"),
        (",,y\n" + "1,2,0\n" * 9, "2 columns of the table .* have no name: name them in its first line"),
        (",index,y\n" + "1,2,0\n" * 9, "has a column without a name, and one called 'index', as that would be: name"),
        ("a,b,y\n1,2\n1,2,0,4,5\n", "cannot be read: Error tokenizing"),
        ("a,a,y\n" + "1,2,0\n" * 9, "has two columns 'a'"),
    ],
)
def test_what_is_unusual_about_a_table_is_said_in_words_of_its_first_line(tmp_path: Path, text: str, message: str):
    path = tmp_path / "rows.csv"
    path.write_text(text)

    with pytest.raises(ValueError, match=message) as caught:
        plan.make(path, "y")
    assert "\n" not in str(caught.value)


def test_two_columns_of_one_name_in_parquet_are_named(tmp_path: Path):
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table([[1.0, 2.0], [3.0, 4.0], [0, 1]], names=["x", "x", "y"]), path)

    with pytest.raises(TableError, match="has two columns 'x': give one of them another name"):
        plan.make(path, "y")


@pytest.mark.parametrize("role", ["label", "time"])
def test_a_list_is_no_label_and_no_time(tmp_path: Path, role: str):
    frame = pd.DataFrame({"a": [[1]] * ROWS, "b": [n % 2 for n in range(ROWS)]})
    frame.to_parquet(tmp_path / "rows.parquet")

    with pytest.raises(TableError, match="'a' holds neither numbers, texts nor moments"):
        plan.make(tmp_path / "rows.parquet", **{"label": "b", role: "a"})


def test_a_table_whose_name_is_no_plain_text_is_copied_under_one_that_is(tmp_path: Path):
    path = tmp_path / 'it\'s $(1) \\N """.csv'
    path.write_text("a,b\n" + "".join(f"{n % 7}.5,{n % 2}\n" for n in range(ROWS)))
    project = creation.create(plan.make(path, "b"), tmp_path / "shop").path

    assert len(prepared(project)) == ROWS


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_nothing_is_ever_overwritten(table: Path, tmp_path: Path, kind: str):
    place = tmp_path / "shop"
    {"folder": place.mkdir, "file": place.touch, "link": lambda: place.symlink_to("nowhere")}[kind]()

    with pytest.raises(FlightdeckError, match="already exists"):
        creation.create(plan.make(table, "bought?"), place)
    assert os.listdir(tmp_path) == ["shop"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (Path("/nowhere/shop"), "is not a folder that you can write to"),
        (ROOT / "shop", "inside Flightdeck's own checkout"),
        (ROOT / "tests" / ".." / "shop", "inside Flightdeck's own checkout"),
        (Path("link") / "shop", "inside Flightdeck's own checkout"),
        (Path("/tmp/2024"), "does not begin with a letter"),
    ],
)
def test_a_place_where_no_project_can_be_is_refused(tmp_path: Path, place: Path, message: str):
    (tmp_path / "link").symlink_to(ROOT)  # which leads into the checkout
    with pytest.raises(FlightdeckError, match=message):
        creation.require_free(tmp_path / place)
    assert not place.exists()


def test_a_place_beside_the_checkout_may_be_named_from_within_it(tmp_path: Path, monkeypatch):
    """As the documentation does: ``flightdeck new ../trips``."""
    (tmp_path / "checkout").mkdir()
    monkeypatch.setattr(creation, "CHECKOUT", tmp_path / "checkout")

    assert creation.require_free(tmp_path / "checkout" / ".." / "trips") == "trips"


def test_a_project_that_fails_half_way_leaves_nothing(table: Path, tmp_path: Path, monkeypatch):
    def broken(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(creation, "_commit", broken)

    with pytest.raises(FlightdeckError, match="No space left on device"):
        creation.create(plan.make(table, "bought?"), tmp_path / "shop")
    assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_nothing_that_the_next_one_does_not_clear_away(table: Path, tmp_path: Path):
    program = (
        "import time\nfrom pathlib import Path\nfrom teaching.new_project import creation, plan\n"
        "creation._commit = lambda folder: (print('half', flush=True), time.sleep(60))\n"
        f"creation.create(plan.make(Path({str(table)!r}), 'bought?'), Path({str(tmp_path)!r}) / 'shop')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    assert not (tmp_path / "shop").exists()
    with pytest.raises(FlightdeckError, match="Another project is being made"):
        creation.create(plan.make(table, "bought?"), tmp_path / "shop")
    process.kill()
    process.wait()
    process.stdout.close()

    deadline = time.monotonic() + 30
    while not (tmp_path / "shop").exists():
        assert time.monotonic() < deadline
        creation.create(plan.make(table, "bought?"), tmp_path / "shop")
    assert os.listdir(tmp_path) == ["shop"]
