"""Workers and the oracle: the same sweep whoever runs it and however often they die, and no finished trial twice."""

import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from data.contract import Target
from flightdeck.settings import read_settings
from ledger.lease import Owner
from ledger.opening import open_store
from ledger.recorder import Recorder
from operations.experiments.sweep import plan, record
from operations.experiments.sweep.chain import Chain
from operations.experiments.sweep.space import searching
from operations.experiments.sweep.standing import Standing
from pipeline import store
from tests.world import LOCAL

pytestmark = pytest.mark.component
SEARCH = {
    "learning_rate": {"min": 0.0001, "max": 0.1, "sampling": "log"},
    "hidden_units": [[16], [64, 32], [128]],
    "dropout": {"min": 0.0, "max": 0.5},
    "cross_layers": {"min": 0, "max": 3},
    "deterministic": [True, False],
}


class Dead(BaseException):
    """A worker is killed."""


class Job:
    """A sweep in a store of its own, whose trainings are a formula."""

    def __init__(self, folder: Path, algorithm: str, trials: int = 9) -> None:
        folder.mkdir()
        tuning = {"algorithm": algorithm, "max_trials": trials, "epochs": 9, "search": SEARCH, "seed": 7}
        self.settings = searching(read_settings(LOCAL, [f"workspace={folder}"]), None, tuning)
        self.connection = store.connection(self.settings)
        self.plan = plan.SweepPlan(
            sweep_id="sweep",
            parent=None,
            source="run",
            settings=self.settings.document(),
            trials=trials,
            examples="nowhere",
            transform_graph="nowhere",
            logs=str(folder / "logs"),
        )
        self.folder = folder
        self.trained: Counter[str] = Counter()
        record.begin(self.connection, self.plan, self.settings)

    def worker(self, name: str = "one", dies_on: tuple[int, ...] = (), fails_on: tuple[int, ...] = ()) -> Any:
        """A worker that dies in, or fails in, the trainings of some trials. It looks dead as soon as it is."""
        from models import tasks, tuning
        from operations.experiments.sweep.search import Worker

        job = self

        class Search(tuning.Search):
            def run_trial(self, trial: Any) -> dict[str, float]:
                if int(trial.trial_id) in dies_on:
                    raise Dead
                job.trained[trial.trial_id] += 1
                if int(trial.trial_id) in fails_on:
                    raise RuntimeError("out of luck")
                return super().run_trial(trial)

        def train(values: Any, logs: str | None) -> dict[str, float]:
            rate = -((math.log10(values["learning_rate"]) + 2) ** 2)
            return {"val_auc": 0.5 + 0.1 * rate + 0.01 * values.get("tuner/epochs", 9) - 0.1 * values["dropout"]}

        oracle = tuning._oracle(self.settings.model, tasks.head(Target(label="late")), seed=7)
        search = Search(oracle, train, str(self.folder / name))
        worker = Worker(self.plan, self.connection, search, renew_seconds=0.05, pause_seconds=0.05)
        worker._me = Owner.me().model_copy(update={"pid": 2**30})
        return worker

    def outcome(self) -> list[tuple[dict[str, Any], float, str]]:
        """Hyperparameters, score and state of each trial."""
        standing = Standing()
        standing.apply(Chain(open_store(self.connection), "sweep").refresh())
        trials = (standing.trials[number] for number in sorted(standing.trials))
        return [(trial.values, trial.score or 0.0, trial.state) for trial in trials]


@pytest.mark.parametrize("algorithm", ["random", "bayesian", "hyperband"])
def test_a_sweep_is_the_same_whoever_runs_it_and_however_often_they_die(tmp_path, algorithm) -> None:
    whole = Job(tmp_path / "whole", algorithm)
    whole.worker().run()

    broken = Job(tmp_path / "broken", algorithm)
    for name, trial in (("two", 0), ("three", 4), ("four", 4), ("five", 7)):
        with pytest.raises(Dead):
            broken.worker(name, dies_on=(trial,)).run()
    standing = broken.worker("six").run()

    assert broken.outcome() == whole.outcome()
    assert len(standing.trials) == 9
    assert set(broken.trained.values()) == set(whole.trained.values()) == {1}
    # A search, and not nine times the same.
    assert len({str(values) for values, _, _ in whole.outcome()}) == 9


def test_hyperband_trains_the_promising_ones_longer(tmp_path) -> None:
    job = Job(tmp_path / "job", "hyperband", trials=14)
    job.worker().run()

    outcome = job.outcome()
    longer = [values for values, _, _ in outcome if values["tuner/round"] > 0]
    assert longer
    for values in longer:
        first, score, _ = outcome[int(values["tuner/trial_id"])]
        assert values["tuner/epochs"] > first["tuner/epochs"]
        assert values["learning_rate"] == first["learning_rate"]
        peers = sorted(peer for other, peer, _ in outcome if other["tuner/round"] == first["tuner/round"])
        assert score >= peers[len(peers) // 2]


def test_two_workers_at_once_share_the_trials(tmp_path) -> None:
    job = Job(tmp_path / "job", "random")
    workers = [job.worker("one"), job.worker("two")]
    for worker in workers:
        worker._me = Owner.me()
    with ThreadPoolExecutor() as pool:
        list(pool.map(type(workers[0]).run, workers, timeout=120))

    assert [state for _, _, state in job.outcome()] == ["done"] * 9
    assert set(job.trained.values()) == {1}


def test_a_failed_trial_ends_neither_the_sweep_nor_the_oracle(tmp_path) -> None:
    job = Job(tmp_path / "job", "bayesian")
    recorder = Recorder(open_store(job.connection))
    recorder.write("sweep", use_case_commit="a" * 40, use_case_branch="trunk", use_case_dirty=True)
    standing = job.worker(fails_on=(0, 1, 2, 3, 4)).run()

    assert [state for _, _, state in job.outcome()] == ["failed"] * 5 + ["done"] * 4
    assert standing.best(True) is not None
    failed = recorder.read("sweep-000")
    assert (failed.kind, failed.parent, failed.outcome) == ("trial", "sweep", "failed")
    assert "out of luck" in failed.reasons[0]
    # As its sweep's, whose use case is in a project of its own.
    assert failed.code == recorder.read("sweep").code
    assert failed.code.short() == "aaaaaaaa+"


def test_a_trial_that_kills_every_worker_is_given_up(tmp_path) -> None:
    job = Job(tmp_path / "job", "random")
    for name in ("two", "three", "four"):
        with pytest.raises(Dead):
            job.worker(name, dies_on=(3,)).run()
    job.worker("five", dies_on=(3,)).run()

    states = [state for _, _, state in job.outcome()]
    assert states == ["done"] * 3 + ["failed"] + ["done"] * 5
    assert set(job.trained.values()) == {1}
