"""ChampionStrategy and ChosenModelStrategy under the real local runner, with a real SQLite metadata store."""

import json
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import Channel, standard_artifacts

from components.resolvers import ChampionStrategy, ChosenModelStrategy
from tests.components.local_runs import Train, Workspace

pytestmark = pytest.mark.component


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


class Comparisons(Workspace):
    """Trains models and compares each with the champion."""

    def compare(
        self, recipe: str, verdict: int = 1, name: str = "rides", custom_config: str = ""
    ) -> tuple[str | None, bool]:
        """Runs the pipeline once: the recipe of the champion, if any, and whether the comparison was cached."""
        train = Train(recipe=recipe, custom_config=custom_config)
        champion = Resolver(
            strategy_class=ChampionStrategy,
            candidate=train.outputs["model"],
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("champion")
        compare = Compare(verdict=verdict, model=train.outputs["model"], baseline=champion.outputs["model"])
        before = len(self.executions("Compare"))
        # The runner must find the order by itself, from the candidate's channel.
        self.run(compare, champion, train, name=name)
        comparisons = self.executions("Compare")
        assert len(comparisons) == before + 1
        return self._champion(), comparisons[-1].last_known_state == metadata_store_pb2.Execution.CACHED

    def _champion(self) -> str | None:
        resolved = self.executions("tfx.dsl.components.common.resolver.Resolver")[-1]
        events = self.store.get_events_by_execution_ids([resolved.id])
        ids = [event.artifact_id for event in events if event.path.steps[0].key == "model"]
        assert len(ids) <= 1
        return Path(self.store.get_artifacts_by_id(ids)[0].uri, "recipe").read_text() if ids else None


@pytest.fixture
def workspace(tmp_path):
    return Comparisons(tmp_path)


# Each run: the candidate, whether it is blessed, the champion that it meets, and whether it is cached.
HISTORIES = {
    # A is blessed by the second run. TFX's own strategy would resolve A itself there and compare again.
    "a first model, and a rerun": [("A", 1, None, False), ("A", 1, None, True)],
    "challengers, and a rerun": [
        ("A", 1, None, False),
        ("B", 1, "A", False),
        ("B", 1, "A", True),
        ("C", 1, "B", False),
    ],
    "a refused model": [("A", 1, None, False), ("B", 0, "A", False), ("C", 1, "A", False)],
    # The third run blesses A again, after B: A was pushed last, so it is A that the next challenger must beat.
    "a reused older model": [("A", 1, None, False), ("B", 1, "A", False), ("A", 1, "B", False), ("C", 1, "A", False)],
    "one that is refused": [("A", 1, None, False), ("B", 1, "A", False), ("A", 0, "B", False), ("C", 1, "B", False)],
}


@pytest.mark.parametrize("history", HISTORIES)
def test_a_challenger_meets_the_model_that_was_blessed_last(workspace, history):
    for candidate, verdict, champion, cached in HISTORIES[history]:
        assert workspace.compare(candidate, verdict) == (champion, cached)


def test_models_of_another_pipeline_in_the_same_store_are_not_considered(workspace):
    workspace.compare("A", name="boats")
    assert workspace.compare("B") == (None, False)


def test_models_that_answer_something_else_are_not_considered(workspace):
    def told(label: str, **target: object) -> str:
        whole = {"label": label, "task": "binary", "classes": [], "unit": None} | target
        return json.dumps({"model": {}, "target": whole})

    workspace.compare("as before there were others", custom_config=json.dumps({"label": "late"}))
    binary, renamed = told("late"), told("too_late")
    assert workspace.compare("A", custom_config=binary) == ("as before there were others", False)
    assert workspace.compare("B", custom_config=renamed) == ("A", False)
    classes = told("lateness", task="multiclass", classes=["no", "a bit", "much"])
    assert workspace.compare("C", custom_config=classes) == (None, False)
    assert workspace.compare("D", custom_config=classes.replace("much", "very")) == (None, False)
    assert workspace.compare("E", custom_config=classes) == ("C", False)
    assert workspace.compare("F", custom_config=binary) == ("B", False)


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (
            ChampionStrategy(),
            "exactly the channels candidate, model, model_blessing, but the Resolver was given models",
        ),
        (ChosenModelStrategy(1), "exactly the channels model, but the Resolver was given models"),
    ],
)
def test_misnamed_channels_are_refused_in_one_sentence(strategy, sentence):
    with pytest.raises(ValueError, match=sentence):
        strategy.resolve_artifacts(None, {"models": []})


@component
def Serve(model: InputArtifact[standard_artifacts.Model], answer: Parameter[str]):  # noqa: N802
    Path(answer).write_text(Path(model.uri, "recipe").read_text())


class Services(Workspace):
    """Trains three models and serves the one that it is told to."""

    def models(self) -> list[int]:
        return sorted(model.id for model in self.store.get_artifacts_by_type("Model"))

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
def chosen(tmp_path_factory):
    services = Services(tmp_path_factory.mktemp("chosen"))
    for recipe in ("first", "second", "third"):
        services.run(Train(recipe=recipe))
    return services


def test_the_model_with_the_id_is_taken_whether_it_is_the_newest_or_not(chosen):
    first, second, third = chosen.models()
    assert [chosen.served(model) for model in (second, third, first)] == ["second", "third", "first"]


def test_a_model_that_is_not_of_this_pipeline_stops_it(chosen):
    with pytest.raises(Exception, match=r"chosen|input"):
        chosen.served(12_345)
    with pytest.raises(Exception, match=r"chosen|input"):
        chosen.served(chosen.models()[0], name="another")
