"""The resolver strategies that pick a model: the champion that a challenger is compared with, or a certain one.

TFX's own `LatestBlessedModelStrategy` returns the newest blessed model, which is the candidate itself as soon as that
has been blessed: on the next run, with nothing changed, the challenger would be compared with itself. And after a
rollback the model in production is not the newest one.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.common import resolver

if TYPE_CHECKING:
    import ml_metadata as mlmd
    from tfx import types
from components.annotations import Artifacts

CANDIDATE_KEY = "candidate"
MODEL_KEY = "model"
MODEL_BLESSING_KEY = "model_blessing"

# The property of the Trainer's executions, and the target of models that were trained before there were others.
_TRAINING_CONFIG = "custom_config"
_BINARY: dict[str, Any] = {"task": "binary", "classes": [], "unit": None}

# The custom properties that TFX's Evaluator writes on the ModelBlessing artifact.
_CURRENT_MODEL_ID = "current_model_id"
_BLESSED = "blessed"


class ChampionStrategy(resolver.ResolverStrategy):
    """Resolves the model that was blessed last, other than the candidate, which it is told.

    A blessing is never taken back: a model that is refused later, on newer data, has been pushed nevertheless and
    stays the one to beat until another model is blessed. The channels without a producer are scoped to the pipeline
    by its name, so models of other pipelines in the same store are not considered. Nor are models that answer something
    else than the candidate, because the target was another one when they were trained.
    """

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts:
        """Returns `candidate` as given, and the champion with its blessing; both are empty if there is none.

        Raises:
            ValueError: If the channels are not `candidate`, `model` and `model_blessing`.
        """
        require_channels(type(self), input_dict, CANDIDATE_KEY, MODEL_KEY, MODEL_BLESSING_KEY)
        candidates = [candidate.id for candidate in input_dict[CANDIDATE_KEY]]
        others = [model for model in input_dict[MODEL_KEY] if model.id not in candidates]
        answers = [_answers(store, candidate) for candidate in candidates]
        for champion, blessing in blessed(others, input_dict[MODEL_BLESSING_KEY]):
            if _answers(store, champion.id) in answers:
                return {**input_dict, MODEL_KEY: [champion], MODEL_BLESSING_KEY: [blessing]}
        return {**input_dict, MODEL_KEY: [], MODEL_BLESSING_KEY: []}


class ChosenModelStrategy(resolver.ResolverStrategy):
    """Resolves the model with a given artifact id, in the pipeline of that name only."""

    def __init__(self, model_id: int) -> None:
        super().__init__()
        self._model_id = model_id

    def resolve_artifacts(self, store: mlmd.MetadataStore, input_dict: Artifacts) -> Artifacts | None:
        """Returns the model, or None if there is none with that id, which stops the pipeline.

        Raises:
            ValueError: If the channel is not `model`.
        """
        del store
        require_channels(type(self), input_dict, MODEL_KEY)
        chosen = [model for model in input_dict[MODEL_KEY] if model.id == self._model_id]
        return {MODEL_KEY: chosen} if chosen else None


def blessed(
    models: Iterable[types.Artifact], blessings: Iterable[types.Artifact]
) -> Iterator[tuple[types.Artifact, types.Artifact]]:
    """Each blessed model with the blessing that says so, the newest blessing first.

    The order is that of the blessings, not of the models: a re-used (cached) older model that was blessed again is the
    one that was pushed last.
    """
    known = {model.id: model for model in models}
    for blessing in sorted(blessings, key=lambda artifact: artifact.id, reverse=True):
        model = known.get(blessing.get_int_custom_property(_CURRENT_MODEL_ID))
        if model is not None and blessing.get_int_custom_property(_BLESSED) == 1:
            yield model, blessing


def maker(store: mlmd.MetadataStore, artifact_id: int) -> int | None:
    """The execution that made an artifact, which others may have reused from the cache."""
    events = store.get_events_by_artifact_ids([artifact_id])
    return min((event.execution_id for event in events if event.type == metadata_store_pb2.Event.OUTPUT), default=None)


def _answers(store: mlmd.MetadataStore, model_id: int) -> dict[str, Any]:
    """What a model answers, by the `target` that its training was given, whatever the label is called there."""
    training = maker(store, model_id)
    if training is None:
        return _BINARY
    (execution,) = store.get_executions_by_id([training])
    given = json.loads(execution.custom_properties[_TRAINING_CONFIG].string_value or "{}")
    return {name: value for name, value in given.get("target", _BINARY).items() if name != "label"}


def require_channels(strategy: type[resolver.ResolverStrategy], given: Collection[str], *expected: str) -> None:
    """Raises a ValueError if the channels that a Resolver was given are not those that its strategy reads."""
    if set(given) != set(expected):
        raise ValueError(
            f"{strategy.__name__} needs exactly the channels {', '.join(sorted(expected))}, "
            f"but the Resolver was given {', '.join(sorted(given)) or 'none'}."
        )
