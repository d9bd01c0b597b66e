"""`flightdeck runs list|show|best|note|tag` as a person types them, on a store that the recorder wrote."""

import functools
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.lease import Owner
from ledger.run_record import NodeOutcome
from tests.flightdeck.conftest import imports_none_of, refused
from tests.ledger.seeding import BEGIN, Seeder, sqlite

pytestmark = pytest.mark.unit
HEARD = datetime(2013, 7, 1, 12, 34, tzinfo=UTC)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory) -> Path:
    """Two runs on span 3, one on span 4, a failed one, a trial, another pipeline's, and one nobody can read."""
    folder = tmp_path_factory.mktemp("workspace")
    seeder = Seeder(sqlite(folder / "metadata.sqlite"))
    put = seeder.recorder.put_document
    slices = [
        {"slice": f"kind={index}", "rows": 100 * index, "challenger": {"auc": 0.9 - index / 10}, "champion": {}}
        for index in range(9)
    ]
    seeder.run("20130701-0930-aaaa", 0.651, version="1", pushed_to="models/a-pipeline")
    seeder.run(
        "20130701-0931-bbbb",
        0.7123,
        hyperparameters={"epochs": 9, "optimizer.learning_rate": 0.001},
        outcome="not blessed",
        reasons=("auc is 0.7123, and must be at least 0.8",),
        champion_metrics={"auc": 0.651},
        champion_saw=(3,),
        model_id=12,
        base_model_id=7,
        began_with="took all layers",
        thresholds={"auc": {"at_least": 0.8}},
        dirty=True,
        loading_seconds=20.0,
        peak_mb=2048.0,
        data="sha256:feed",
        nodes=(
            NodeOutcome(node_id="Trainer", state="done", seconds=12.34, peak_mb=1900.0, ended=BEGIN),
            NodeOutcome(node_id="Pusher", state="skipped", seconds=0.0, peak_mb=1900.0, ended=BEGIN + timedelta(1)),
        ),
        documents={
            "settings": put({"model": {"epochs": 9}}),
            "slices": put(slices),
            "diff": put("+ [bold]changed[/] line"),
        },
    )
    seeder.run("20130701-0932-cccc", 0.69, spans={"train": [1, 2, 3], "eval": [4]}, window="1:4")
    seeder.run("20130701-0933-dddd", outcome="failed", reasons=("Trainer failed: the disk is full",))
    seeder.run("20130701-0934-eeee", 0.99, kind="trial", outcome="done", parent="20130701-0933-dddd")
    seeder.run("20130701-0935-ffff", outcome="running", seconds=None)
    seeder.foreign("theirs")
    seeder.run("unreadable")
    seeder.spoil("unreadable", "flightdeck.metrics", "not JSON")
    return folder


@pytest.fixture
def runs(flightdeck, workspace: Path) -> Callable[..., str]:
    """What a command of `flightdeck runs` that succeeds prints."""

    def run(*arguments: str, at: Path = workspace) -> str:
        code, out, err = flightdeck("runs", *arguments, "--set", f"workspace={at}")
        assert code == 0, err
        return out

    return run


def listed(text: str) -> list[str]:
    return [line.split()[0] for line in text.splitlines() if line.startswith(("2013", "theirs"))]


