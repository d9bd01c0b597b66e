"""ChampionStrategy under the real local runner, with a real SQLite metadata store."""

from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Channel, standard_artifacts

from components.champion import ChampionStrategy

pytestmark = pytest.mark.component


@component
def Train(recipe: Parameter[str], model: OutputArtifact[standard_artifacts.Model]):  # noqa: N802
    """Writes a model that is a file with its recipe."""
    Path(model.uri, "recipe").write_text(recipe)


@component
def Compare(  # noqa: N802
    verdict: Parameter[int],
    model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    baseline: InputArtifact[standard_artifacts.Model] = None,
):
    """Blesses as told, with the custom properties that TFX's Evaluator writes."""
    blessing.set_int_custom_property("current_model_id", model.id)
    blessing.set_int_custom_property("blessed", verdict)
    blessing.set_int_custom_property("baseline_model_id", baseline.id if baseline else 0)


class Workspace:
    """Runs pipelines against one store and remembers nothing itself."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.connection = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))

    def run(self, recipe: str, verdict: int = 1, name: str = "rides") -> tuple[str, str | None, bool]:
        """Runs the pipeline once.

        Returns:
            The recipe of the candidate, that of the champion (None if there is none), and whether the
            comparison was taken from the cache.
        """
        train = Train(recipe=recipe)
        champion = Resolver(
            strategy_class=ChampionStrategy,
            candidate=train.outputs["model"],
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("champion")
        compare = Compare(verdict=verdict, model=train.outputs["model"], baseline=champion.outputs["model"])
        before = self._count("Compare")
        local_dag_runner.LocalDagRunner().run(
            Pipeline(
                pipeline_name=name,
                pipeline_root=str(self.folder / name),
                # The runner must find the order by itself, from the candidate's channel.
                components=[compare, champion, train],
                enable_cache=True,
                metadata_connection_config=self.connection,
            )
        )
        assert self._count("Compare") == before + 1
        return recipe, self._champion(), self._last("Compare").last_known_state == _CACHED

    def _champion(self) -> str | None:
        with metadata.Metadata(self.connection) as handle:
            execution = self._last("tfx.dsl.components.common.resolver.Resolver")
            events = handle.store.get_events_by_execution_ids([execution.id])
            ids = [event.artifact_id for event in events if event.path.steps[0].key == "model"]
            artifacts = handle.store.get_artifacts_by_id(ids)
        assert len(artifacts) <= 1
        return Path(artifacts[0].uri, "recipe").read_text() if artifacts else None

    def _executions(self, type_name: str) -> list[metadata_store_pb2.Execution]:
        with metadata.Metadata(self.connection) as handle:
            named = [t.name for t in handle.store.get_execution_types() if t.name.endswith(type_name)]
            found = [execution for name in named for execution in handle.store.get_executions_by_type(name)]
        return sorted(found, key=lambda execution: execution.id)

    def _count(self, type_name: str) -> int:
        return len(self._executions(type_name)) if Path(self.folder / "metadata.sqlite").exists() else 0

    def _last(self, type_name: str) -> metadata_store_pb2.Execution:
        return self._executions(type_name)[-1]


_CACHED = metadata_store_pb2.Execution.CACHED


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)


def test_first_model_meets_no_champion_and_a_rerun_is_cached(workspace):
    assert workspace.run("A") == ("A", None, False)
    # A is blessed by now. TFX's own strategy would resolve A itself here and compare again.
    assert workspace.run("A") == ("A", None, True)


def test_challenger_meets_the_blessed_model_and_a_rerun_is_cached(workspace):
    workspace.run("A")
    assert workspace.run("B") == ("B", "A", False)
    assert workspace.run("B") == ("B", "A", True)
    assert workspace.run("C") == ("C", "B", False)


def test_refused_model_never_becomes_champion(workspace):
    workspace.run("A")
    workspace.run("B", verdict=0)
    assert workspace.run("C") == ("C", "A", False)


def test_reused_older_candidate_meets_the_newer_champion(workspace):
    workspace.run("A")
    workspace.run("B")
    assert workspace.run("A") == ("A", "B", False)
    # That run blessed A again, after B: A was pushed last, so it is A that the next challenger must beat.
    assert workspace.run("C") == ("C", "A", False)


def test_reused_older_candidate_that_is_refused_leaves_the_champion(workspace):
    workspace.run("A")
    workspace.run("B")
    assert workspace.run("A", verdict=0) == ("A", "B", False)
    assert workspace.run("C") == ("C", "B", False)


def test_models_of_another_pipeline_in_the_same_store_are_not_considered(workspace):
    workspace.run("A", name="boats")
    assert workspace.run("B") == ("B", None, False)


def test_misnamed_channel_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="candidate, model, model_blessing, but the Resolver was given challenger"):
        ChampionStrategy().resolve_artifacts(None, {"challenger": [standard_artifacts.Model()]})
