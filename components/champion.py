"""The resolver strategy that picks the champion a challenger is compared with.

TFX's own `LatestBlessedModelStrategy` returns the newest blessed model, which is the candidate itself as soon
as the candidate has been blessed: on the next run, with nothing changed, the challenger would be compared
with itself and the evaluation, whose inputs have changed, would run again. This strategy is told the
candidate and leaves it out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING

from tfx.dsl.components.common import resolver

if TYPE_CHECKING:
    import ml_metadata as mlmd
    from tfx import types

CANDIDATE_KEY = "candidate"
MODEL_KEY = "model"
MODEL_BLESSING_KEY = "model_blessing"

# The custom properties that TFX's Evaluator writes on the ModelBlessing artifact.
_CURRENT_MODEL_ID = "current_model_id"
_BLESSED = "blessed"


class ChampionStrategy(resolver.ResolverStrategy):
    """Resolves the model that was blessed last, other than the candidate.

    "Last" is the order of the blessings, not of the models: a re-used (cached) older model that was blessed
    again is the one that was pushed last. A blessing is never taken back: a model that is refused later, on
    newer data, has been pushed nevertheless and stays the one to beat until another model is blessed. The
    channels without a producer are scoped to the pipeline by its name, so models of other pipelines in the
    same store are not considered.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Returns the champion and the blessing that made it so.

        Returns:
            The same keys: `candidate` as given, `model` and `model_blessing` with one artifact each, or both
            empty when no other model has been blessed.

        Raises:
            ValueError: If the channels are not named as above.
        """
        del store
        require_channels(type(self), input_dict, CANDIDATE_KEY, MODEL_KEY, MODEL_BLESSING_KEY)
        candidates = {candidate.id for candidate in input_dict[CANDIDATE_KEY]}
        others = [model for model in input_dict[MODEL_KEY] if model.id not in candidates]
        result = {CANDIDATE_KEY: list(input_dict[CANDIDATE_KEY]), MODEL_KEY: [], MODEL_BLESSING_KEY: []}
        for champion, blessing in blessed(others, input_dict[MODEL_BLESSING_KEY]):
            return {**result, MODEL_KEY: [champion], MODEL_BLESSING_KEY: [blessing]}
        return result


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


def require_channels(strategy: type[resolver.ResolverStrategy], given: Collection[str], *expected: str) -> None:
    """Raises a ValueError if the channels that a Resolver was given are not those that its strategy reads."""
    if set(given) != set(expected):
        raise ValueError(
            f"{strategy.__name__} needs exactly the channels {', '.join(sorted(expected))}, "
            f"but the Resolver was given {', '.join(sorted(given)) or 'none'}."
        )