class TestList:
    """``flightdeck runs list``."""

    def test_the_newest_first_aligned_and_what_is_left_out_is_said(self, runs):
        text = runs("list")

        assert listed(text) == [
            "theirs", "20130701-0935-ffff", "20130701-0933-dddd", "20130701-0932-cccc", "20130701-0931-bbbb",
            "20130701-0930-aaaa",
        ]  # fmt: skip
        lines = text.splitlines()
        header = lines[0]
        row = next(line for line in lines if "bbbb" in line)
        for column, cell in (("outcome", "not blessed"), ("window", "1:3"), ("commit", "00000000+")):
            assert row.index(cell) == header.index(column)
        assert row.index("0.7123") + 6 == header.index("auc") + 3  # numbers end together
        assert "1 trial of sweeps left out" in text
        assert re.search("1 record cannot be read .* unreadable\n", text)

    def test_no_name_of_a_run_is_ever_broken(self, runs):
        asked = ("epochs>1", "optimizer.learning_rate>0", "loading_seconds>=0", "peak_mb>0", "user!=bob")
        options = [part for condition in asked for part in ("--where", condition)]

        assert listed(runs("list", *options, "--sort", "binary_crossentropy")) == ["20130701-0931-bbbb"]

    @pytest.mark.parametrize(
        ("options", "names"),
        [
            (["--metric", "auc>0.69"], ["bbbb"]),
            (["--metric", "auc>0.6", "--metric", "auc<0.7"], ["cccc", "aaaa"]),
            (["--where", "epochs=9"], ["bbbb"]),
            (["--window", "1:4"], ["cccc"]),
            (["--outcome", "failed", "--outcome", "running"], ["ffff", "dddd"]),
            (["--kind", "trial"], ["eeee"]),
            (["--parent", "20130701-0933"], ["eeee"]),
            (["--commit", "0" * 39 + "2"], ["bbbb"]),
            (["--until", "2013-06-01"], []),
            (["--sort", "auc"], ["aaaa", "cccc", "bbbb", "dddd", "ffff", "eirs"]),
            (["--sort", "auc", "--desc", "--limit", "2"], ["bbbb", "cccc"]),
        ],
    )
    def test_options_narrow_and_order(self, runs, options, names):
        assert [name[-4:] for name in listed(runs("list", *options))] == names

    def test_the_order_of_a_metric_says_that_the_data_differ(self, runs):
        said = "These values of auc cannot really be compared, because the runs were evaluated on different data"

        assert f"{said}: span 3, 1,500 rows (2 runs); span 4, 1,500 rows (1 run); --window narrows." in runs(
            "list", "--sort", "auc"
        )
        for options in (["--sort", "auc", "--window", "1:3"], ["--sort", "epochs"], []):
            assert "cannot really be compared" not in runs("list", *options)
        counts = {"span 3, 1,500 rows": 2, "span 4, 1,500 rows": 1}
        assert json.loads(runs("list", "--sort", "auc", "--json"))["evaluated_on"] == counts
        assert json.loads(runs("list", "--json"))["evaluated_on"] is None

    def test_the_columns_show_what_was_asked_for(self, runs):
        lines = runs("list", "--where", "epochs=9", "--sort", "binary_crossentropy").splitlines()

        header, row = "\n".join(lines[:3]), next(line for line in lines if line.startswith("20130701-0931-bbbb"))
        assert {"epochs", "binary_", "crossentropy"} <= {*header.split()}
        assert "0.2877" in row

    def test_a_screenful_unless_more_is_wanted(self, runs, tmp_path):
        seeder = Seeder(sqlite(tmp_path / "metadata.sqlite"))
        for index in range(23):
            seeder.run(f"2013-{index:02d}", 0.6)

        short = runs("list", at=tmp_path)

        assert len(listed(short)) == 20
        assert "20 of 23 runs; --limit 0 shows all." in short
        assert len(listed(runs("list", "--limit", "0", at=tmp_path))) == 23
        assert len(json.loads(runs("list", "--json", at=tmp_path))["runs"]) == 23

    def test_json_is_the_whole_record(self, runs):
        answer = json.loads(runs("list", "--metric", "auc>0.69", "--json"))

        (record,) = answer["runs"]
        assert record["metrics"]["auc"] == 0.7123
        assert record["started"].startswith(f"{BEGIN:%Y-%m-%d}")
        assert record["recorded"] is True
        assert (answer["matching"], answer["all"], answer["unreadable"]) == (1, 7, ["unreadable"])
        assert answer["trials_left_out"] == 1

    def test_a_metric_that_is_no_number_comes_last_and_is_null(self, runs, tmp_path):
        seeder = Seeder(sqlite(tmp_path / "metadata.sqlite"))
        for name, auc in (("2013-a", 0.6), ("2013-b", math.nan), ("2013-c", 0.5)):
            seeder.run(name, auc)

        for direction in ((), ("--desc",)):
            assert listed(runs("list", "--sort", "auc", *direction, at=tmp_path))[-1] == "2013-b"
        answer = json.loads(runs("best", "--json", at=tmp_path), parse_constant=pytest.fail)
        assert answer["run_id"] == "2013-a"
        assert answer["others"][-1]["value"] is None

    def test_theirs_are_told_apart(self, runs):
        assert re.search(r"^theirs .* not ours ", runs("list"), re.MULTILINE)
        assert json.loads(runs("list", "--outcome", "not ours", "--json"))["runs"][0]["recorded"] is False

    def test_nothing_found_is_said(self, runs):
        assert "None of the 7 runs meets this." in runs("list", "--metric", "auc>0.999")


