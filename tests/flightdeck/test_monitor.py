"""``flightdeck monitor`` on real months, served by a real model: clean ones, and one with a broken sensor."""

import json
import shlex
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest

from flightdeck.settings import read_settings
from operations.observability import dashboards, trial
from tests.flightdeck.conftest import refused
from tests.services.prometheus import installed
from tests.world import LOCAL, World

pytestmark = pytest.mark.e2e
# A month of flights is asked for in a day each.
DAYS = {3: datetime(2013, 7, 1, tzinfo=UTC), 4: datetime(2013, 7, 2, tzinfo=UTC), 5: datetime(2013, 7, 3, tzinfo=UTC)}


METRICS = (
    "evaluation.metrics=[{name: AUC, better: higher, at_least: 0.4},"
    " {name: LogLoss, module: components.evaluation.row_metrics},"
    " {name: RowCount, module: components.evaluation.row_metrics}]"
)


def monitored(world: World, now: str = "2013-08-01T00:00:00") -> dict:
    return world.json("monitor", "--now", now)


def paste(world: World, *others: dict) -> tuple[str, datetime]:
    """Runs the command that a service shows, then asks with other rows by it: the first answer, and the day logged."""
    with world.serving() as (_, shown):
        answer = subprocess.run(shown, shell=True, capture_output=True, text=True, check=True).stdout
        for row in others:
            asked = [*shlex.split(shown)[:2], json.dumps({"instances": [row]}), shlex.split(shown)[3]]
            subprocess.run(asked, capture_output=True, check=True)
    (day,) = (world.workspace / "payloads").iterdir()
    return answer, datetime.fromisoformat(day.name).replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory):
    """A model that has learned from January and was evaluated on February, and has answered nobody."""
    workspace = tmp_path_factory.mktemp("trained")
    made = World(workspace, workspace / "spans", (METRICS, "model.batch_size=2048"))
    made.spans.mkdir()
    for span in (1, 2):
        shutil.copytree(prepared / f"span-{span:03d}", made.spans / f"span-{span:03d}")
    made.run()
    return made


@pytest.fixture(scope="module")
def deck(trained, prepared, tmp_path_factory):
    """The same model, which has answered for March to May."""
    made = trained.copy(tmp_path_factory.mktemp("workspace"))
    for span, day in DAYS.items():
        rows = pd.read_parquet(prepared / f"span-{span:03d}")
        if span == 5:
            rows["temp"] = (rows["temp"] - 32) / 1.8
        made.answer(rows, day)
    return made


@pytest.fixture(scope="module")
def first(deck):
    return monitored(deck)


@pytest.fixture(scope="module")
def labelled(deck, first, prepared):
    shutil.copytree(prepared / "span-003", deck.spans / "span-003")
    return monitored(deck)


def exceeded(window: dict, kind: str) -> set[str]:
    return {signal["subject"] for signal in window["signals"] if signal["exceeded"] and signal["kind"] == kind}


def test_each_window_is_measured_with_all_its_requests(first, prepared):
    assert [window["name"] for window in first["measured"]] == ["2013-07-01", "2013-07-02", "2013-07-03"]
    rows = [pq.read_metadata(next((prepared / f"span-{span:03d}").glob("*"))).num_rows for span in DAYS]
    assert [window["rows"] for window in first["measured"]] == rows
    assert [window["labelled"] for window in first["measured"]] == [0, 0, 0]


def test_real_months_without_a_fault_raise_no_alarm_about_the_data(first):
    for window in first["measured"][:2]:
        assert [exceeded(window, kind) for kind in ("drift", "missing", "unseen")] == [set()] * 3


def test_a_sensor_that_reports_celsius_is_named_and_people_are_told(deck, first):
    broken = first["measured"][2]

    assert "temp" in exceeded(broken, "drift")
    assert exceeded(broken, "missing") == set()
    meanings = [signal["meaning"] for signal in broken["signals"] if signal["kind"] == "drift"]
    assert [meaning for meaning in meanings if meaning.startswith("temp: the Jensen-Shannon divergence")]
    alerts = [json.loads(line) for line in (deck.workspace / "alerts" / "alerts.jsonl").read_text().splitlines()]
    assert any("temp" in alert["title"] for alert in alerts)


def test_quality_is_measured_when_the_labels_arrive_and_decided_on_once_more(first, labelled, prepared):
    (window,) = labelled["measured"]
    of_quality = [signal for signal in window["signals"] if signal["kind"] == "quality"]
    quality = {signal["name"]: signal for signal in of_quality if not signal["subject"]}
    slices = {signal["subject"] for signal in of_quality if signal["subject"]}

    assert window["name"] == "2013-07-01"
    assert window["labelled"] == window["rows"]
    assert 0.5 < quality["auc"]["low"] < quality["auc"]["value"] < quality["auc"]["high"] < 0.9
    assert quality["log_loss"]["low"] < quality["log_loss"]["value"] < quality["log_loss"]["high"]
    assert slices == {"origin=EWR", "origin=JFK", "origin=LGA"}
    assert [decision["window"] for decision in labelled["decisions"]] == ["2013-07-01+labels"]


