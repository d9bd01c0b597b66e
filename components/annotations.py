"""How a component says what it is given: TFX reads the annotations of functions, a type checker the plain types."""

from typing import TYPE_CHECKING, Annotated, TypeVar

from tfx import types

# The inputs or outputs of a component: key -> artifacts.
Artifacts = dict[str, list[types.Artifact]]

if TYPE_CHECKING:
    Kind = TypeVar("Kind")
    InputArtifact = Annotated[Kind, "read"]
    OutputArtifact = Annotated[Kind, "written"]
    Parameter = Annotated[Kind, "known when the pipeline is defined"]
else:
    from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter

__all__ = ["Artifacts", "InputArtifact", "OutputArtifact", "Parameter"]
