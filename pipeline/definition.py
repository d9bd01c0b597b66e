"""The one pipeline definition. Nobody else constructs a component; runners differ in runner matters only."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence

from tfx.components import (
    BulkInferrer,
    Evaluator,
    ExampleValidator,
    Pusher,
    SchemaGen,
    StatisticsGen,
    Trainer,
    Transform,
    Tuner,
)
from tfx.dsl.components.base.base_beam_component import BaseBeamComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import bulk_inferrer_pb2, pusher_pb2, trainer_pb2, transform_pb2
from tfx.types import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from components.base_model import BaseModelStrategy
from components.champion import ChampionStrategy
from components.chosen_model import ChosenModelStrategy
from components.curated_schema import CuratedSchema
from components.data_gate import DataGate
from components.infra_validator import InfraValidator
from components.scores import Scores
from components.span_example_gen import SpanExampleGen
from pipeline import evaluation, fingerprint
from pipeline.settings import Settings, SettingsError, portable

# What may be changed when a compiled pipeline is submitted, without compiling it again: a window of spans, and the
# Trainer's configuration as JSON. Their defaults are the settings'.
WINDOW = "window"
TRAINING = "training"


@dataclasses.dataclass(frozen=True)
class _Learning:
    """The first part of a pipeline, from spans to a trained model."""

    nodes: list[BaseNode]
    examples: SpanExampleGen
    schema: BaseNode
    trainer: Trainer


def _learning(
    settings: Settings, base: Callable[[SpanExampleGen], tuple[BaseNode, Channel]] | None = None
) -> _Learning:
    """The first part of a pipeline.

    Args:
        settings: say what is learned from what.
        base: makes the node, and names its output, that finds the model whose weights training begins with.
    """
    use_case, contract = settings.use_case, settings.contract()

    examples = SpanExampleGen(
        input_base=settings.spans,
        columns=contract.ingested(),
        ignored=contract.ignored(),
        window=RuntimeParameter(WINDOW, str, settings.data.window),
        eval_spans=settings.data.eval_spans,
    )
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    inferred_schema = SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    schema = CuratedSchema(
        schema_file=portable(use_case.schema_file), digest=fingerprint.file_digest(use_case.schema_file)
    )
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    gate = DataGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        anomalies=anomalies.outputs["anomalies"],
        severity=settings.gate.severity,
    )

    features = settings.features.model_dump(mode="json")
    transform = Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn=use_case.preprocessing_fn,
        # What Transform depends on and nothing else, so that another learning rate does not analyse the data again.
        custom_config={
            "features": features,
            "label": contract.label,
            "code": fingerprint.code_digest(use_case.preprocessing_fn),
        },
        splits_config=transform_pb2.SplitsConfig(analyze=["train"]),
        # The Trainer applies the transform graph in its input pipeline: writing the transformed examples and
        # computing their statistics costs more than all of the training.
        materialize=False,
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    # No data that failed the gate is ever learned from.
    transform.add_upstream_node(gate)

    learning = {
        "examples": examples.outputs["examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema.outputs["schema"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
    }
    training = {"features": features, "model": settings.model.model_dump(mode="json"), "label": contract.label}
    tuner = None
    if settings.tuning.enabled:
        tuner = Tuner(
            tuner_fn=use_case.tuner_fn,
            custom_config={**training, "code": fingerprint.code_digest(use_case.tuner_fn)},
            **learning,
        )
    base_node, base_model = base(examples) if base else (None, None)
    trainer = Trainer(
        run_fn=use_case.run_fn,
        base_model=base_model,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        custom_config=RuntimeParameter(
            TRAINING, str, json.dumps({**training, "code": fingerprint.code_digest(use_case.run_fn)}, sort_keys=True)
        ),
        **learning,
    )
    nodes = [examples, statistics, inferred_schema, schema, anomalies, gate, base_node, transform, tuner, trainer]
    return _Learning([node for node in nodes if node is not None], examples, schema, trainer)


def _newest_base(examples: SpanExampleGen) -> tuple[BaseNode, Channel]:
    """Finds the base model as a run does: the newest blessed one that may be begun with."""
    base = Resolver(
        strategy_class=BaseModelStrategy,
        examples=examples.outputs["examples"],
        model=Channel(type=Model),
        model_blessing=Channel(type=ModelBlessing),
    ).with_id("BaseModel")
    return base, base.outputs["model"]


def create_pipeline(settings: Settings) -> Pipeline:
    """The training pipeline: a window of spans in, a validated and pushed model out.

    Args:
        settings: where everything that may differ between two runs is written.

    Returns:
        A pipeline that any runner can compile. It does not know the metadata store: that is reached with credentials,
        which only a running process has.
    """
    learning = _learning(settings, _newest_base if settings.training.warm_start else None)
    examples, schema, trainer = learning.examples, learning.schema, learning.trainer
    champion = Resolver(
        strategy_class=ChampionStrategy,
        candidate=trainer.outputs["model"],
        model=Channel(type=Model),
        model_blessing=Channel(type=ModelBlessing),
    ).with_id("Champion")
    evaluator = Evaluator(
        examples=examples.outputs["examples"],
        example_splits=["eval"],
        model=trainer.outputs["model"],
        baseline_model=champion.outputs["model"],
        eval_config=evaluation.configuration(settings.evaluation, settings.contract().label),
        module_path="components.evaluation.batched_extracts",
        schema=schema.outputs["schema"],
    )
    infra_validator = InfraValidator(
        model=trainer.outputs["model"],
        examples=examples.outputs["examples"],
        requests=settings.infra_validation.requests,
        server=settings.infra_validation.server,
        load_seconds=settings.infra_validation.load_seconds,
        answer_seconds=settings.infra_validation.answer_seconds,
    )
    scores = Scores(
        model=trainer.outputs["model"],
        examples=examples.outputs["examples"],
        label=settings.contract().label,
        columns=sorted({column for crossed in settings.evaluation.slices for column in crossed}),
        importance_rows=settings.evaluation.importance_rows,
    )
    nodes = [*learning.nodes, champion, evaluator, scores, infra_validator]
    if settings.push.enabled:
        nodes.append(
            Pusher(
                model=trainer.outputs["model"],
                model_blessing=evaluator.outputs["blessing"],
                infra_blessing=infra_validator.outputs["blessing"],
                push_destination=pusher_pb2.PushDestination(
                    filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=settings.pushed_to)
                ),
            )
        )
    return _pipeline(settings, settings.use_case.name, nodes)


def create_reproduction_pipeline(settings: Settings, base_model: str | None = None) -> Pipeline:
    """Trains and measures a model once more, for comparison with the run that made it.

    It cannot become the champion: the pipeline has a name of its own, by which TFX scopes the models and blessings that
    other pipelines find; and nothing is blessed, because the evaluation asks nothing of the model. It is not pushed.

    Args:
        settings: of the run that is made again, without its Tuner: `model` holds what that found.
        base_model: where the Model artifact is whose weights that run began with; None if it began anew.
    """
    if settings.tuning.enabled or settings.cache:
        raise SettingsError("A reproduction neither searches hyperparameters again nor reuses results.")

    def recorded(_: SpanExampleGen) -> tuple[BaseNode, Channel]:
        # Not by a resolver: the models of other pipelines are out of its sight.
        base = Importer(source_uri=str(base_model), artifact_type=Model).with_id("BaseModel")
        return base, base.outputs["result"]

    learning = _learning(settings, recorded if base_model else None)
    evaluator = Evaluator(
        examples=learning.examples.outputs["examples"],
        example_splits=["eval"],
        model=learning.trainer.outputs["model"],
        eval_config=evaluation.configuration(settings.evaluation.without_thresholds(), settings.contract().label),
        module_path="components.evaluation.batched_extracts",
        schema=learning.schema.outputs["schema"],
    )
    return _pipeline(settings, f"{settings.use_case.name}-reproduction", [*learning.nodes, evaluator])


def create_inference_pipeline(
    settings: Settings,
    model_id: int,
    columns: Mapping[str, str] | None = None,
    outputs: Sequence[str] = ("probability",),
) -> Pipeline:
    """Batch inference: a chosen model answers for every row of a window of spans, labelled or not.

    The output examples hold the ingested columns and the predictions.

    Args:
        settings: `data` says where the spans are, and which.
        model_id: of the Model artifact, such as that of the served version. After a rollback, this is not the newest.
        columns: what the spans hold: name -> type. Default: the columns of the contract, its keys included.
        outputs: of the model's signature, to be written as columns of the same names.
    """
    contract = settings.contract()
    ignored: list[str] = []
    if columns is None:
        keys = {
            column.name: "string" for column in contract.columns if column.role == "key" and column.type == "string"
        }
        columns = {**contract.ingested(labelled=False), **keys}
        ignored = [name for name in contract.ignored(labelled=False) if name not in keys]
    examples = SpanExampleGen(
        input_base=settings.spans,
        columns=columns,
        ignored=ignored,
        window=settings.data.window,
        eval_spans=0,
    )
    # What was asked of the model, to be compared with what it learned from.
    statistics = StatisticsGen(examples=examples.outputs["examples"])
    model = Resolver(
        strategy_class=ChosenModelStrategy, config={"model_id": model_id}, model=Channel(type=Model)
    ).with_id("ServedModel")
    inferrer = BulkInferrer(
        examples=examples.outputs["examples"],
        model=model.outputs["model"],
        data_spec=bulk_inferrer_pb2.DataSpec(example_splits=["all"]),
        model_spec=bulk_inferrer_pb2.ModelSpec(model_signature_name=["serving_default"]),
        output_example_spec=bulk_inferrer_pb2.OutputExampleSpec(
            output_columns_spec=[
                bulk_inferrer_pb2.OutputColumnsSpec(
                    predict_output=bulk_inferrer_pb2.PredictOutput(
                        output_columns=[
                            bulk_inferrer_pb2.PredictOutputCol(output_key=name, output_column=name) for name in outputs
                        ]
                    )
                )
            ]
        ),
    )
    return _pipeline(settings, settings.use_case.name, [examples, statistics, model, inferrer])


def _pipeline(settings: Settings, name: str, nodes: list[BaseNode]) -> Pipeline:
    parallel = {node.id: node for node in nodes if isinstance(node, BaseBeamComponent)}
    if unknown := settings.beam.components.keys() - parallel.keys():
        raise SettingsError(
            f"beam.components: {', '.join(sorted(unknown))} does not run on Beam; choose among {', '.join(parallel)}."
        )
    for node_id, node in parallel.items():
        # Not the pipeline's own arguments: TFX would put a component's after those instead of in their place.
        node.with_beam_pipeline_args(list(settings.beam.components.get(node_id, settings.beam.args)))
    return Pipeline(
        pipeline_name=name,
        pipeline_root=settings.artifacts,
        components=nodes,
        enable_cache=settings.cache,
    )
