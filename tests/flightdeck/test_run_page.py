"""What `flightdeck run` prints at its end: commands that can be pasted, and that mean the same settings."""

import dataclasses
import shlex
from datetime import UTC, datetime
from typing import Any

import pytest

from flightdeck.console import console
from flightdeck.options import Options, default_config
from flightdeck.run_page import print_metrics, print_summary
from ledger.fairness import ColumnFairness, Difference, Group, Measured
from ledger.run_record import RunRecord
from ledger.run_view import RunView

pytestmark = pytest.mark.unit


def view_of(outcome: Any, reasons: tuple[str, ...] = ()) -> RunView:
    return RunView(
        RunRecord(
            run_id="r",
            started=datetime(2013, 7, 1, tzinfo=UTC),
            outcome=outcome,
            reasons=reasons,
            hyperparameters={"epochs": 4},
            loading_seconds=1,
            seconds=2,
            peak_mb=3,
        )
    )


def next_steps(capsys, outcome: Any, reasons: tuple[str, ...] = ()) -> list[str]:
    """The lines after "Next" of a run that was given settings, and a window."""
    options = Options(default_config().with_name("own settings.yaml"), ["workspace=/a  folder", "model.epochs=1"])
    print_summary(view_of(outcome, reasons), "run.log", console(), options.typed(), "--window 1:3")
    return capsys.readouterr().out.partition("Next\n")[2].splitlines()


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("it was interrupted", "continues from the last good node"),
        ("Trainer failed: interrupted; its unfinished outputs were removed", "continues from the last good node"),
        ("Trainer failed: no memory", "after fixing the cause: continues from the last good node"),
    ],
)
def test_a_run_that_ended_early_is_continued_with_the_settings_that_it_had(capsys, reason, meaning):
    (line,) = next_steps(capsys, "failed", (reason,))

    assert line.endswith(f"--window 1:3  {meaning}")
    command = shlex.split(line.removesuffix(meaning))
    assert command[:3] == ["flightdeck", "run", "--config"]
    assert command[3].endswith("own settings.yaml")
    assert command[4:] == ["--set", "workspace=/a  folder", "--set", "model.epochs=1", "--window", "1:3"]


@pytest.mark.parametrize("outcome", ["pushed", "blessed", "not blessed"])
def test_every_next_step_has_the_settings_of_the_run(capsys, outcome):
    lines = next_steps(capsys, outcome)

    assert lines
    assert all("--set 'workspace=/a  folder' --set model.epochs=1" in line for line in lines)


@pytest.mark.parametrize(
    ("outcome", "meaning"), [("pushed", "train a challenger"), ("not blessed", "try something else")]
)
def test_what_to_try_next_is_not_what_was_just_run(capsys, outcome, meaning):
    (line,) = [line for line in next_steps(capsys, outcome) if meaning in line]

    assert "--set model.epochs=5  " in line


def test_a_pushed_model_is_served_next(capsys):
    assert any(line.startswith("  flightdeck serve --config ") for line in next_steps(capsys, "pushed"))


def test_the_default_settings_need_no_options():
    assert Options(default_config()).typed() == ""


def test_settings_that_no_options_name_have_no_next_step(capsys):
    print_summary(view_of("pushed"), "run.log", console())

    assert "Next" not in capsys.readouterr().out


def test_differences_between_groups_of_people_are_shown_with_their_intervals_and_gates(capsys):
    pair = Difference(of="late", higher="m", lower="f", difference=0.25, low=0.12, high=0.38)
    measured = {"values": {"f": 0.25, "m": 0.5}, "counted": {"f": 200, "m": 180}}
    shown = Measured(name="selection_rate", **measured, largest=pair, surest=pair, allowed=0.1)
    few = Measured(name="true_positive_rate", **measured, largest=None, surest=None, allowed=None)
    groups = (Group(group="f", rows=200), Group(group="m", rows=180))
    column = ColumnFairness(
        column="sex", feature=False, min_rows=100, groups=groups, ungrouped=0, measures=(shown, few)
    )
    view = view_of("not blessed")
    record = view.record.model_copy(update={"metrics": {"auc": 0.7}, "main_metric": "auc"})
    print_metrics(dataclasses.replace(view, record=record, fairness=(column,)), console())

    out = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "sex selection rate of late 0.2500 0.1200 to 0.3800 m and f not certainly above 0.1" in out
    assert "sex true positive rate - - no two groups of 100 rows" in out
