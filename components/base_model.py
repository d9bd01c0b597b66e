"""The resolver strategy that picks the model whose weights a training begins with: a warm start.

TFX's own `LatestBlessedModelStrategy` returns the newest blessed model. On the next run with nothing changed that is
the model which this training has just made, and each repetition would learn the same rows once more, without end and
without the cache. And a run on an older window would begin with a model that has learned what it is judged on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver

from components.resolvers import MODEL_BLESSING_KEY, MODEL_KEY, blessed, maker, require_channels
from components.span_example_gen import request

if TYPE_CHECKING:
    import ml_metadata as mlmd
from components.annotations import Artifacts

EXAMPLES_KEY = "examples"
# Of the Trainer's inputs.
_BASE_MODEL_KEY = "base_model"


@dataclasses.dataclass(frozen=True)
class Ingested:
    """What some examples are made from: spans, ascending, none where the store does not tell.

    `identity` is the same for the same files and the same split.
    """

    train: tuple[int, ...]
    evaluation: tuple[int, ...]
    quarantined: tuple[int, ...]
    identity: tuple[str, ...]


class BaseModelStrategy(resolver.ResolverStrategy):
    """Resolves the newest blessed model that a training on some examples may begin with.

    Passed over is a model that

    - was trained on these very examples, so that a run with nothing changed begins with the same model as before and
      comes from the cache;
    - has learned, itself or by a model that it began with, from a span of the evaluation split: it would be judged on
      what it knows;
    - has so learned from a span that is in quarantine by now.

    The channels without a producer are scoped to the pipeline by its name, as for the champion.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """Returns `examples` as given, and the base model with its blessing; both are empty if training begins anew.

        Raises:
            ValueError: If the channels are not `examples`, `model` and `model_blessing`.
        """
        require_channels(type(self), input_dict, EXAMPLES_KEY, MODEL_KEY, MODEL_BLESSING_KEY)
        now = _ingested(store, input_dict[EXAMPLES_KEY][0].mlmd_artifact)
        for model, blessing in blessed(input_dict[MODEL_KEY], input_dict[MODEL_BLESSING_KEY]):
            history = list(_history(store, model.id))
            learned = {span for ingested in history for span in ingested.train}
            if history and history[0].identity == now.identity:
                continue
            if learned.isdisjoint(now.evaluation) and learned.isdisjoint(now.quarantined):
                return {**input_dict, MODEL_KEY: [model], MODEL_BLESSING_KEY: [blessing]}
        return {**input_dict, MODEL_KEY: [], MODEL_BLESSING_KEY: []}


def learned_spans(store: mlmd.MetadataStore, model_id: int) -> list[int]:
    """The spans that a model has learned from, ascending; empty if the store does not tell.

    Those of the model that its training began with are among them, and so on back to one that began anew.
    """
    return sorted({span for ingested in _history(store, model_id) for span in ingested.train})


def _history(store: mlmd.MetadataStore, model_id: int | None) -> Iterator[Ingested]:
    """What a model was trained on, then what the model was trained on that it began with, and so on."""
    while model_id is not None:
        training = maker(store, model_id)
        inputs = {} if training is None else _inputs(store, training)
        if EXAMPLES_KEY in inputs:
            (examples,) = store.get_artifacts_by_id([inputs[EXAMPLES_KEY]])
            yield _ingested(store, examples)
        model_id = inputs.get(_BASE_MODEL_KEY)


def _ingested(store: mlmd.MetadataStore, examples: metadata_store_pb2.Artifact) -> Ingested:
    """What SpanExampleGen wrote about some examples."""
    facts = {name: value.string_value for name, value in examples.custom_properties.items()}
    spans = sorted(json.loads(facts.get(request.SPANS, "[]")))
    ingestion = maker(store, examples.id)
    held_out = 0
    if ingestion is not None:
        (execution,) = store.get_executions_by_id([ingestion])
        if request.EVAL_SPANS in execution.custom_properties:
            held_out = execution.custom_properties[request.EVAL_SPANS].int_value
    train, evaluation = (spans[:-held_out], spans[-held_out:]) if held_out else (spans, [])
    files = facts.get(request.INPUT_FINGERPRINT, f"artifact {examples.id}")
    quarantined = json.loads(facts.get(request.QUARANTINED, "[]"))
    return Ingested(tuple(train), tuple(evaluation), tuple(quarantined), (files, json.dumps(train)))


def _inputs(store: mlmd.MetadataStore, execution_id: int) -> dict[str, int]:
    """The artifacts that an execution read: key -> id, of each key the first."""
    inputs: dict[str, int] = {}
    for event in store.get_events_by_execution_ids([execution_id]):
        if event.type == metadata_store_pb2.Event.INPUT:
            inputs.setdefault(event.path.steps[0].key, event.artifact_id)
    return inputs
