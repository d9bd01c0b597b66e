"""What ML Metadata remembers of a sweep itself; its trials are recorded by its workers."""

from __future__ import annotations

import time
from typing import Any

from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_store
from ledger.recorder import Recorder
from ledger.run_record import Runner
from operations.experiments.sweep import plan as plans
from operations.experiments.sweep.plan import SweepPlan
from operations.experiments.sweep.standing import Standing
from pipeline.settings import Settings
from pipeline.stamp import hyperparameters, lease, stamp


def begin(
    connection: metadata_store_pb2.ConnectionConfig,
    plan: SweepPlan,
    settings: Settings,
    resumed: bool = False,
    runner: Runner = "local",
    **further: Any,
) -> float:
    """Records that a sweep begins, or goes on, and returns when it would have begun without a pause."""
    recorder = Recorder(open_store(connection))
    before = 0.0
    if resumed:
        before = recorder.read(plan.sweep_id).seconds or 0.0
        recorder.write(plan.sweep_id, outcome="running", reasons=(), **lease(settings, runner))
    else:
        stamp(
            recorder,
            plan.sweep_id,
            settings,
            kind="sweep",
            runner=runner,
            parent=plan.parent,
            main_metric=plan.objective,
            main_better=plan.better,
            **plan.data,
            **further,
        )
    plans.save(recorder, plan)
    return time.monotonic() - before


def interrupted(
    connection: metadata_store_pb2.ConnectionConfig, plan: SweepPlan, begun: float, error: BaseException
) -> None:
    """Records why a sweep has stopped before its end."""
    reason = "it was interrupted" if isinstance(error, KeyboardInterrupt) else str(error) or type(error).__name__
    _write(connection, plan, begun, outcome="failed", reasons=(reason,))


def end(connection: metadata_store_pb2.ConnectionConfig, plan: SweepPlan, begun: float, standing: Standing) -> None:
    """Records what came of a sweep: the score and the hyperparameters of its best trial."""
    best = standing.best(plan.higher_is_better)
    if best is None:
        _write(connection, plan, begun, outcome="failed", reasons=(failure(standing),))
        return
    model = plans.settings_of(plan, best.values).model.model_dump(mode="json")
    failed = len(standing.failed())
    _write(
        connection,
        plan,
        begun,
        outcome="done",
        reasons=(f"{failed} of {len(standing.trials)} trials failed",) if failed else (),
        metrics=best.metrics or {plan.objective: best.score},
        hyperparameters=hyperparameters(model),
    )


def failure(standing: Standing) -> str:
    """Why a sweep has no result."""
    failed = standing.failed()
    return f"all {len(failed)} trials failed; the first one because {failed[0].error}" if failed else "no trial was run"


def _write(connection: metadata_store_pb2.ConnectionConfig, plan: SweepPlan, begun: float, **fields: Any) -> None:
    seconds = round(time.monotonic() - begun, 3)
    Recorder(open_store(connection)).write(plan.sweep_id, seconds=seconds, **fields)
