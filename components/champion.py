"""The resolver strategy that picks the champion a challenger is compared with.

TFX's own `LatestBlessedModelStrategy` returns the newest blessed model, which is the candidate itself as soon
as the candidate has been blessed: on the next run, with nothing changed, the challenger would be compared
with itself and the evaluation, whose inputs have changed, would run again. This strategy is told the
candidate and leaves it out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.common import resolver

from components.blessings import blessed

if TYPE_CHECKING:
    import ml_metadata as mlmd
    from tfx import types

CANDIDATE_KEY = "candidate"
MODEL_KEY = "model"
MODEL_BLESSING_KEY = "model_blessing"


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
        _require_keys(input_dict)
        candidates = {candidate.id for candidate in input_dict[CANDIDATE_KEY]}
        others = [model for model in input_dict[MODEL_KEY] if model.id not in candidates]
        result = {CANDIDATE_KEY: list(input_dict[CANDIDATE_KEY]), MODEL_KEY: [], MODEL_BLESSING_KEY: []}
        for champion, blessing in blessed(others, input_dict[MODEL_BLESSING_KEY]):
            return {**result, MODEL_KEY: [champion], MODEL_BLESSING_KEY: [blessing]}
        return result


def _require_keys(input_dict: dict[str, list[types.Artifact]]) -> None:
    expected = {CANDIDATE_KEY, MODEL_KEY, MODEL_BLESSING_KEY}
    if set(input_dict) != expected:
        raise ValueError(
            f"ChampionStrategy needs exactly the channels {', '.join(sorted(expected))}, "
            f"but the Resolver was given {', '.join(sorted(input_dict)) or 'none'}."
        )
