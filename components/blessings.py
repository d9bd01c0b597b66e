"""Which models an Evaluator has blessed, as the resolver strategies of this folder look at it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfx import types

# The custom properties that TFX's Evaluator writes on the ModelBlessing artifact.
_CURRENT_MODEL_ID = "current_model_id"
_BLESSED = "blessed"


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
