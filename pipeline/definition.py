"""The one pipeline definition. Nobody else constructs a component; runners differ in runner matters only."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence

from google.protobuf import json_format
from tfx.components import (
    BulkInferrer,
    Evaluator,
    ExampleValidator,
    Pusher,
    SchemaGen,
    Trainer,
    Tuner,
)
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import bulk_inferrer_pb2, pusher_pb2, trainer_pb2
from tfx.types import Channel
from tfx.types.standard_artifacts import Model, ModelBlessing

from components.base_model import BaseModelStrategy
from components.curated_schema import CuratedSchema
from components.data_gate.component import DataGate
from components.infra_validator.component import InfraValidator
from components.resolvers import ChampionStrategy, ChosenModelStrategy
from components.scores.component import Scores
from components.span_example_gen.component import SpanExampleGen
from components.span_example_gen.request import TF_EXAMPLE
from components.statistics import statistics_gen
from components.transform import transform
from pipeline import component_code, evaluation, fingerprint
from pipeline.section import SettingsError
from pipeline.settings import Evaluation, Settings, portable

# What may be changed when a compiled pipeline is submitted, without compiling it again: a window of spans, and the
# Trainer's configuration as JSON. Their defaults are the settings'.
WINDOW = "window"
TRAINING = "training"


@dataclasses.dataclass(frozen=True)
class _Data:
    """Examples that passed the gate, and the schema that they were checked against."""

    nodes: list[BaseNode]
    examples: Channel
    schema: Channel
    gate: BaseNode


def _data(settings: Settings) -> _Data:
    """From spans of files to examples that may be learned from."""
    use_case, contract = settings.use_case, settings.contract()

    # Reads a window of spans; the newest ones are the evaluation split.
    examples = SpanExampleGen(
        input_base=settings.spans,
        columns=contract.ingested(),
        ignored=contract.ignored(),
        window=RuntimeParameter(WINDOW, str, settings.data.window),
        eval_spans=settings.data.eval_spans,
    )
    # Describes each split: counts, missing values, distributions.
    statistics = statistics_gen(examples.outputs["examples"])
    # Infers a schema, only to compare the curated one with.
    inferred_schema = SchemaGen(statistics=statistics.outputs["statistics"], infer_feature_shape=True)
    # Takes the schema that people review.
    schema = CuratedSchema(
        schema_file=portable(use_case.schema_file, settings.project),
        digest=fingerprint.file_digest(use_case.schema_file),
        ignored=list(contract.ignored()),
    )
    # Records where the statistics break the schema.
    anomalies = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    # Stops the run if they do.
    gate = DataGate(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        anomalies=anomalies.outputs["anomalies"],
        severity=settings.gate.severity,
    )
    nodes = [examples, statistics, inferred_schema, schema, anomalies, gate]
    return _Data(nodes, examples.outputs["examples"], schema.outputs["schema"], gate)


def _training(settings: Settings, data: _Data, base_model: Channel | None) -> tuple[list[BaseNode], Channel]:
    """From examples to a trained model, which begins with the weights of `base_model` if there is one."""
    use_case, target = settings.use_case, settings.contract().target
    features = settings.features.model_dump(mode="json")

    # Learns vocabularies and scaling, as a graph that training, evaluation and serving share.
    graph = transform(
        rows=data.examples,
        schema=data.schema,
        preprocessing_fn=use_case.preprocessing_fn,
        # What Transform depends on and nothing else, so that another learning rate does not analyse the data again.
        custom_config={
            "features": features,
            "label": target.label,
            "code": fingerprint.code_digest(use_case.preprocessing_fn),
        },
    )
    # No data that failed the gate is ever learned from.
    graph.add_upstream_node(data.gate)

    learning = {
        "examples": data.examples,
        "transform_graph": graph.outputs["transform_graph"],
        "schema": data.schema,
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
    }
    config = {
        "features": features,
        "model": settings.model.model_dump(mode="json"),
        "target": target.model_dump(mode="json"),
    }
    # Searches hyperparameters, if asked to.
    tuner = None
    if settings.tuning.enabled:
        tuner = Tuner(
            tuner_fn=use_case.tuner_fn,
            custom_config={**config, "code": fingerprint.code_digest(use_case.tuner_fn)},
            **learning,
        )
    # Trains the network and exports it with the transform graph and its signatures.
    trainer = Trainer(
        run_fn=use_case.run_fn,
        base_model=base_model,
        hyperparameters=tuner.outputs["best_hyperparameters"] if tuner else None,
        custom_config=RuntimeParameter(
            TRAINING, str, json.dumps({**config, "code": fingerprint.code_digest(use_case.run_fn)}, sort_keys=True)
        ),
        **learning,
    )
    nodes = [graph, tuner, trainer] if tuner else [graph, trainer]
    return nodes, trainer.outputs["model"]


def _evaluation(
    settings: Settings, data: _Data, asked: Evaluation, model: Channel, champion: Channel | None = None
) -> tuple[BaseNode, Evaluator]:
    """From a model to a judgement, which compares it with the champion if there is one."""
    contract, task = settings.contract(), settings.task()
    kept = {(column.name,) for column in contract.sensitive}.union(evaluation.slices(asked, contract.sensitive))
    # Asks both models once about each evaluated row, and keeps their answers: for the Evaluator, and so that two models
    # can be compared beyond noise.
    scores = Scores(
        model=model,
        baseline_model=champion,
        examples=data.examples,
        target=contract.target.model_dump_json(),
        columns=sorted({column for crossed in kept for column in crossed}),
        importance_rows=asked.importance_rows,
        # Not passed where there are none, so that what was compiled before stays as it was.
        **({"groups": json.dumps(groups)} if (groups := evaluation.groups(contract.sensitive)) else {}),
    )
    # Blesses the model if it reaches the thresholds and is no worse than the champion on the same rows.
    evaluator = Evaluator(
        examples=scores.outputs["predictions"],
        example_splits=["eval"],
        model=model,
        baseline_model=champion,
        eval_config=evaluation.configuration(asked, task, contract.sensitive),
        module_path="components.evaluation.batched_extracts",
    )
    return scores, evaluator


def create_pipeline(settings: Settings) -> Pipeline:
    """The training pipeline: a window of spans in, a validated and pushed model out.

    Returns:
        A pipeline that any runner can compile. It does not know the metadata store: that is reached with credentials,
        which only a running process has.
    """
    data = _data(settings)
    # Finds the newest blessed model that training may begin with, if asked to.
    base = None
    if settings.training.warm_start:
        base = Resolver(
            strategy_class=BaseModelStrategy,
            examples=data.examples,
            model=Channel(type=Model),
            model_blessing=Channel(type=ModelBlessing),
        ).with_id("BaseModel")
    training, candidate = _training(settings, data, base.outputs["model"] if base else None)

    # Finds the champion: the newest blessed model other than the candidate itself.
    champion = Resolver(
        strategy_class=ChampionStrategy,
        candidate=candidate,
        model=Channel(type=Model),
        model_blessing=Channel(type=ModelBlessing),
    ).with_id("Champion")
    scores, evaluator = _evaluation(settings, data, settings.evaluation, candidate, champion.outputs["model"])
    # Starts a server with the candidate in a fresh process, and has it answer real requests.
    infra_validator = InfraValidator(
        model=candidate,
        examples=data.examples,
        target=settings.contract().target.model_dump_json(),
        **settings.infra_validation.model_dump(),
    )
    nodes = [*data.nodes, *([base] if base else []), *training, champion, scores, evaluator, infra_validator]
    # Copies what both blessed into a numbered folder, which servers watch.
    if settings.push.enabled:
        nodes.append(
            Pusher(
                model=candidate,
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
    data = _data(settings)
    # Not by a resolver: the models of other pipelines are out of its sight.
    base = Importer(source_uri=base_model, artifact_type=Model).with_id("BaseModel") if base_model else None
    training, model = _training(settings, data, base.outputs["result"] if base else None)
    measured = _evaluation(settings, data, settings.evaluation.metrics_only(), model)
    nodes = [*data.nodes, *([base] if base else []), *training, *measured]
    return _pipeline(settings, f"{settings.use_case.name}-reproduction", nodes)


def create_inference_pipeline(
    settings: Settings, model_id: int, columns: Mapping[str, str], outputs: Sequence[str]
) -> Pipeline:
    """Batch inference: a chosen model answers for every row of a window of spans, labelled or not.

    The output examples hold the ingested columns and the predictions.

    Args:
        settings: `data` says where the spans are, and which.
        model_id: of the Model artifact, such as that of the served version. After a rollback, this is not the newest.
        columns: what the spans hold: name -> type.
        outputs: of the model's signature, to be written as columns of the same names; with `predicted_` before one that
            an ingested column has.
    """
    examples = SpanExampleGen(
        input_base=settings.spans,
        columns=columns,
        window=settings.data.window,
        eval_spans=0,
        payload_format=TF_EXAMPLE,  # BulkInferrer reads nothing else
    )
    # What was asked of the model, to be compared with what it learned from.
    statistics = statistics_gen(examples.outputs["examples"])
    model = Resolver(
        strategy_class=ChosenModelStrategy, config={"model_id": model_id}, model=Channel(type=Model)
    ).with_id("ServedModel")
    columns_of = {name: f"predicted_{name}" if name in columns else name for name in outputs}
    written = [{"output_key": name, "output_column": column} for name, column in columns_of.items()]
    inferrer = BulkInferrer(
        examples=examples.outputs["examples"],
        model=model.outputs["model"],
        data_spec=bulk_inferrer_pb2.DataSpec(example_splits=["all"]),
        model_spec=bulk_inferrer_pb2.ModelSpec(model_signature_name=["serving_default"]),
        output_example_spec=json_format.ParseDict(
            {"output_columns_spec": [{"predict_output": {"output_columns": written}}]},
            bulk_inferrer_pb2.OutputExampleSpec(),
        ),
    )
    return _pipeline(settings, settings.use_case.name, [examples, statistics, model, inferrer])


def _pipeline(settings: Settings, name: str, nodes: list[BaseNode]) -> Pipeline:
    component_code.add_fingerprints(nodes)
    # Without Beam's arguments, which TFX would make part of a component's cache key: `pipeline.node` gives them to it.
    return Pipeline(name, settings.artifacts, components=nodes, enable_cache=settings.cache)
