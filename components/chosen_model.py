"""The resolver strategy that takes one certain model: the one with a given id in the metadata store.

TFX's own strategies take what is newest. After a rollback the model in production is not the newest one, and whoever
makes the pipeline knows which one it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tfx.dsl.components.common import resolver

from components.champion import MODEL_KEY, require_channels

if TYPE_CHECKING:
    import ml_metadata as mlmd
    from tfx import types


class ChosenModelStrategy(resolver.ResolverStrategy):
    """Resolves the model with a given artifact id.

    The channel is scoped to the pipeline by its name, so a model of another pipeline is not found.
    """

    def __init__(self, model_id: int) -> None:
        """Takes the id of the Model artifact."""
        super().__init__()
        self._model_id = model_id

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]] | None:
        """Returns the model, or None if there is none with that id, which stops the pipeline.

        Raises:
            ValueError: If the channel is not named so.
        """
        del store
        require_channels(type(self), input_dict, MODEL_KEY)
        chosen = [model for model in input_dict[MODEL_KEY] if model.id == self._model_id]
        return {MODEL_KEY: chosen} if chosen else None