class TestProject:
    """Runs whose use case is in a project of its own."""

    @pytest.fixture
    def project(self, tmp_path) -> Path:
        seeder = Seeder(sqlite(tmp_path / "metadata.sqlite"))
        seeder.of_a_project("2013-one", 0.6, commit="a" * 40)
        seeder.of_a_project("2013-two", 0.7, commit="b" * 40)
        seeder.of_a_project("2013-uncommitted", 0.5, commit=None)
        return tmp_path

    def test_the_commit_of_a_run_is_that_of_the_project(self, runs, project):
        text = runs("list", at=project)
        header, *lines = text.splitlines()
        commits = [line[header.index("commit") :].split()[0] for line in lines if line.startswith("2013")]

        assert commits == ["-", "b" * 8, "a" * 8]
        assert f"code {'b' * 8} instead of {'a' * 8}" in runs("best", at=project)
        assert f", {'a' * 8}, evaluated on" in runs("compare", "2013-one", "2013-two", at=project)

    def test_flightdeck_s_is_shown_as_its_own(self, runs, project):
        text = runs("show", "2013-one", at=project)

        assert f"Code        {'a' * 40}, branch trunk, nothing changed\n" in text
        assert f"Flightdeck  {'f' * 40}, branch main, with changes that are not in it\n" in text
        assert "Code        in no commit\n" in runs("show", "2013-uncommitted", at=project)

    def test_json_has_both(self, runs, project):
        record = json.loads(runs("show", "2013-one", "--json", at=project))

        assert (record["commit"], record["branch"], record["dirty"]) == ("a" * 40, "trunk", False)
        assert record["platform"] == {"commit": "f" * 40, "branch": "main", "dirty": True, "diff": None}
        assert not [name for name in record if name.startswith("use_case")]
        assert json.loads(runs("show", "20130701-0931", "--json"))["platform"] is None


class TestShow:
    """``flightdeck runs show``."""

    def test_everything_of_the_record(self, runs):
        text = runs("show", "20130701-0931")

        for part in (
            "Run 20130701-0931-bbbb   not blessed",
            "auc is 0.7123, and must be at least 0.8",
            f"{2:040x}, with changes that are not in it",
            "train spans 1-2 (3,000 rows), eval span 3 (1,500 rows)",
            "sha256:feed",
            "peak memory 2.0 GiB",
            "20 s of it loading libraries",
            "The champion learned from span 3",
            "Began with  artifact 7, took all layers",
            "+0.0613",
            "at least 0.8",
            "Documents   diff, settings, slices",
        ):
            assert part in text
        rows = [line.split() for line in text.splitlines()]
        assert ["epochs", "9"] in rows
        assert ["Trainer", "done", "12.3", "s", "1,900", "MiB"] in rows

    def test_the_worst_slices_first_and_small_ones_left_out(self, runs):
        lines = [line.split()[0] for line in runs("show", "20130701-0931").splitlines() if line.startswith("kind=")]

        assert lines == [f"kind={index}" for index in (8, 7, 6, 5, 4)]

    def test_theirs_says_so(self, runs):
        text = runs("show", "theirs")

        assert text.startswith("Run theirs   not ours\n")
        assert "Another TFX pipeline recorded this run" in text
        assert "Its executions: 1 complete" in text

    def test_best_and_latest_are_names_and_one_that_runs_may_have_been_killed(self, runs):
        assert runs("show", "best").startswith("Run 20130701-0932-cccc")  # the only one on the newest data
        assert runs("show", "latest").startswith("Run 20130701-0935-ffff   running or killed")

    def test_json_has_the_settings_and_slices_too(self, runs):
        answer = json.loads(runs("show", "20130701-0931", "--json"))

        assert answer["contents"]["settings"] == {"model": {"epochs": 9}}
        assert len(answer["contents"]["slices"]) == 9
        assert answer["nodes"][0]["seconds"] == 12.34

    def test_a_document_is_printed_as_it_is(self, runs):
        assert runs("show", "20130701-0931", "--document", "diff") == "+ [bold]changed[/] line\n"
        assert runs("show", "20130701-0931", "--document", "settings") == "model:\n  epochs: 9\n"
        assert json.loads(runs("show", "20130701-0931", "--document", "settings", "--json"))["model"]["epochs"] == 9


