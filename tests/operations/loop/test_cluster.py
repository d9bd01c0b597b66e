"""Runs of the loop on Kubeflow: the real pipeline, compiled and submitted to a server that speaks KFP's API."""

from datetime import UTC, datetime

import pytest
from ml_metadata.proto import metadata_store_pb2

from flightdeck.settings import read_settings
from ledger.opening import open_store
from ledger.recorder import Recorder
from operations.delivery.kubeflow_api import KubeflowError, UnreachableError
from operations.loop.attempts import Attempt
from operations.loop.cluster import KubeflowRuns
from operations.loop.triggers import Trigger
from tests.ledger.executions import Executions
from tests.ledger.seeding import sqlite
from tests.operations.delivery.kfp_server import API, KfpServer, Trouble
from tests.world import ROOT

pytestmark = pytest.mark.component  # compiles with TFX
CONFIG = ROOT / "config" / "kubeflow.yaml"
NOW = datetime(2024, 5, 1, tzinfo=UTC)
TASKS = ("data", "release", "trainer", "transform")
ATTEMPT = Attempt(
    run_id="20240501-000000-abcd",
    workspace="/workspace",
    begun=NOW,
    triggers=(Trigger(kind="new span", key="span:3:ab", reason="span 3 is new", when=NOW),),
)


@pytest.fixture
def store(tmp_path):
    return open_store(sqlite(tmp_path / "metadata.sqlite"))


def settings_of(server: KfpServer, *overrides: str):
    return read_settings(CONFIG, [f"kubeflow.endpoint={server.endpoint}", *overrides])


@pytest.fixture
def runs(server, store):
    return KubeflowRuns(settings_of(server), store, token=None)


def referred(reference: str) -> Attempt:
    return ATTEMPT.model_copy(update={"reference": reference})


def state(server: KfpServer, word: str) -> None:
    server.states = [dict.fromkeys(TASKS, word)]


def test_a_run_is_submitted_says_why_and_is_followed_to_its_record(server, store, runs):
    assert runs.busy() is None
    reference = runs.start(ATTEMPT, settings_of(server))

    (sent,) = server.runs.values()
    assert (sent["run_id"], sent["display_name"]) == (reference, "late-flights 20240501-000000-abcd")
    assert sent["runtime_config"]["parameters"] == {"submitted_by": "flightdeck watch"}
    assert Recorder(store).read(reference).triggers == {"span:3:ab": "span 3 is new"}
    state(server, "RUNNING")
    assert runs.result(referred(reference)) is None
    state(server, "SUCCEEDED")
    Recorder(store).write(reference, kind="run", outcome="pushed", version="7")
    result = runs.result(referred(reference))
    assert (result.outcome, result.version, result.run_id) == ("pushed", "7", reference)


def test_what_was_submitted_by_a_process_that_was_killed_is_found_and_says_why(server, store, runs):
    reference = runs.start(ATTEMPT, settings_of(server))
    state(server, "RUNNING")
    # Neither its id nor its reasons were written down.
    Recorder(store).write(reference, triggers={})

    assert KubeflowRuns(settings_of(server), store, None).result(ATTEMPT) is None
    assert len(server.runs) == 1
    assert Recorder(store).read(reference).triggers == {"span:3:ab": "span 3 is new"}


def test_what_was_never_submitted_was_killed(runs):
    assert runs.result(ATTEMPT).outcome == "killed"


def test_a_run_without_a_verdict_has_failed_and_so_says_its_record(server, store, runs):
    reference = runs.start(ATTEMPT, settings_of(server))
    recorder = Recorder(store)
    recorder.write(reference, kind="run", runner="kubeflow", outcome="running", renewed=NOW)
    trainer = Executions(store).execute(reference, "Trainer", {}, {}, metadata_store_pb2.Execution.RUNNING)
    for name in (f"{reference}-sweep", "another-sweep"):
        recorder.write(name, kind="sweep", runner="kubeflow", outcome="running", renewed=NOW)
    state(server, "RUNNING")
    assert runs.result(referred(reference)) is None
    assert recorder.read(reference).outcome == "running"  # however long ago it was heard of
    state(server, "FAILED")

    result = runs.result(referred(reference))

    assert (result.outcome, result.detail) == ("failed", "a task has failed")
    record = recorder.read(reference)
    assert (record.outcome, record.reasons) == ("failed", ("Kubeflow Pipelines says FAILED: a task has failed",))
    assert [recorder.read(each).outcome for each in (f"{reference}-sweep", "another-sweep")] == ["failed", "running"]
    (ended,) = store.get_executions_by_id([trainer])
    assert ended.last_known_state == metadata_store_pb2.Execution.FAILED


@pytest.mark.parametrize(
    ("overrides", "pushes"),
    [
        (["continuous.level=1"], False),
        (["continuous.level=2"], True),
        (["continuous.level=1", "canary.mode=shadow"], True),
        (["continuous.level=2", "push.enabled=false"], False),
    ],
)
def test_only_where_a_push_harms_nobody_the_run_may_push(server, store, overrides, pushes):
    from pipeline.task import decode_settings

    settings = settings_of(server, *overrides)
    KubeflowRuns(settings, store, None).start(ATTEMPT, settings)

    (sent,) = server.runs.values()
    parameters = sent["pipeline_spec"]["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]
    ran = decode_settings(parameters["settings"]["defaultValue"], "1:2", {})
    assert ran.push.enabled == pushes


def test_a_server_that_refuses_says_so(server, runs):
    server.troubles = [Trouble("POST", f"{API}/runs", 400, '{"message": "no such service account"}')]

    with pytest.raises(KubeflowError, match="no such service account"):
        runs.start(ATTEMPT, settings_of(server))


@pytest.mark.parametrize(
    ("endpoint", "error", "says"),
    [
        pytest.param("http://127.0.0.1:9", UnreachableError, None, id="a server that is away is no failed run"),
        pytest.param("null", KubeflowError, r"kubeflow\.endpoint must be the address", id="there is no address"),
    ],
)
def test_where_there_is_no_server_there_is_one_sentence(store, endpoint, error, says):
    settings = read_settings(CONFIG, [f"kubeflow.endpoint={endpoint}"])

    with pytest.raises(error, match=says):
        KubeflowRuns(settings, store, None).busy()
