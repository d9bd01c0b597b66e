"""The pipeline as TFX's documentation wires it: its own components with their defaults, on LocalDagRunner.

The preprocessing, the network and the metrics are those of the pipeline, and `benchmarks.stock_training` trains as that
documentation does. The rows come as CSV, with the columns that the pipeline ingests: the executor that TFX has for
Parquet takes every 0 for a missing value. `benchmarks.pipeline` runs this beside it:

    python -m benchmarks.stock --config config/local.yaml --data FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import ml_metadata
import psutil
import pyarrow.parquet as pq
import tensorflow_data_validation as tfdv
import tensorflow_model_analysis as tfma
from tfx.components import (
    CsvExampleGen,
    Evaluator,
    ExampleValidator,
    Pusher,
    StatisticsGen,
    Trainer,
    Transform,
)
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import LatestBlessedModelStrategy
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, pusher_pb2, trainer_pb2
from tfx.types import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from data.schema_diff import curated
from flightdeck.settings import Settings, read_settings
from ledger.outputs import RUN, executions_of_run, outputs_of_run
from models.features import FeatureSettings
from models.settings import ModelSettings
from pipeline import evaluation

_METADATA = "metadata.sqlite"


def create_pipeline(settings: Settings, data: Path, folder: Path) -> Pipeline:
    """The same nodes as in `pipeline.definition`, as far as TFX has them."""
    use_case, label = settings.use_case, settings.contract().label
    target = settings.contract().target.model_dump(mode="json")
    features = FeatureSettings.model_validate(settings.features.model_dump()).model_dump(mode="json")
    split = example_gen_pb2.Input.Split
    examples = CsvExampleGen(
        input_base=str(data),
        input_config=example_gen_pb2.Input(
            splits=[split(name="train", pattern="train/*.csv"), split(name="eval", pattern="eval/*.csv")]
        ),
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    # Without the labels of other tasks on the same rows.
    schema_file = str(folder / "schema.pbtxt")
    tfdv.write_schema_text(curated(use_case.schema_file, settings.contract()), schema_file)
    schema = ImportSchemaGen(schema_file=schema_file)
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    transform = Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=use_case.preprocessing_fn,
        custom_config={"features": features, "label": label},
    )
    trainer = Trainer(
        run_fn="benchmarks.stock_training.run_fn",
        examples=examples.outputs["examples"],
        transform_graph=transform.outputs["transform_graph"],
        schema=schema.outputs["schema"],
        custom_config={"features": features, "model": settings.model.model_dump(mode="json"), "target": target},
        train_args=trainer_pb2.TrainArgs(splits=["train"], num_steps=_steps(settings, data)),
        eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
    )
    champion = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=Model),
        model_blessing=Channel(type=ModelBlessing),
    ).with_id("Champion")
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        example_splits=["eval"],
        model=trainer.outputs["model"],
        baseline_model=champion.outputs["model"],
        eval_config=_evaluation(settings, label),
    )
    pusher = Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(folder / "pushed"))
        ),
    )
    return Pipeline(
        pipeline_name="stock",
        pipeline_root=str(folder / "artifacts"),
        components=[examples, statistics, schema, validator, transform, trainer, champion, evaluator, pusher],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(folder / _METADATA)),
        beam_pipeline_args=list(settings.beam.args),
        enable_cache=False,
    )


def _steps(settings: Settings, data: Path) -> int:
    """The steps of all epochs."""
    model = ModelSettings.model_validate(settings.model.model_dump())
    rows = sum(pq.read_metadata(file).num_rows for file in data.glob("train/*.parquet"))
    return -(-rows // model.batch_size) * model.epochs


def _evaluation(settings: Settings, label: str) -> tfma.EvalConfig:
    """The metrics and slices of the settings, with TFMA's own classes."""
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
    imports = time.time() - psutil.Process().create_time()
    LocalDagRunner().run(create_pipeline(settings, options.data, options.out))
    result = _result(options.out)
    result["nodes"] = {"imports": {"seconds": imports}, **result["nodes"]}
    (options.out / "result.json").write_text(json.dumps(result), encoding="utf-8")


def _result(folder: Path) -> dict[str, Any]:
    """What was done, from TFX's own records of it."""
    connection = metadata.sqlite_metadata_connection_config(str(folder / _METADATA))
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
