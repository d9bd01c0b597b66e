"""Runs that were killed: what is said of them, and what the next run of the workspace closes and removes."""

import json
import multiprocessing
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from flightdeck.settings import Settings, read_settings
from ledger.lease import Owner
from ledger.opening import open_readonly, open_store
from ledger.recorder import RUN, Recorder, renewing
from ledger.runs import Runs
from pipeline import killed_runs, stamp, store
from pipeline.workspace import exclusive, lock_of
from tests.ledger.executions import Executions
from tests.operations.serving.live_server import wait_for
from tests.world import LOCAL

pytestmark = pytest.mark.unit
RUNNING, FAILED, COMPLETE = mlmd.Execution.RUNNING, mlmd.Execution.FAILED, mlmd.Execution.COMPLETE


@pytest.fixture
def settings(tmp_path) -> Settings:
    return read_settings(LOCAL, [f"workspace={tmp_path / 'workspace'}"])


def _hold(workspace: str, held: Event) -> None:
    """Holds the workspace and its run's lease until it is killed."""
    settings = read_settings(LOCAL, [f"workspace={workspace}"])
    with exclusive(settings):
        recorder = Recorder(open_store(store.connection(settings)))
        stamp.stamp(recorder, "killed", settings, kind="run", runner="local")
        held.set()
        time.sleep(600)


@pytest.fixture
def holder(settings):
    """Another process, in the middle of its run."""
    context = multiprocessing.get_context("spawn")
    held = context.Event()
    process = context.Process(target=_hold, args=(settings.workspace, held))
    process.start()
    assert held.wait(120)
    yield process
    kill(process)


def execution(opened: ml_metadata.MetadataStore, settings: Settings, run_id: str, node: str, state: int) -> int:
    """An execution of a node as TFX registers it, and the folders that it has made."""
    made = Executions(opened).execute(run_id, node, {}, {}, state=state, window="1:3")
    for folder in folders(settings, made, node):
        folder.mkdir(parents=True)
        (folder / "part").write_text("half")
    return made


def folders(settings: Settings, made: int, node: str) -> list[Path]:
    inside = Path(settings.artifacts) / node
    return [
        inside / "transform_graph" / str(made) / ".temp_path",
        inside / "transformed_examples" / str(made),
        inside / ".system" / "executor_execution" / str(made) / ".temp",
        inside / ".system" / "stateful_working_dir" / f"any-name-{node}",
    ]


def listed(settings: Settings) -> dict[str, str]:
    return {run.run_id: run.outcome for run in Runs(open_readonly(store.connection(settings))).all()}


def kill(process: BaseProcess) -> None:
    process.kill()
    process.join()


def test_a_killed_run_is_shown_as_killed_at_once_with_its_last_sign_of_life(settings, holder):
    assert listed(settings) == {"killed": "running"}
    before = datetime.now(UTC)

    kill(holder)

    record = Runs(open_readonly(store.connection(settings))).find("killed")
    assert record.outcome == listed(settings)["killed"] == "killed"
    assert before - timedelta(minutes=1) < record.renewed <= before


def test_the_next_run_closes_it_and_removes_what_it_left(settings, holder):
    opened = open_store(store.connection(settings))
    done = execution(opened, settings, "killed", "StatisticsGen", COMPLETE)
    left = execution(opened, settings, "killed", "Transform", RUNNING)
    other = execution(opened, settings, "another", "Trainer", RUNNING)
    kill(holder)

    with exclusive(settings):
        closed = killed_runs.close(opened, settings)
        again = killed_runs.close(opened, settings)

    assert [(run.run_id, run.outcome) for run in closed] == [("killed", "killed")]
    assert again == []
    assert Recorder(opened).read("killed").outcome == "killed"
    executions = {execution.id: execution for execution in opened.get_executions()}
    states = {number: execution.last_known_state for number, execution in executions.items()}
    assert states == {done: COMPLETE, left: FAILED, other: RUNNING}
    assert executions[left].custom_properties["window"].string_value == "1:3"
    assert not any(folder.exists() for folder in folders(settings, left, "Transform"))
    assert not list(Path(settings.artifacts).rglob(str(left)))
    for untouched, node in ((done, "StatisticsGen"), (other, "Trainer")):
        assert all(folder.exists() for folder in folders(settings, untouched, node))


def test_what_lives_or_cannot_be_seen_is_left_alone(settings, holder):
    opened = open_store(store.connection(settings))
    recorder = Recorder(opened)
    me, long_ago = Owner.me(lock_of(settings)), datetime(2013, 7, 1, tzinfo=UTC)
    there = me.model_copy(update={"boot": "its own start", "host": "another"})
    others = {
        "lives": {"owner": me, "renewed": long_ago},
        "elsewhere": {"owner": there, "renewed": long_ago},
        "on kubeflow": {"runner": "kubeflow", "renewed": long_ago},
        "of an older version": {},
    }
    for name, fields in others.items():
        recorder.write(name, kind="run", outcome="running", **fields)
    running = execution(opened, settings, "elsewhere", "Trainer", RUNNING)
    kill(holder)

    with exclusive(settings):
        assert [run.run_id for run in killed_runs.close(opened, settings)] == ["killed"]

    assert listed(settings) == {"killed": "killed", **dict.fromkeys(others, "running")}
    assert opened.get_executions_by_id([running])[0].last_known_state == RUNNING
    assert all(folder.exists() for folder in folders(settings, running, "Trainer"))


def test_a_lease_is_renewed_while_the_run_goes_on_and_not_after(settings):
    Path(settings.workspace).mkdir()
    connection = store.connection(settings)
    recorder = Recorder(open_store(connection))
    long_ago = datetime(2013, 7, 1, tzinfo=UTC)
    recorder.write("run", outcome="running", renewed=long_ago)

    with renewing(connection, "run", seconds=0.01):
        wait_for(lambda: recorder.read("run").renewed != long_ago)
    last = recorder.read("run")
    time.sleep(0.2)

    assert recorder.read("run") == last
    assert last.outcome == "running"


def test_a_record_that_is_killed_in_its_making_is_never_one_without_a_word(settings, monkeypatch):
    Path(settings.workspace).mkdir()
    connection = store.connection(settings)
    put, calls = ml_metadata.MetadataStore.put_contexts, []

    def killed_after_the_first(opened, *arguments, **further):
        if calls:
            raise KeyboardInterrupt
        calls.append(arguments)
        return put(opened, *arguments, **further)

    monkeypatch.setattr(ml_metadata.MetadataStore, "put_contexts", killed_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        Recorder(open_store(connection)).write("run", kind="run", outcome="running")
    monkeypatch.undo()

    context = open_store(connection).get_context_by_type_and_name(RUN, "run")
    assert json.loads(context.custom_properties["flightdeck.kind"].string_value) == "run"
