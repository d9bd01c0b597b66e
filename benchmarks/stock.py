"""The pipeline as TFX's documentation wires it: its own components with their defaults, on LocalDagRunner.

The preprocessing, the training and the metrics are those of the pipeline. The rows come as CSV with the columns that
the pipeline ingests: TFX's executor for Parquet takes every 0 for a missing value. `benchmarks.pipeline` runs this
beside it:

    python -m benchmarks.stock --config config/local.yaml --data FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from flightdeck.settings import Settings, read_settings

_METADATA = "metadata.sqlite"


def create_pipeline(settings: Settings, data: Path, folder: Path) -> Any:
    """The same nodes as in `pipeline.definition`, as far as TFX has them."""
    from tfx import v1 as tfx
    from tfx.proto import example_gen_pb2

    from models.features import FeatureSettings

    use_case, label = settings.use_case, settings.contract().label
    features = FeatureSettings.model_validate(settings.features.model_dump()).model_dump(mode="json")
    split = example_gen_pb2.Input.Split
    examples = tfx.components.CsvExampleGen(
        input_base=str(data),
        input_config=example_gen_pb2.Input(
            splits=[split(name="train", pattern="train/*.csv"), split(name="eval", pattern="eval/*.csv")]
        ),
    )
    statistics = tfx.components.StatisticsGen(examples=examples.outputs["examples"])
    schema = tfx.components.ImportSchemaGen(schema_file=str(use_case.schema_file))
    validator = tfx.components.ExampleValidator(
        statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]
    )
    transform = tfx.components.Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=use_case.preprocessing_fn,
        custom_config={"features": features, "label": label},
    )
    trainer = tfx.components.Trainer(
        run_fn=use_case.run_fn,
        examples=examples.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        custom_config={"features": features, "model": settings.model.model_dump(mode="json"), "label": label},
        train_args=tfx.proto.TrainArgs(splits=["train"]),
        eval_args=tfx.proto.EvalArgs(splits=["eval"]),
    )
    champion = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("Champion")
    evaluator = tfx.components.Evaluator(
        examples=examples.outputs["examples"],
        example_splits=["eval"],
        model=trainer.outputs["model"],
        baseline_model=champion.outputs["model"],
        eval_config=_evaluation(settings, label),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(base_directory=str(folder / "pushed"))
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=str(folder / "artifacts"),
        components=[examples, statistics, schema, validator, transform, trainer, champion, evaluator, pusher],
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            str(folder / _METADATA)
        ),
        beam_pipeline_args=list(settings.beam.args),
        enable_cache=False,
    )


def _evaluation(settings: Settings, label: str) -> Any:
    """The metrics and slices of the settings, with TFMA's own classes."""
    import tensorflow_model_analysis as tfma

    stock = {"LogLoss": "BinaryCrossentropy", "RowCount": "ExampleCount"}
    names = [stock.get(metric.name, metric.name) for metric in settings.evaluation.metrics]
    floor = tfma.MetricThreshold(value_threshold=tfma.GenericValueThreshold(lower_bound={"value": 0.5}))
    return tfma.EvalConfig(
        model_specs=[tfma.ModelSpec(signature_name="serving_default", label_key=label)],
        slicing_specs=[
            tfma.SlicingSpec(),
            *(tfma.SlicingSpec(feature_keys=list(columns)) for columns in settings.evaluation.slices),
        ],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name=name, threshold=floor if name == "AUC" else None) for name in names
                ]
            )
        ],
    )


def main() -> None:
    """Runs it, and writes what was done into ``result.json``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--data", type=Path, required=True, help="train/ and eval/ with CSV files of the columns")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    settings = read_settings(options.config, options.overrides)
    began = time.monotonic()
    from tfx import v1 as tfx

    imports = time.monotonic() - began
    tfx.orchestration.LocalDagRunner().run(create_pipeline(settings, options.data, options.out))
    result = _result(options.out)
    result["nodes"] = {"imports": {"seconds": imports}, **result["nodes"]}
    (options.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _result(folder: Path) -> dict[str, Any]:
    """What was done, from TFX's own records of it."""
    import ml_metadata
    import tensorflow_data_validation as tfdv
    from tfx import v1 as tfx

    from ledger.outputs import RUN, executions_of_run, outputs_of_run
    from pipeline import evaluation

    connection = tfx.orchestration.metadata.sqlite_metadata_connection_config(str(folder / _METADATA))
    store = ml_metadata.MetadataStore(connection)
    (run,) = store.get_contexts_by_type(RUN)
    outputs = outputs_of_run(store, run.name)
    counted = Path(outputs["StatisticsGen"]["statistics"].uri)
    statistics = {
        split: tfdv.load_stats_binary(str(counted / f"Split-{split}" / "FeatureStats.pb")).datasets[0]
        for split in ("train", "eval")
    }
    overall, *slices = evaluation.results(outputs["Evaluator"]["evaluation"].uri)
    return {
        "rows": {split: part.num_examples for split, part in statistics.items()},
        "columns": [len(part.features) for part in statistics.values()],
        "slices": len(slices),
        "metrics": overall.challenger,
        "nodes": {
            node: {"seconds": (execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000}
            for node, execution in executions_of_run(store, run.name).items()
        },
    }


if __name__ == "__main__":
    main()
