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
