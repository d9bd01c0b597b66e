"""BaseModelStrategy: which model a training may begin with, from a metadata store as TFX and SpanExampleGen fill it."""

import itertools
import json

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.types import standard_artifacts

from components.base_model import BaseModelStrategy, learned_spans
from components.span_example_gen import request

pytestmark = pytest.mark.component


class Store:
    """A store in memory, with trainings in it."""

    def __init__(self):
        config = metadata_store_pb2.ConnectionConfig()
        config.fake_database.SetInParent()
        self.store = ml_metadata.MetadataStore(config)
        self._blessings = itertools.count(1000)

    def _artifact(self, kind):
        type_id = self.store.put_artifact_type(metadata_store_pb2.ArtifactType(name=kind))
        return metadata_store_pb2.Artifact(type_id=type_id)

    def _execution(self, kind, inputs, output, **facts):
        """An execution that read artifacts and made one."""
        kind_id = self.store.put_execution_type(metadata_store_pb2.ExecutionType(name=kind))
        execution = metadata_store_pb2.Execution(type_id=kind_id)
        for name, value in facts.items():
            execution.custom_properties[name].int_value = value
        (execution_id,) = self.store.put_executions([execution])
        events = []
        for key, artifact_id in {**inputs, "": output}.items():
            event = metadata_store_pb2.Event(execution_id=execution_id, artifact_id=artifact_id)
            event.type = metadata_store_pb2.Event.INPUT if key else metadata_store_pb2.Event.OUTPUT
            event.path.steps.add().key = key or "output"
            events.append(event)
        self.store.put_events(events)

    def examples(self, *spans, content="as they were", quarantined=()):
        """Ingested spans, the newest for evaluation: the artifact."""
        artifact = self._artifact("Examples")
        artifact.custom_properties[request.SPANS].string_value = json.dumps(spans)
        artifact.custom_properties[request.INPUT_FINGERPRINT].string_value = f"{spans} {content}"
        if quarantined:
            artifact.custom_properties[request.QUARANTINED].string_value = json.dumps(quarantined)
        (artifact.id,) = self.store.put_artifacts([artifact])
        self._execution("Ingest", {}, artifact.id, **{request.EVAL_SPANS: 1})
        made = standard_artifacts.Examples()
        made.set_mlmd_artifact(artifact)
        return made

    def model(self, examples, base=None):
        (model_id,) = self.store.put_artifacts([self._artifact("Model")])
        inputs = {"examples": examples.id} | ({"base_model": base.id} if base else {})
        self._execution("Train", inputs, model_id)
        model = standard_artifacts.Model()
        model.id = model_id
        return model

    def blessing(self, model, blessed=1):
        blessing = standard_artifacts.ModelBlessing()
        blessing.id = next(self._blessings)
        blessing.set_int_custom_property("current_model_id", model.id)
        blessing.set_int_custom_property("blessed", blessed)
        return blessing

    def resolve(self, examples, *blessings, models):
        resolved = BaseModelStrategy().resolve_artifacts(
            self.store, {"examples": [examples], "model": list(models), "model_blessing": list(blessings)}
        )
        assert resolved["examples"] == [examples]
        return resolved["model"][0] if resolved["model"] else None


@pytest.fixture
def store():
    return Store()


def test_the_first_training_begins_anew(store):
    assert store.resolve(store.examples(1, 2), models=[]) is None


def test_the_next_month_begins_with_the_newest_blessed_model(store):
    first, second, refused = (store.model(store.examples(1, 2)) for _ in range(3))
    blessings = [store.blessing(first), store.blessing(second), store.blessing(refused, blessed=0)]

    assert store.resolve(store.examples(1, 2, 3), *blessings, models=[first, second, refused]) is second


def test_a_run_with_nothing_changed_begins_with_the_same_model_as_before(store):
    march = store.model(store.examples(1, 2, 3))
    now = store.examples(1, 2, 3, 4)
    april = store.model(now, march)
    blessings = [store.blessing(march), store.blessing(april)]

    assert store.resolve(now, *blessings, models=[march, april]) is march
    # Ingested once more, as with the cache switched off: other examples of the same content.
    assert store.resolve(store.examples(1, 2, 3, 4), *blessings, models=[march, april]) is march


def test_a_month_whose_content_has_changed_may_begin_with_what_learned_the_old_content(store):
    model = store.model(store.examples(1, 2, 3))

    assert store.resolve(store.examples(1, 2, 3, content="late rows"), store.blessing(model), models=[model]) is model


def test_a_model_that_has_learned_what_it_would_be_judged_on_is_passed_over(store):
    june, december = store.model(store.examples(1, 5, 6)), store.model(store.examples(1, 11, 12))
    blessings = [store.blessing(june), store.blessing(december)]

    assert store.resolve(store.examples(1, 6, 11), *blessings, models=[june, december]) is june


def test_a_model_that_began_with_such_a_one_is_passed_over_too(store):
    december = store.model(store.examples(1, 11, 12))
    descendant = store.model(store.examples(1, 2, 3), december)

    assert learned_spans(store.store, descendant.id) == [1, 2, 11]
    assert store.resolve(store.examples(1, 3, 11), store.blessing(descendant), models=[descendant]) is None


def test_a_model_that_has_learned_from_a_span_in_quarantine_is_passed_over(store):
    clean, poisoned = store.model(store.examples(1, 2, 3)), store.model(store.examples(1, 2, 3, 4))
    later = store.model(store.examples(1, 2, 4, 5), poisoned)
    blessings = [store.blessing(model) for model in (clean, poisoned, later)]
    now = store.examples(1, 2, 4, 5, 6, quarantined=(3,))

    assert store.resolve(now, *blessings, models=[clean, poisoned, later]) is clean


def test_misnamed_channels_are_refused_in_one_sentence(store):
    with pytest.raises(ValueError, match="examples, model, model_blessing, but the Resolver was given model"):
        BaseModelStrategy().resolve_artifacts(store.store, {"model": []})
