"""How a component function says what it is given: TFX reads its annotations, a type checker the plain types."""

from typing import TYPE_CHECKING, Annotated, TypeVar

if TYPE_CHECKING:
    Kind = TypeVar("Kind")
    InputArtifact = Annotated[Kind, "read"]
    OutputArtifact = Annotated[Kind, "written"]
    Parameter = Annotated[Kind, "known when the pipeline is defined"]
else:
    from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter

__all__ = ["InputArtifact", "OutputArtifact", "Parameter"]
