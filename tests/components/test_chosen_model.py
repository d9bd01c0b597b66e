"""ChosenModelStrategy under the real local runner, with a real SQLite metadata store."""

from pathlib import Path

import pytest
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Channel, standard_artifacts

from components.chosen_model import ChosenModelStrategy

pytestmark = pytest.mark.component


@component
def Train(recipe: Parameter[str], model: OutputArtifact[standard_artifacts.Model]):  # noqa: N802
    """Writes a model that is a file with its recipe."""
    Path(model.uri, "recipe").write_text(recipe)


@component
def Serve(model: InputArtifact[standard_artifacts.Model], answer: Parameter[str]):  # noqa: N802
    """Copies the recipe of the model that it was given."""
    Path(answer).write_text(Path(model.uri, "recipe").read_text())


class Workspace:
    """Runs pipelines of one name against one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))

    def run(self, *nodes: object, name: str = "rides") -> None:
        pipeline = Pipeline(
            pipeline_name=name,
            pipeline_root=str(self.folder / "artifacts"),
            components=list(nodes),
            metadata_connection_config=self.connection,
        )
        local_dag_runner.LocalDagRunner().run(pipeline)

    def models(self) -> list[int]:
        with metadata.Metadata(self.connection) as handle:
            return sorted(model.id for model in handle.store.get_artifacts_by_type("Model"))

    def served(self, model_id: int, name: str = "rides") -> str:
        answer = self.folder / "answer"
        answer.unlink(missing_ok=True)
        chosen = Resolver(
            strategy_class=ChosenModelStrategy,
            config={"model_id": model_id},
            model=Channel(type=standard_artifacts.Model),
        ).with_id("chosen")
        self.run(chosen, Serve(model=chosen.outputs["model"], answer=str(answer)), name=name)
        return answer.read_text()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("chosen"))
    for recipe in ("first", "second", "third"):
        made.run(Train(recipe=recipe))
    return made


def test_the_model_with_the_id_is_taken_whether_it_is_the_newest_or_not(workspace: Workspace) -> None:
    first, second, third = workspace.models()
    assert [workspace.served(model) for model in (second, third, first)] == ["second", "third", "first"]


def test_a_model_that_is_not_of_this_pipeline_stops_it(workspace: Workspace) -> None:
    with pytest.raises(Exception, match=r"chosen|input"):
        workspace.served(12_345)
    with pytest.raises(Exception, match=r"chosen|input"):
        workspace.served(workspace.models()[0], name="another")


def test_a_channel_of_another_name_is_refused() -> None:
    with pytest.raises(ValueError, match="exactly the channel model"):
        ChosenModelStrategy(1).resolve_artifacts(None, {"models": []})  # pyright: ignore[reportArgumentType]
