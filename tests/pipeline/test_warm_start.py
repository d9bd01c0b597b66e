"""`training.warm_start` in real runs: month after month, again with nothing changed, and made once more."""

import pytest

from flightdeck.settings import read_settings
from ledger.opening import open_store
from pipeline.store import connection
from tests.small_run import SMALL
from tests.world import LOCAL

pytestmark = pytest.mark.proof
WARM = ("training.warm_start=true", "push.enabled=false", "evaluation.importance_rows=0")


@pytest.fixture(scope="module")
def play(small_spans, tmp_path_factory):
    """Runs a pipeline in this process, since its imports take longer than the run: name, window -> its record."""
    from pipeline.runners import local

    workspace = tmp_path_factory.mktemp("workspace")

    def played(run_id: str, window: str, *overrides: str, factory: str = "create_pipeline", given=()):
        places = (f"workspace={workspace}", f"data.spans={small_spans}", f"data.window={window}")
        settings = read_settings(LOCAL, [*SMALL, *WARM, *places, *overrides])
        record = local.run(factory, run_id, settings, *given)
        assert record.outcome != "failed", record.reasons
        return record

    played.settings = read_settings(LOCAL, [f"workspace={workspace}"])
    return played


@pytest.fixture(scope="module")
def runs(play):
    """February is judged without a base model, March with February's, and March once more."""
    return play("february", "1:2"), play("march", "1:3"), play("again", "1:3")


@pytest.fixture(scope="module")
def store(play, runs):
    return open_store(connection(play.settings))


def test_each_month_begins_with_the_model_before(runs):
    february, march, _ = runs

    assert (february.base_model_id, february.began_with) == (None, None)
    assert march.base_model_id == february.model_id
    assert march.began_with.startswith("took frequencies, number_embedding, cross_0, deep_0, probability and ")


def test_a_run_with_nothing_changed_comes_from_the_cache_and_learns_nothing_twice(runs):
    _, march, again = runs

    assert again.model_id == march.model_id
    assert next(node.state for node in again.nodes if node.node_id == "Trainer") == "cached"


@pytest.mark.parametrize("with_base", [True, False])
def test_a_month_is_made_again_to_the_last_bit_with_the_base_model_that_it_had_alone(play, runs, store, with_base):
    from operations.experiments.reproduction import circumstances, models

    original, workspace = circumstances.original(store, "march"), play.settings.workspace
    (base,) = store.get_artifacts_by_id([runs[0].model_id])
    assert original.base_model == base.uri
    given = (models.reachable(base.uri, workspace, workspace),) if with_base else ()

    made = play(f"again-{with_base}", "1:3", "cache=false", factory="create_reproduction_pipeline", given=given)

    (model,) = store.get_artifacts_by_id([made.model_id])
    assert made.base_model_id == (runs[0].model_id if with_base else None)
    _, values, different = models.compare_variables(models.saved_model(original.model), models.saved_model(model.uri))
    assert values > 1000
    assert (different == ()) == with_base
