"""``flightdeck kubeflow sweep``: a search for hyperparameters whose trials are parallel tasks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck import kubeflow
from flightdeck.kubeflow import DEFAULT_CONFIG, Config, Experiment, Image, Parameters, PollSeconds, Wait
from flightdeck.options import Json, Overrides, load_settings, open_ledger
from flightdeck.runs.sweep import Algorithm, Algorithms, Epochs, Objective, Seed, Space, tuning_of

if TYPE_CHECKING:
    from operations.delivery.compiled_pipeline import CompiledPipeline
    from pipeline.settings import Settings


def sweep(
    space: Space = None,
    trials: Annotated[int | None, typer.Option(min=1, help="How many. Default: model.tuning.max_trials.")] = None,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="How many at a time, each in a pod of its own.")] = 4,
    algorithm: Algorithms = Algorithm.RANDOM,
    objective: Objective = None,
    epochs: Epochs = None,
    seed: Seed = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="RUN", help="Search around this run of the metadata store. Default: around the settings."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the pipeline here and submit nothing.", dir_okay=False)
    ] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    image: Image = None,
    parameters: Parameters = None,
    name: Annotated[str | None, typer.Option(help="Default: the use case's name, `sweep` and the time.")] = None,
    experiment: Experiment = None,
    wait: Wait = False,
    poll_seconds: PollSeconds = 5.0,
    as_json: Json = False,
) -> None:
    """Start a sweep: the data once, trials as parallel tasks, then a full run with the best.

    The run's id with `-sweep` is the sweep's in the ledger. A worker that dies is started again and goes on with what
    is left. Parameters: window, trials, push.
    """
    from operations.delivery.kubeflow_api import KubeflowError
    from operations.delivery.submission import job, kubeflow_settings

    settings, cluster = kubeflow_settings(load_settings, config, kubeflow.with_image(overrides, image))
    settings, parent = _around(settings, from_, overrides or [])
    tuning = tuning_of(algorithm, trials, objective, epochs, seed)
    if output is not None:
        if parameters:
            raise KubeflowError("--param is given when a pipeline is submitted, and --output submits nothing.")
        compiled = _compiled(settings, space, tuning, output, parallel, parent, as_json)
        kubeflow.print_compiled(compiled, output, as_json)
        return
    client = kubeflow.connected(cluster)
    with tempfile.TemporaryDirectory() as folder:
        compiled = _compiled(settings, space, tuning, Path(folder) / "sweep.yaml", parallel, parent, as_json)
    name = name or f"{settings.use_case.name} sweep {kubeflow.now()}"
    kubeflow.start(client, job(settings, compiled, name, experiment, parameters or ()), wait, poll_seconds, as_json)


def _around(settings: Settings, name: str | None, overrides: list[str]) -> tuple[Settings, str | None]:
    """The settings of the trials, and the run around which is searched, if one is named."""
    if name is None:
        return settings, None
    from ledger.runs import Runs
    from operations.experiments.sweep import plan

    runs = Runs(open_ledger(settings))
    parent = runs.find(name)
    if "settings" not in parent.documents:
        raise plan.SweepError(f"Run {parent.run_id} was made by another program: its settings are not known.")
    return plan.settings_around(parent, runs.document(parent, "settings"), settings, overrides), parent.run_id


def _compiled(
    settings: Settings,
    space: Path | None,
    tuning: dict[str, object],
    output: Path,
    parallel: int,
    parent: str | None,
    quiet: bool,
) -> CompiledPipeline:
    from operations.experiments.sweep.space import searching

    settings = searching(settings, space, tuning)
    trials = settings.model.tuning.max_trials

    def write() -> None:
        from operations.experiments.sweep.cluster import PROGRAM
        from pipeline.runners import kubeflow_sweep

        kubeflow_sweep.compile_sweep(settings, output, PROGRAM, min(parallel, trials), trials, parent)

    return kubeflow.compiled_by(write, output, quiet)
