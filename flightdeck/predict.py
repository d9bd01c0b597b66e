"""``flightdeck predict``: batch inference."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings

if TYPE_CHECKING:
    from operations.batch.files import Inputs
    from operations.batch.prediction import Prediction
    from operations.registry import Version
    from operations.registry.records import Records
    from operations.serving.model import LoadedModel
    from pipeline.settings import Settings


def predict(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="FILE...", help="Parquet or CSV. Default: a window of spans.")
    ] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    window: Annotated[
        str | None, typer.Option(help="Spans FIRST:LAST to predict. Default without files: newest:newest.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.", dir_okay=False)] = Path(
        "workspace/predictions.parquet"
    ),
    pipeline: Annotated[
        bool | None,
        typer.Option(
            "--pipeline/--no-pipeline",
            help="Through BulkInferrer on Beam. Default: for a window, and for batch.pipeline_rows or more.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Let the served version of the model answer for every row of files, or of a window of spans.

    Writes the keys of the rows, the prediction and the version that answered, in the order of the rows. Labels are not
    needed.
    """
    import json

    from flightdeck.console import noise_into
    from operations.batch import files as batch_files
    from operations.registry import Registry
    from operations.registry.records import Records
    from pipeline.workspace import new_run_id

    settings = load_settings(config, overrides)
    if files and window:
        raise batch_files.InputError("Either files or a --window can be predicted, not both.")
    version, records = Registry(settings).served(), Records(settings)
    chosen = files or batch_files.of_window(settings.spans, window or "newest:newest")
    found = [batch_files.inspect(each) for each in chosen]
    through = pipeline
    if through is None:
        through = not files or sum(each.rows for each in found) >= settings.batch.pipeline_rows
    run_id = new_run_id()
    log = settings.runs / run_id / "run.log"
    log.parent.mkdir(parents=True)
    with noise_into(log) as screen:
        from operations.batch import prediction

        model = prediction.load(version)
        inputs = batch_files.check(found, prediction.types(model), settings.contract())
        job = _Job(settings, version, model, inputs, output, records, run_id)
        done = (_through_pipeline if through and inputs.rows else _in_process)(job, screen, quiet=as_json)
        if done is None:
            raise typer.Exit(1)
        if as_json:
            told = {**vars(done), "output": str(done.output), "seconds": round(done.seconds, 3)}
            screen.write(json.dumps(told, indent=2) + "\n")
        else:
            screen.write(f"{done.rows:,} predictions of version {done.version} in {output}, {done.seconds:.1f} s\n")


class _Job:
    """What both ways need."""

    def __init__(
        self,
        settings: Settings,
        version: Version,
        model: LoadedModel,
        inputs: Inputs,
        output: Path,
        records: Records,
        run_id: str,
    ) -> None:
        self.settings, self.version, self.model = settings, version, model
        self.inputs, self.output, self.records, self.run_id = inputs, output, records, run_id


def _in_process(job: _Job, screen: object, quiet: bool) -> Prediction:
    from rich.progress import Progress as Bar

    from flightdeck.console import console
    from operations.batch import prediction

    on = console(screen)  # pyright: ignore[reportArgumentType]
    with Bar(console=on, transient=True, disable=quiet or not on.is_terminal) as bar:
        task = bar.add_task("Predicting", total=job.inputs.rows)
        return prediction.in_process(
            job.model,
            job.version,
            job.inputs,
            job.output,
            job.records,
            lambda rows: bar.update(task, completed=rows),
        )


def _through_pipeline(job: _Job, screen: object, quiet: bool) -> Prediction | None:
    """Returns None if the pipeline failed, which is then on the screen."""
    from flightdeck.console import Progress, console
    from operations.batch import prediction
    from operations.ledger import Ledger
    from pipeline import store
    from pipeline.workspace import exclusive

    settings = job.settings
    model_id = prediction.model_id(job.version)
    on = console(screen)  # pyright: ignore[reportArgumentType]
    on.quiet = quiet
    progress = Progress(on)
    with exclusive(settings):
        try:
            progress.note("Checking and staging the rows")
            staged = prediction.staging(settings)
            prediction.stage(job.inputs, staged)
            progress.note("Loading TFX")
            from pipeline.definition import create_inference_pipeline
            from pipeline.runners import local

            data = settings.data.model_copy(update={"spans": str(staged), "window": "oldest:newest"})
            made = create_inference_pipeline(
                settings.model_copy(update={"data": data}),
                model_id,
                prediction.staged_types(job.inputs),
                list(job.model.outputs),
            )
            started = time.monotonic()
            outcome = local.run(made, job.run_id, store.connection(settings), progress)
            seconds = time.monotonic() - started
        finally:
            progress.close()
        if not outcome.succeeded:
            failure = outcome.failure
            told = f"{failure.node_id} failed: {failure.error}" if failure else "Interrupted."
            screen.write(told + "\n")  # pyright: ignore[reportAttributeAccessIssue]
            return None
        examples = Ledger(store.connection(settings)).outputs(job.run_id)["BulkInferrer"]["output_examples"]
        return prediction.collect(
            examples, job.run_id, job.model, job.version, job.inputs, job.output, job.records, seconds
        )
