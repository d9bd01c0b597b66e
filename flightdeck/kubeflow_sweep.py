"""``flightdeck kubeflow sweep``: a search for hyperparameters whose trials are parallel tasks."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck import kubeflow
from flightdeck.kubeflow import Experiment, Image, Parameters, PollSeconds, Wait
from flightdeck.options import Options, load_settings
from flightdeck.runs.sweep import Algorithm, Algorithms, Epochs, Objective, Seed, Space, settings_around, tuning_of

if TYPE_CHECKING:
    from operations.delivery.compiled_pipeline import CompiledPipeline


def sweep(
    options: Options,
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
    image: Image = None,
    parameters: Parameters = None,
    name: Annotated[str | None, typer.Option(help="Default: the use case's name, `sweep` and the time.")] = None,
    experiment: Experiment = None,
    wait: Wait = False,
    poll_seconds: PollSeconds = 5.0,
) -> None:
    """Start a sweep: the data once, trials as parallel tasks, then a full run with the best.

    In the ledger, the sweep has the run's name with `-sweep` behind it. A worker that dies is started again and goes
    on with what is left. Parameters: window, trials, push.
    """
    from operations.delivery.kubeflow_api import KubeflowError
    from operations.delivery.own_project import require_its_flightdeck
    from operations.delivery.submission import job, kubeflow_settings
    from operations.experiments.sweep.space import searching

    settings, cluster = kubeflow_settings(load_settings, options.config, kubeflow.with_image(options, image))
    require_its_flightdeck(settings)
    parent = None
    if from_ is not None:
        run, settings = settings_around(from_, settings, options.overrides)
        parent = run.run_id
    settings = searching(settings, space, tuning_of(algorithm, trials, objective, epochs, seed))

    def compiled_into(file: Path) -> CompiledPipeline:
        def write() -> None:
            from operations.experiments.sweep.cluster import PROGRAM
            from pipeline.runners import kubeflow_sweep

            most = settings.model.tuning.max_trials
            kubeflow_sweep.compile_sweep(settings, file, PROGRAM, min(parallel, most), most, parent)

        return kubeflow.compiled_by(write, file, quiet=options.as_json)

    if output is not None:
        if parameters:
            raise KubeflowError("--param is given when a pipeline is submitted, and --output submits nothing.")
        kubeflow.print_compiled(compiled_into(output), output, options)
        return
    client = kubeflow.connected(cluster)
    with tempfile.TemporaryDirectory() as folder:
        compiled = compiled_into(Path(folder) / "sweep.yaml")
    name = name or f"{settings.use_case.name} sweep {kubeflow.now()}"
    kubeflow.start(client, job(settings, compiled, name, experiment, parameters or ()), wait, poll_seconds, options)