def test_what_was_served_is_compared_with_what_was_ingested_of_the_same_rows(deck, labelled, prepared):
    (clean,) = labelled["measured"]
    shutil.copytree(prepared / "span-005", deck.spans / "span-005")

    (broken,) = monitored(deck)["measured"]

    assert exceeded(clean, "skew") == set()
    assert any(signal["kind"] == "skew" for signal in clean["signals"])
    # The span has Fahrenheit, what was served had Celsius.
    assert exceeded(broken, "skew") == {"temp"}


def test_people_see_a_table_and_prometheus_its_gauges(deck, labelled):
    screen = deck.says("monitor", "--now", "2013-08-01T00:00:00")
    gauges = (deck.workspace / "monitoring" / "flightdeck.prom").read_text()

    assert "2013-07-03" in screen
    assert "temp" in screen
    assert 'flightdeck_monitor_exceeded{kind="drift"' in gauges
    temp = [line for line in gauges.splitlines() if 'subject="temp"' in line and "exceeded" in line and "drift" in line]
    assert [line.rpartition(" ")[2] for line in temp] == ["1.0"]


@pytest.fixture(scope="module")
def rounded(deck, labelled, prepared, tmp_path_factory):
    """The same, with labels for the latest window, a round of the loop, and a canary."""
    made = deck.copy(tmp_path_factory.mktemp("rounded"))
    for span in (4, 5):
        name = f"span-{span:03d}"
        shutil.copytree(prepared / name, made.spans / name, dirs_exist_ok=True)
    monitored(made)
    made.says("watch", "--once", overrides=("continuous.level=0",))
    (version,) = (made.workspace / "models").glob("*/*")
    shutil.copytree(version, version.parents[1] / f"{version.parent.name}-canary" / "2")
    return made


def test_prometheus_has_a_series_for_every_panel(rounded):
    installed("prometheus")
    settings = read_settings(LOCAL, [*rounded.options()[1::2], "canary.mode=shadow"])
    with trial.running(settings) as tried:
        assert tried.prometheus.wait_for_series("flightdeck_serving_canary_version > 0")
        tried.break_contract()
        queries = {
            (board.title, panel.title, query.expression)
            for board in dashboards.ALL
            for panel in board.panels
            for query in panel.queries
        }
        silent = {query for query in queries if not tried.prometheus.wait_for_series(query[-1], 20)}

    assert not silent


def test_operators_are_shown_the_alarms_of_faults_and_of_what_the_workspace_holds(rounded):
    alarms = rounded.json("observe", "--once")

    names = [alarm["labels"]["alertname"] for alarm in alarms]
    assert names[:2] == ["FlightdeckRefusedRows", "FlightdeckServiceDown"]
    assert all(alarm["state"] == "firing" and alarm["annotations"]["description"] for alarm in alarms)
    # Its sensor reports Celsius.
    assert {"temp"} <= {alarm["labels"].get("subject") for alarm in alarms if alarm["labels"].get("kind") == "drift"}
    # What was sent is in no log that the monitor reads.
    assert not list((rounded.workspace / "payloads").glob(f"{datetime.now(UTC):%Y-%m-%d}"))


def test_a_window_that_has_not_ended_waits(deck, first):
    now = (DAYS[3] + timedelta(hours=12)).isoformat()[:19]

    assert monitored(deck, now)["measured"] == []


def test_a_model_that_is_served_and_never_logged_is_an_error_and_an_alert(trained, tmp_path):
    silent = trained.copy(tmp_path)
    later = (datetime.now(UTC) + timedelta(days=5)).isoformat(timespec="seconds").removesuffix("+00:00")

    said = silent.says("monitor", "--now", later, expect=2)

    (version,) = silent.versions()
    assert f"Nothing can be monitored: version {version} is served" in said
    (alert,) = silent.json("alerts", "list")
    assert (alert["title"], alert["severity"]) == ("late-flights: nothing is monitored", "warning")


# What the screen showed before versions carried a real row: somebody may still try the like of it.
MADE_UP = {"string": "text", "float32": 1.5, "int64": 1}


@pytest.mark.parametrize("made_up", [False, True])
def test_a_request_that_is_pasted_from_the_screen_decides_nothing(trained, prepared, tmp_path, made_up):
    from operations.inference.model import load

    tried = trained.copy(tmp_path)
    (folder,) = (tried.workspace / "models").glob("*/*")
    columns = load(folder, int(folder.name)).inputs.columns.values()
    others = [{column.name: MADE_UP[column.dtype] for column in columns}] if made_up else []
    answer, day = paste(tried, *others)
    ((probability,),) = json.loads(answer)["predictions"]
    tried.answer(pd.read_parquet(prepared / "span-003").sample(4706, random_state=1), day)

    seen = monitored(tried, f"{day + timedelta(days=1):%Y-%m-%dT00:00:00}")

    (window,) = seen["measured"]
    assert 0 < probability < 1
    assert window["rows"] >= 4706 + 1
    assert {signal["kind"] for signal in window["signals"]} >= {"drift", "missing", "unseen"}
    assert [signal["meaning"] for signal in window["signals"] if signal["exceeded"]] == []
    assert [decision["action"] for decision in seen["decisions"]] == ["none"]


def test_without_a_store_there_is_one_sentence(flightdeck, tmp_path):
    refused(flightdeck("monitor", "--set", f"workspace={tmp_path}"), "run the pipeline first")
