"""``flightdeck runs sweep``: a more thorough search around a run, and a full run with what it found."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.console import print_json
from flightdeck.options import Options, existing_store
from flightdeck.prepared import prepared_run, require_spans
from flightdeck.runs import sweep_page

if TYPE_CHECKING:
    from ledger.run_record import RunRecord
    from ledger.run_view import RunView
    from operations.experiments.sweep.plan import SweepPlan
    from operations.experiments.sweep.standing import Standing, Trial
    from pipeline.settings import Settings


class Algorithm(StrEnum):
    """How the next trial is chosen."""

    RANDOM = "random"
    HYPERBAND = "hyperband"
    BAYESIAN = "bayesian"


Space = Annotated[
    Path | None,
    typer.Option(
        help="YAML: `model.learning_rate: {min: 1e-4, max: 1e-2, sampling: log}`, `model.hidden_units: [[64], [128, "
        "64]]`. Default: the space of the settings (model.tuning.search).",
        dir_okay=False,
    ),
]
Algorithms = Annotated[
    Algorithm, typer.Option(help="hyperband trains many briefly and few as long as --epochs; bayesian learns from all.")
]
Objective = Annotated[
    str | None, typer.Option(metavar="METRIC", help="val_auc or val_loss, on the newest training rows.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Of a trial, at most. Default: as many as the run.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Of the search. Default: that of the model.")]


def sweep(
    options: Options,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="A run, or the beginning of its name; `latest`; or `best`, as `runs best` finds it.",
        ),
    ] = None,
    space: Space = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many. Default: model.tuning.max_trials.")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="How many at a time, each in a process of its own.")] = 1,
    algorithm: Algorithms = Algorithm.RANDOM,
    objective: Objective = None,
    epochs: Epochs = None,
    seed: Seed = None,
    window: Annotated[
        str, typer.Option(metavar="FIRST:LAST", help="Spans of the final run; the trials learn from the run's own.")
    ] = "oldest:newest",
    final: Annotated[bool, typer.Option(help="Make a full run with the winner.")] = True,
    resume: Annotated[
        str | None,
        typer.Option(metavar="SWEEP", help="Go on with a sweep that was stopped or killed, as it was begun."),
    ] = None,
) -> None:
    """Search for better hyperparameters around a run, then make a full run with the best.

    Trials learn from the data that the run has ingested and analysed, and are judged by the newest of its training
    rows; the evaluation split stays unseen. A sweep that was killed goes on with --resume: finished trials are not
    repeated. A trial that fails is recorded, and the sweep goes on.

    Exit code: 0; 1 if every trial failed, or the final run did; 2 for what cannot be begun.
    """
    from ledger.recorder import Recorder
    from ledger.runs import Runs
    from operations.experiments.sweep import plan as plans

    if (from_ is None) == (resume is None):
        raise plans.SweepError(
            "Say around which run to search with --from RUN, or which sweep shall go on with --resume."
        )
    here = options.settings
    if resume is None:
        tuning = tuning_of(algorithm, trials, objective, epochs, seed)
        plan = _planned(str(from_), here, space, tuning, options.overrides)
    else:
        store = options.store()
        plan = plans.load(Recorder(store), Runs(store).find(resume).run_id)
        plan = plan if trials is None else plan.model_copy(update={"trials": trials})
    plan, standing = _search(plan, parallel, resumed=resume is not None, as_json=options.as_json)
    best = standing.best(plan.higher_is_better)
    final_run = _final(plan, best, window, options.as_json) if best is not None and final else None
    if options.as_json:
        print_json(sweep_page.document(plan, standing, final_run))
    raise typer.Exit(1 if best is None or (final_run is not None and final_run.record.outcome == "failed") else 0)


def tuning_of(
    algorithm: Algorithm, trials: int | None, objective: str | None, epochs: int | None, seed: int | None
) -> dict[str, Any]:
    """What the command says about the search: fields of `model.tuning`."""
    given = {"algorithm": str(algorithm), "max_trials": trials, "objective": objective, "epochs": epochs, "seed": seed}
    return {name: value for name, value in given.items() if value is not None}


def settings_around(name: str, here: Settings, overrides: Sequence[str]) -> tuple[RunRecord, Settings]:
    """A run, and the settings of trials around it.

    Raises:
        SweepError: its settings are not known, or an override does not fit.
    """
    from ledger.runs import Runs
    from operations.experiments.sweep import plan as plans

    runs = Runs(existing_store(here))
    parent = runs.find(name)
    if "settings" not in parent.documents:
        raise plans.SweepError(f"Run {parent.run_id} was made by another program: its settings are not known.")
    return parent, plans.settings_around(parent, runs.document(parent, "settings"), here, overrides)


def _planned(
    name: str, here: Settings, space: Path | None, tuning: dict[str, Any], overrides: Sequence[str]
) -> SweepPlan:
    from operations.experiments.sweep import plan as plans
    from operations.experiments.sweep.space import searching
    from pipeline.workspace import new_run_id

    parent, settings = settings_around(name, here, overrides)
    settings = searching(settings, space, tuning)
    trials = settings.model.tuning.max_trials
    return plans.make(existing_store(here), new_run_id(), parent, settings, trials, parent.run_id)


def _search(plan: SweepPlan, parallel: int, resumed: bool, as_json: bool) -> tuple[SweepPlan, Standing]:
    from ledger.recorder import renewing
    from operations.experiments.sweep import local, record
    from operations.experiments.sweep import plan as plans
    from pipeline import store

    settings = plans.settings_of(plan)
    connection = store.connection(settings)
    name = plan.sweep_id
    with prepared_run(settings, "sweep", quiet=as_json, known=name) as run:
        begun = record.begin(connection, plan, settings, resumed)
        page = sweep_page.Page(plan, parallel, run.output)
        try:
            with renewing(connection, name):
                standing = local.run(plan, connection, parallel, run.folder, page.watched)
        except BaseException as error:
            page.close()
            record.interrupted(connection, plan, begun, error)
            if isinstance(error, KeyboardInterrupt):
                run.output.print(f"Interrupted; go on with: flightdeck runs sweep --resume {name}")
                raise typer.Exit(1) from None
            raise
        page.close()
        record.end(connection, plan, begun, standing)
        page.print_result(standing)
        return plan, standing


def _final(plan: SweepPlan, best: Trial, window: str, as_json: bool) -> RunView:
    from flightdeck.run import report
    from operations.experiments.sweep import plan as plans

    settings = plans.settings_of(plan, best.values)
    settings = settings.model_copy(update={"data": settings.data.model_copy(update={"window": window})})
    require_spans(settings)
    with prepared_run(settings, "run", quiet=as_json, parent=plan.sweep_id) as run:
        # Quiet, if JSON is wanted: it is one document.
        return report(run, run.execute("create_pipeline"), as_json=False)
