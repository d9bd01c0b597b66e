"""``flightdeck predict``: batch inference."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import storage
from flightdeck.console import console, noise_into
from flightdeck.options import Options, existing_store
from flightdeck.prepared import prepared_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flightdeck.settings import Settings
    from operations.inference.batch_files import InputFile
    from operations.inference.batch_prediction import Prediction
    from operations.registry import Version
    from operations.registry.records import Records


def predict(
    options: Options,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            parser=storage.at,
            metavar="FILE...",
            help="Parquet or CSV, here or in a bucket. Default: a window of spans.",
        ),
    ] = None,
    window: Annotated[
        str | None, typer.Option(help="Spans FIRST:LAST to predict. Default without files: newest:newest.")
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", parser=storage.at, metavar="FILE", help="Parquet file to write, here or in a bucket."
        ),
    ] = Path("workspace/predictions.parquet"),
    pipeline: Annotated[
        bool | None,
        typer.Option(
            "--pipeline/--no-pipeline",
            help="Through BulkInferrer on Beam. Default: for a window, and for batch.pipeline_rows or more.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Add by how much each column moves the answer; takes some milliseconds a row."),
    ] = False,
) -> None:
    """Let the served version of the model answer for every row of files, or of a window of spans.

    Writes the keys of the rows, the prediction and the version that answered, in the order of the rows. Labels are not
    needed. With --explain there are more columns: `base_value`, the mean answer to some training rows, and
    `why_<column>`, which add up to the prediction - base value.
    """
    from operations.inference import batch_files
    from operations.registry import Registry
    from operations.registry.records import Records

    settings = options.settings
    if files and window:
        raise batch_files.InputError("Either files or a --window can be predicted, not both.")
    if explain and pipeline:
        raise batch_files.InputError("Answers are explained in one process: leave out --pipeline, or --explain.")
    version, records = Registry(settings).served(), Records(settings)
    if files:
        inputs = [batch_files.inspect(file) for file in files]
    else:
        window = window or "newest:newest"
        inputs = [batch_files.inspect(file, span) for file, span in batch_files.of_window(settings.spans, window)]
    if pipeline is None:
        pipeline = not explain and (not files or sum(file.rows for file in inputs) >= settings.batch.pipeline_rows)
    if pipeline and any(file.rows for file in inputs):
        done = _through_pipeline(settings, version, inputs, window, output, records, quiet=options.as_json)
    else:
        done = _in_process(settings, version, inputs, output, records, explain, quiet=options.as_json)
    options.answer(
        {**vars(done), "output": str(done.output), "seconds": round(done.seconds, 3)},
        f"{done.rows:,} predictions of version {done.version} in {output}, {done.seconds:.1f} s",
    )


def _in_process(
    settings: Settings,
    version: Version,
    files: Sequence[InputFile],
    output: Path,
    records: Records,
    explain: bool,
    quiet: bool,
) -> Prediction:
    from rich.progress import Progress as Bar

    from pipeline.workspace import new_run_id

    log = settings.runs / new_run_id() / "run.log"
    log.parent.mkdir(parents=True)
    with noise_into(log) as screen:
        from operations.inference import batch_prediction as prediction

        model, inputs = prediction.prepare(files, version, settings)
        on = console(screen, quiet)
        with Bar(console=on, transient=True, disable=not on.is_terminal) as bar:
            task = bar.add_task("Predicting", total=inputs.rows)
            return prediction.in_process(
                model, version, inputs, output, records, lambda rows: bar.update(task, completed=rows), explain
            )


def _through_pipeline(
    settings: Settings,
    version: Version,
    files: Sequence[InputFile],
    window: str | None,
    output: Path,
    records: Records,
    quiet: bool,
) -> Prediction:
    from ledger.outputs import outputs_of_run
    from operations.inference import batch_prediction as prediction

    model_id = prediction.model_id(version)
    staged = prediction.staging(settings)
    data = settings.data.model_copy(update={"spans": str(staged), "window": "oldest:newest"})
    # On record is the window that was asked for, if any, and not that of the staged rows.
    with prepared_run(settings.model_copy(update={"data": data}), "prediction", quiet, window=window) as run:
        with contextlib.closing(run.progress) as progress:
            progress.note("Checking and staging the rows")
            model, inputs = prediction.prepare(files, version, settings)
            prediction.stage(inputs, staged)
        started = time.monotonic()
        types = {prediction.ROW: "int64", **inputs.types}
        record = run.execute("create_inference_pipeline", model_id, types, list(model.computed))
        seconds = time.monotonic() - started
        if record.outcome == "failed":
            run.screen.write("".join(f"{reason}\n" for reason in record.reasons))
            raise typer.Exit(1)
        made = outputs_of_run(existing_store(settings), run.run_id)
        examples = made["BulkInferrer"]["output_examples"]
        return prediction.collect(examples, run.run_id, model, version, inputs, output, records, seconds)
