"""``flightdeck predict``: batch inference."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flightdeck.options import DEFAULT_CONFIG, Config, Json, Overrides, load_settings


def predict(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    window: Annotated[str, typer.Option(help="Spans FIRST:LAST to predict.")] = "newest:newest",
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.", dir_okay=False)] = Path(
        "workspace/predictions.parquet"
    ),
    as_json: Json = False,
) -> None:
    """Let the latest blessed model answer for every row of a window of spans, with or without labels.

    Writes the keys of the rows and the predicted probability.
    """
    import json

    from flightdeck.console import Progress, console, noise_into
    from operations.ledger import Ledger, LedgerError
    from pipeline import store
    from pipeline.workspace import exclusive, new_run_id

    settings = load_settings(config, [*(overrides or ()), f'data.window="{window}"'])
    if not Ledger(store.connection(settings)).has_blessed_model():
        raise LedgerError("There is no blessed model yet: train one with: flightdeck run")
    with exclusive(settings):
        run_id = new_run_id()
        log = settings.runs / run_id / "run.log"
        log.parent.mkdir(parents=True)
        with noise_into(log) as screen:
            on = console(screen)
            on.quiet = as_json
            progress = Progress(on)
            progress.note("Loading TensorFlow and TFX")
            try:
                from operations import predictions
                from pipeline.definition import create_inference_pipeline
                from pipeline.runners import local

                outcome = local.run(create_inference_pipeline(settings), run_id, store.connection(settings), progress)
            finally:
                progress.close()
            if not outcome.succeeded:
                failure = outcome.failure
                screen.write(f"{failure.node_id} failed: {failure.error}\n" if failure else "Interrupted.\n")
                raise typer.Exit(1)
            examples = Ledger(store.connection(settings)).outputs(run_id)["BulkInferrer"]["output_examples"]
            keys = [each.name for each in settings.contract().columns if each.role == "key" and each.type == "string"]
            rows = predictions.write_parquet(Path(examples.uri), [*keys, "probability"], output)
            screen.write(
                json.dumps({"run_id": run_id, "rows": rows, "output": str(output)}) + "\n"
                if as_json
                else f"{rows:,} predictions in {output}\n"
            )
