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

    from flightdeck.recorded import recorded_run, require_spans
    from operations.ledger import Ledger, LedgerError
    from pipeline import store

    settings = load_settings(config, [*(overrides or ()), f'data.window="{window}"'])
    if not Ledger(store.connection(settings)).has_blessed_model():
        raise LedgerError("There is no blessed model yet: train one with: flightdeck run")
    require_spans(settings)
    with recorded_run(settings, "prediction", quiet=as_json) as run:
        record = run.execute("create_inference_pipeline")
        if record.outcome == "failed":
            run.screen.write("".join(f"{reason}\n" for reason in record.reasons))
            raise typer.Exit(1)
        from operations import predictions

        examples = Ledger(store.connection(settings)).outputs(run.run_id)["BulkInferrer"]["output_examples"]
        keys = [each.name for each in settings.contract().columns if each.role == "key" and each.type == "string"]
        rows = predictions.write_parquet(Path(examples.uri), [*keys, "probability"], output)
        run.screen.write(
            json.dumps({"run_id": run.run_id, "rows": rows, "output": str(output)}) + "\n"
            if as_json
            else f"{rows:,} predictions in {output}\n"
        )
