"""What the containers of a sweep on Kubeflow run: ``python -m operations.experiments.sweep.cluster work|final``.

``work`` is a worker. ``final`` is a task of the training pipeline (`pipeline.task`) with the best hyperparameters.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_store
from ledger.recorder import Recorder, RecordError, renewing
from ledger.run_record import sweep_of
from operations.experiments.sweep import plan as plans
from operations.experiments.sweep import record
from operations.experiments.sweep.chain import Chain
from operations.experiments.sweep.plan import SweepError, SweepPlan
from operations.experiments.sweep.standing import Standing
from pipeline.store import from_environment

PROGRAM = ("python", "-m", "operations.experiments.sweep.cluster")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a task of a sweep.

    Returns:
        The exit code: 1 if every trial failed, or a node of the final run.
    """
    what, *rest = sys.argv[1:] if arguments is None else arguments
    if what == "final":
        return _final(rest)
    return _work(_parser().parse_args(rest))


def _work(given: argparse.Namespace) -> int:
    """Runs trials until there are no more; the first worker writes the plan, which all would write alike."""
    from operations.experiments.sweep import search
    from pipeline.task import NOBODY

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    connection = from_environment(retries=5)
    store = open_store(connection)
    sweep, known = _plan(store, given)
    settings = plans.settings_of(sweep)
    further = {} if given.submitted_by in (None, NOBODY) else {"user": given.submitted_by}
    begun = record.begin(connection, sweep, settings, resumed=known, runner="kubeflow", **further)
    with renewing(connection, sweep.sweep_id):
        standing = search.work(sweep, connection)
    record.end(connection, sweep, begun, standing)
    Path(given.page).parent.mkdir(parents=True, exist_ok=True)
    Path(given.page).write_text(page(sweep, standing), encoding="utf-8")
    if standing.best(sweep.higher_is_better) is None:
        print(f"The sweep failed: {record.failure(standing)}", file=sys.stderr)
        return 1
    return 0


def _plan(store: ml_metadata.MetadataStore, given: argparse.Namespace) -> tuple[SweepPlan, bool]:
    """The plan of the sweep, and whether a worker has written it down already."""
    from pipeline.task import decode_settings

    recorder, sweep_id = Recorder(store), sweep_of(given.run_id)
    try:
        return plans.load(recorder, sweep_id), True
    except (RecordError, SweepError):  # there is a run of that name as soon as the first worker begins to write
        source = recorder.read(given.run_id)
        settings = decode_settings(given.settings, given.window, {})
        return plans.make(store, sweep_id, source, settings, given.trials, given.around), False


def _final(arguments: Sequence[str]) -> int:
    """Runs the nodes of a task with the hyperparameters of the best trial."""
    from pipeline import task

    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--run-id", required=True)
    sweep_id = sweep_of(parser.parse_known_args(arguments)[0].run_id)
    connection = from_environment(retries=5)
    return task.main([*_training(connection, sweep_id), *arguments])


def _training(connection: metadata_store_pb2.ConnectionConfig, sweep_id: str) -> list[str]:
    """The hyperparameters of a sweep's best trial as arguments of `pipeline.task`; `SweepError` if it has none."""
    store = open_store(connection)
    sweep = plans.load(Recorder(store), sweep_id)
    standing = Standing()
    standing.apply(Chain(store, sweep_id).refresh())
    best = standing.best(sweep.higher_is_better)
    if best is None:
        raise SweepError(f"The sweep {sweep_id} has no result: {record.failure(standing)}.")
    model = plans.settings_of(sweep, best.values).model.model_dump(mode="json")
    print(f"The best of {len(standing.trials)} trials is {best.number}: {sweep.objective} {best.score}", flush=True)
    searched = [name for name in best.values if not name.startswith("tuner/")]
    return [part for name in searched for part in ("--training", f"model.{name}", json.dumps(model[name]))]


def page(sweep: SweepPlan, standing: Standing) -> str:
    """The trials as Markdown, best first, for Kubeflow's user interface."""
    sign = -1 if sweep.higher_is_better else 1
    names = sorted({name for trial in standing.trials.values() for name in trial.values if "/" not in name})
    rows = [["trial", sweep.objective, *names, "seconds"], ["---"] * (len(names) + 3)]
    for trial in sorted(standing.done(), key=lambda trial: sign * (trial.score or 0.0)):
        values = [str(trial.values.get(name)) for name in names]
        rows.append([str(trial.number), f"{trial.score:.5f}", *values, f"{trial.seconds}"])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    failed = [f"\nTrial {trial.number} failed: {trial.error}" for trial in standing.failed()]
    return "\n".join([f"# Sweep {sweep.sweep_id}", "", *lines, *failed, ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m operations.experiments.sweep.cluster work", description=_work.__doc__
    )
    parser.add_argument("--settings", required=True, help="of the trials, from `pipeline.task.encode_settings`")
    parser.add_argument("--run-id", required=True, help="the run that made the data, and that the sweep is named after")
    parser.add_argument("--window", required=True, help="the window of spans")
    parser.add_argument("--trials", required=True, type=int, help="how many there shall be")
    parser.add_argument("--around", help="the run around which is searched")
    parser.add_argument("--submitted-by", help="the person who submitted it")
    parser.add_argument("--page", required=True, help="file for the table of trials")
    return parser


if __name__ == "__main__":
    sys.exit(main())