class TestLease:
    """Runs that have not ended, on this machine and on another one."""

    @pytest.fixture(scope="class")
    def where(self, tmp_path_factory) -> Path:
        folder = tmp_path_factory.mktemp("leases")
        seeder = Seeder(sqlite(folder / "metadata.sqlite"))
        me = Owner.me()
        gone = me.model_copy(update={"started": me.started - 60})
        there = me.model_copy(update={"boot": "its own start", "host": "another", "pid": 2**30})
        for name, owner in (("gone", gone), ("lives", me), ("there", there)):
            seeder.run(name, outcome="running", seconds=None, owner=owner, renewed=HEARD)
        seeder.run("ended", 0.7, owner=gone, renewed=HEARD)
        return folder

    @pytest.fixture
    def ask(self, runs: Callable[..., str], where: Path) -> Callable[..., str]:
        return functools.partial(runs, at=where)

    def test_the_list_has_outcome_and_last_sign_of_life(self, ask):
        rows = {line.split()[0]: line for line in ask("list").splitlines() if line.strip()}

        outcomes = {"gone": "killed", "lives": "running", "there": "running", "ended": "pushed"}
        assert {name: outcome for name, outcome in outcomes.items() if f" {outcome} " in rows[name]} == outcomes
        heard = f"{HEARD.astimezone():%Y-%m-%d %H:%M}"
        assert [name for name in outcomes if heard in rows[name]] == ["gone", "lives", "there"]

    def test_it_can_be_filtered_and_is_in_the_json(self, ask):
        (killed,) = json.loads(ask("list", "--outcome", "killed", "--json"))["runs"]

        assert (killed["run_id"], killed["outcome"]) == ("gone", "killed")
        assert datetime.fromisoformat(killed["renewed"]) == HEARD
        (by_condition,) = json.loads(ask("list", "--where", "outcome=killed", "--json"))["runs"]
        assert by_condition["run_id"] == "gone"

    def test_show_says_it_too(self, ask):
        assert ask("show", "gone").startswith("Run gone   killed\n            Last sign of life ")
        assert ask("show", "there").startswith("Run there   running\n            Last sign of life ")
        assert "Last sign of life" not in ask("show", "ended")


