"""Windows of a model that tells classes apart, and of one that predicts a number: what is seen, and what is decided."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data import schema_diff
from flightdeck.settings import read_settings
from ledger.opening import open_store
from ledger.run_record import RunRecord
from ledger.scores import ScoredRows
from operations.inference.payload_table import ID, SECONDS, SHADOW, TIME, VERSION
from operations.monitoring import data_signals, measure
from operations.monitoring.policy import Decision, decide
from operations.monitoring.reference import Reference
from operations.monitoring.served import period_of
from operations.monitoring.signals import Signal, Window
from pipeline import store
from tests.operations.loop.canary.traffic import DAY, label, write_log
from tests.operations.monitoring.worlds import World, backwards, shuffled, world
from tests.world import ROOT

pytestmark = pytest.mark.component
ROWS = 3000
CONFIGS = {"multiclass": "lateness.yaml", "regression": "delay.yaml"}


class Served:
    """A version that is served, day by day, and a monitor that knows how good it was."""

    def __init__(self, task: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        overrides = [f"workspace={workspace}", "monitoring.slices=[[origin]]"]
        self.task, self.settings = task, read_settings(ROOT / "config" / CONFIGS[task], overrides)
        self.evaluated = world(task, ROWS, seed=99)
        self.windows: list[Window] = []
        monkeypatch.setattr(measure, "reference_of", self._reference)

    def _reference(self, _settings, _reader, version: int) -> Reference:
        contract, known = self.settings.contract(), self.evaluated
        schema = schema_diff.curated(self.settings.use_case.schema_file, contract)
        rows = pd.DataFrame({contract.label: known.labels, **self._columns()})
        statistics = data_signals.statistics(rows, schema)
        scored = ScoredRows(known.labels, known.good, pa.table({}), known.task.measures)
        run = RunRecord(run_id="r", started=DAY, metrics=known.expected)
        return Reference(str(version), version, run, statistics, statistics, scored)

    def _columns(self) -> dict[str, object]:
        origin = np.where(np.arange(ROWS) % 3, "JFK", "EWR")
        return {"carrier": "UA", "origin": origin, "distance": np.linspace(100, 1300, ROWS, dtype=np.float32)}

    def day(self, of: World, answers: np.ndarray, labels: np.ndarray) -> tuple[dict[tuple[str, str], Signal], Decision]:
        """One more day on which the version answers; its signals, and what is decided."""
        day = DAY + len(self.windows) * timedelta(days=1)
        names = [f"{day:%d}-{number}" for number in range(ROWS)]
        logged = {
            ID: names,
            TIME: [day + timedelta(seconds=80_000 * number / ROWS) for number in range(ROWS)],
            VERSION: np.full(ROWS, 1),
            SHADOW: np.zeros(ROWS, bool),
            SECONDS: np.full(ROWS, 0.01, np.float32),
            **self._columns(),
            of.task.output: list(answers.astype(np.float32)),
        }
        write_log(Path(self.settings.payloads), logged, names[0])
        label(
            Path(self.settings.spans), len(self.windows) + 1, names, labels, self.settings.contract(), **self._columns()
        )
        monitor = measure.Monitor(self.settings, open_store(store.connection(self.settings)))
        (window,) = monitor.measure(period_of(day, "day"), self.windows)
        decision = decide(self.settings.monitoring.rules, window, self.windows, [], window.end)
        self.windows.append(window)
        return {
            (signal.kind, f"{signal.name}/{signal.subject}" if signal.kind == "quality" else signal.name): signal
            for signal in window.signals
            if signal.kind in ("prediction", "label", "quality")
        }, decision


@pytest.fixture(params=CONFIGS)
def version(request, tmp_path, monkeypatch) -> Served:
    return Served(request.param, tmp_path, monkeypatch)


def test_a_day_like_the_evaluation_asks_for_nothing(version):
    of = world(version.task, ROWS, seed=1)

    signals, decision = version.day(of, of.good, of.labels)

    assert decision.action == "none"
    quality = {
        f"{metric.name}/{of_slice}" for metric in of.task.quality for of_slice in ("", "origin=EWR", "origin=JFK")
    }
    expected = {("prediction", "prediction_distance"), ("label", "jensen_shannon_divergence"), ("label", "auc_kept")}
    assert set(signals) == expected | {("quality", name) for name in quality}
    assert all(signal.value is not None for signal in signals.values())
    assert of.task.summary(of.labels) in signals["label", "jensen_shannon_divergence"].meaning
    kept = Window.model_validate(json.loads(version.windows[0].model_dump_json()))
    assert kept == version.windows[0]


def test_a_worse_model_is_trained_again(version):
    of = world(version.task, ROWS, noise=1.0, seed=2)

    signals, decision = version.day(of, of.noisy, of.labels)

    assert decision.action == "retrain"
    assert signals["quality", f"{of.task.loss.name}/"].exceeded
    assert not signals["quality", f"{of.task.loss.name}/origin=JFK"].exceeded
    assert not signals["label", "auc_kept"].exceeded


@pytest.mark.parametrize("fault", [shuffled, backwards])
def test_labels_that_no_model_tells_from_each_other_are_put_into_quarantine(version, fault):
    of = world(version.task, ROWS, seed=3)

    signals, decision = version.day(of, of.good, fault(of.labels))

    assert signals["label", "auc_kept"].exceeded
    assert (decision.action, decision.spans) == ("quarantine", (1,))
    assert of.task.target.label in decision.why


def test_labels_and_answers_that_have_moved_since_the_day_before_are_seen(version):
    before, moved = world(version.task, ROWS, seed=4), world(version.task, ROWS, seed=5, shift=2.0)
    version.day(before, before.good, before.labels)

    signals, decision = version.day(moved, moved.good, moved.labels)

    assert signals["prediction", "prediction_distance"].exceeded
    drift = signals["label", "jensen_shannon_divergence"]
    assert drift.exceeded
    assert "the last good window (2013-07-01)" in drift.meaning
    assert not signals["label", "auc_kept"].exceeded
    assert decision.action == "quarantine"
