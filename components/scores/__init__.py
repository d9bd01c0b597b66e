"""Scores: what the model says about each row of the evaluation split, and which columns that hangs on."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.scores.component import Scores
    from components.scores.errors import ScoresError

__all__ = ["Scores", "ScoresError"]


def __getattr__(name: str) -> Any:
    """Loads a public name at its first use: the component pulls in TFX (seconds), its errors do not."""
    if name == "Scores":
        from components.scores.component import Scores

        return Scores
    if name == "ScoresError":
        from components.scores.errors import ScoresError

        return ScoresError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
