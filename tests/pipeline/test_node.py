"""A node's connection to the metadata store: opened as the ledger opens it."""

import time

import pytest

from ledger.opening import Store
from tests.ledger.seeding import sqlite
from tests.world import LOCAL

pytestmark = pytest.mark.component


def test_tfx_gets_the_ledger_s_store_and_gives_it_back(tmp_path):
    from pipeline.node import PatientMetadata

    connection = PatientMetadata(sqlite(tmp_path / "metadata.sqlite"), patience=1)
    for _ in range(2):
        with connection as handle:
            assert isinstance(handle.store, Store)
            assert handle.store.get_contexts() == []


def test_a_store_that_cannot_be_opened_fails_the_node_at_once_with_the_ledger_s_sentence(tmp_path):
    from flightdeck.settings import read_settings
    from pipeline import node
    from pipeline.definition import create_pipeline

    ir = node.compile_pipeline(create_pipeline(read_settings(LOCAL, [f"workspace={tmp_path}"])))
    node.bind(ir, "a-run")
    file, started = tmp_path / "missing" / "metadata.sqlite", time.monotonic()

    outcome = node.launch(ir, "CuratedSchema", sqlite(file), patience=60)

    said = f"The metadata store {file} may not be opened by this user; look at the rights of file and folder."
    assert (outcome.state, outcome.error) == ("failed", said)
    assert time.monotonic() - started < 30


def test_what_tfx_publishes_does_not_undo_what_is_recorded_of_the_run_meanwhile(tmp_path):
    from tfx.orchestration.portable import execution_publish_utils

    from flightdeck.settings import read_settings
    from ledger.outputs import RUN
    from ledger.recorder import Recorder
    from pipeline import node
    from pipeline.definition import create_pipeline

    settings = read_settings(LOCAL, [f"workspace={tmp_path}"])
    ir = node.compile_pipeline(create_pipeline(settings))
    node.bind(ir, "a-run")
    connection = sqlite(tmp_path / "metadata.sqlite")
    recorder = Recorder(Store(connection, patience=1))
    recorder.write("a-run", kind="run")
    assert node.launch(ir, "CuratedSchema", connection).state == "done"
    with node.PatientMetadata(connection, patience=1) as handle:
        (execution,) = handle.store.get_executions()
        contexts = handle.store.get_contexts_by_type(RUN)
        recorder.write("a-run", window="1:3")  # another node's process, or the run's own

        execution_publish_utils.publish_cached_executions(handle, contexts, [execution], [{}])

    assert recorder.read("a-run").window == "1:3"
