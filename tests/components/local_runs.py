"""Pipelines of small components under TFX's local runner, against one SQLite metadata store."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

IN_MEMORY = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"]


@component
def Train(  # noqa: N802
    recipe: Parameter[str], model: OutputArtifact[standard_artifacts.Model], custom_config: Parameter[str] = ""
):
    """Writes a model that is a file with its recipe; what else it is told is recorded, as of TFX's Trainer."""
    Path(model.uri, "recipe").write_text(recipe)


class Workspace:
    """Runs pipelines and remembers nothing itself."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))

    @property
    def store(self) -> MetadataStore:
        return MetadataStore(self.connection)

    def run(self, *nodes: Any, name: str = "rides", beam_args: Sequence[str] = ()) -> None:
        LocalDagRunner().run(
            Pipeline(
                pipeline_name=name,
                pipeline_root=str(self.folder / "artifacts" / name),
                components=list(nodes),
                enable_cache=True,
                metadata_connection_config=self.connection,
                beam_pipeline_args=list(beam_args),
            )
        )

    def executions(self, type_name: str = "") -> list[metadata_store_pb2.Execution]:
        """Those of a type whose name ends so, in order."""
        of_type = [execution for execution in self.store.get_executions() if execution.type.endswith(type_name)]
        return sorted(of_type, key=lambda execution: execution.id)

    def states(self) -> list[str]:
        name = metadata_store_pb2.Execution.State.Name
        return [name(execution.last_known_state) for execution in self.executions()]