class TestBest:
    """``flightdeck runs best``."""

    def test_the_best_and_why_and_those_that_come_next(self, runs, workspace):
        text = runs("best", "--metric", "auc", "--evaluated-on", "3")
        answer = json.loads(runs("best", "--metric", "auc", "--evaluated-on", "3", "--json"))

        assert "Best run    20130701-0931-bbbb   not blessed" in text
        assert "different data" not in text
        assert "Left out    1 run evaluated on other data" in text
        assert (answer["run_id"], answer["value"], answer["of_runs"]) == ("20130701-0931-bbbb", 0.7123, 2)
        assert [other["run_id"][-4:] for other in answer["others"]] == ["aaaa"]
        assert "auc 0.7123, the highest of 2 runs" in text
        assert "epochs 9 instead of 3" in text
        assert listed(text) == ["20130701-0930-aaaa"]
        assert f"flightdeck runs show 20130701-0931-bbbb --set workspace={workspace}" in text

    def test_those_on_other_data_than_the_newest_are_left_out_and_told(self, runs):
        text = runs("best")

        assert "Best run    20130701-0932-cccc" in text
        assert "auc 0.6900, the only run on this data" in text
        assert "Left out    2 runs evaluated on other data: span 3, 1,500 rows (2 runs)" in text
        assert "--evaluated-on 3 ranks these; --evaluated-on any ranks all" in text
        answer = json.loads(runs("best", "--json"))
        assert (answer["run_id"][-4:], answer["of_runs"]) == ("cccc", 1)
        assert answer["evaluated_on"] == {"span 4, 1,500 rows": 1}
        assert answer["left_out"] == {"span 3, 1,500 rows": 2}

    def test_whoever_ranks_all_is_warned(self, runs):
        text = runs("best", "--evaluated-on", "any")

        assert "auc 0.7123, the highest of 3 runs" in text
        assert "Beware      the runs were evaluated on different data" in text
        assert "Left out" not in text
        assert listed(text) == ["20130701-0932-cccc", "20130701-0930-aaaa"]

    def test_a_loss_is_best_when_it_is_low(self, runs):
        text = runs("best", "--metric", "binary_crossentropy", "--outcome", "pushed", "--evaluated-on", "any")

        assert "Best run    20130701-0932-cccc" in text
        assert "binary_crossentropy 0.3100, the lowest of 2 runs" in text


class TestNoteAndTag:
    """``flightdeck runs note`` and ``flightdeck runs tag``."""

    @pytest.fixture
    def own(self, tmp_path) -> Path:
        Seeder(sqlite(tmp_path / "metadata.sqlite")).run("a-run", 0.6)
        return tmp_path

    def test_a_note_is_shown_and_found(self, runs, own):
        said = runs("note", "a-run", "wider [bold] network", at=own)

        assert said == "Noted on run a-run, which has 1 note now.\n"
        assert "Note        wider [bold] network" in runs("show", "a-run", at=own)
        noted = json.loads(runs("list", "--note", "wider", "--json", at=own))
        assert [run["run_id"] for run in noted["runs"]] == ["a-run"]

    def test_a_tag_is_shown_found_and_taken_away(self, runs, own):
        document = json.loads(runs("tag", "a-run", "good", "--json", at=own))
        assert document == {"run_id": "a-run", "tags": ["good"]}
        assert "good" in runs("list", "--tag", "good", at=own)

        assert runs("tag", "a-run", "good", "--remove", at=own) == "Tags of run a-run: none\n"
        assert "None of the 1 runs meets this." in runs("list", "--tag", "good", at=own)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--metric", "acu>0.69"], "did you mean auc"),
        (["list", "--sort", "acu"], "did you mean auc"),
        (["list", "--desc"], "--desc needs --sort"),
        (["list", "--since", "soon"], "is not a time"),
        (["list", "--parent", "nobody"], "has no run nobody"),
        (["show", "2013"], "6 runs begin with 2013"),
        (["show", "nobody"], "has no run nobody"),
        (["show", "unreadable"], "cannot be read"),
        (["show", "20130701-0931", "--document", "setings"], "did you mean settings"),
        (["best", "--metric", "uac"], "did you mean auc"),
        (["best", "--better", "more"], "--better is higher or lower"),
    ],
)
def test_a_mistake_is_one_sentence(flightdeck, workspace, arguments, said):
    refused(flightdeck("runs", *arguments, "--set", f"workspace={workspace}"), said)


@pytest.mark.parametrize("arguments", [["best"], ["note", "a-run", "text"], ["tag", "a-run", "good"]])
def test_without_a_store_nothing_is_answered_and_none_is_made(flightdeck, tmp_path, arguments):
    refused(flightdeck("runs", *arguments, "--set", f"workspace={tmp_path}"), "run the pipeline first")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("question", ["list", "show best", "best"])
def test_no_question_needs_tensorflow(workspace, question):
    heavy = {"tensorflow", "tfx", "apache_beam", "pandas", "pyarrow"}
    imports_none_of(heavy, "runs", *question.split(), "--set", f"workspace={workspace}")
