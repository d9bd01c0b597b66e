"""A metadata server that goes away and comes back: a real MariaDB behind a switch."""

import multiprocessing
import threading
import time

import pytest

from ledger.opening import LedgerError, open_store
from ledger.recorder import Recorder
from pipeline import store
from tests.kubeflow.switch import Switch
from tests.world import LOCAL

pytestmark = pytest.mark.kubeflow


@pytest.fixture
def switch(services):
    made = Switch(services["mysql"].port)
    yield made
    made.close()


@pytest.fixture
def launch(switch, database, tmp_path):
    """Launches the first node of the pipeline, with a database behind the switch: ``launch(patience)``."""
    from flightdeck.settings import read_settings
    from pipeline import node
    from pipeline.definition import create_pipeline

    settings = read_settings(LOCAL, [f"workspace={tmp_path}", "metadata.kind=mysql"])
    environment = {**database(), "FLIGHTDECK_METADATA_PORT": str(switch.port)}
    ir = node.compile_pipeline(create_pipeline(settings))
    node.bind(ir, "a-run")
    return lambda patience: node.launch(ir, "CuratedSchema", store.connection(settings, environment), patience)


def test_a_node_waits_for_a_database_that_is_being_restarted(switch, launch):
    switch.on.clear()
    # Longer than TFX's own patience.
    threading.Timer(12, switch.on.set).start()
    started = time.monotonic()

    outcome = launch(60)

    assert outcome.state == "done", outcome.error
    assert time.monotonic() - started > 11


def test_a_database_that_stays_away_fails_the_node_with_one_sentence(switch, launch):
    switch.on.clear()

    outcome = launch(3)

    assert outcome.state == "failed"
    assert outcome.error is not None
    assert outcome.error.startswith(f"The metadata server 127.0.0.1:{switch.port} cannot be reached: is it running")


@pytest.fixture
def server(switch, database):
    """A connection to a database that nobody has used, behind the switch."""
    return store.from_environment(1, {**database(), "FLIGHTDECK_METADATA_PORT": str(switch.port)})


def test_a_record_is_kept_over_a_restart_of_the_database(switch, server):
    recorder = Recorder(open_store(server, patience=60))
    recorder.write("a-run", outcome="running")
    switch.on.clear()
    timer = threading.Timer(3, switch.on.set)
    timer.start()

    recorder.write("a-run", outcome="pushed", version="1")

    timer.join()
    record = recorder.read("a-run")
    assert (record.outcome, record.version) == ("pushed", "1")


def test_a_record_gives_up_with_one_sentence_when_the_database_stays_away(switch, server):
    switch.on.clear()
    with pytest.raises(LedgerError, match="cannot be reached: is it running") as refused:
        open_store(server, patience=2)
    assert "\n" not in str(refused.value)


def _write(environment: dict[str, str], name: str) -> None:
    Recorder(open_store(store.from_environment(1, environment))).write(name, outcome="done")


def test_many_may_open_a_database_that_nobody_has_used_at_the_same_time(database):
    environment = database()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(environment, f"run-{number}")) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(180)

    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    records = Recorder(open_store(store.from_environment(1, environment))).all()
    assert sorted(record.run_id for record in records) == [f"run-{number}" for number in range(4)]
