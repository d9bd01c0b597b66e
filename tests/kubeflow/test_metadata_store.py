"""A metadata server that goes away and comes back: a real MariaDB behind a switch."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.kubeflow
LOCAL = Path(__file__).parents[2] / "config" / "local.yaml"


class Switch:
    """The switch, as a process."""

    def __init__(self, port: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kubeflow.switch", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=LOCAL.parents[1],
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def turn(self, state: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{state}\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def switch(services):
    made = Switch(services["mysql"]["port"])
    yield made
    made.close()


@pytest.fixture
def launch(switch, database, tmp_path):
    """Launches the first node of the pipeline, with a database behind the switch: ``launch(patience_seconds)``."""
    from pipeline import node, settings_file, store
    from pipeline.definition import create_pipeline

    settings = settings_file.load(LOCAL, [f"workspace={tmp_path}", "metadata.kind=mysql"])
    environment = {**database(), "FLIGHTDECK_METADATA_PORT": str(switch.port)}
    ir = node.compile_pipeline(create_pipeline(settings))
    node.bind(ir, "a-run")
    return lambda patience: node.launch(ir, "CuratedSchema", store.connection(settings, environment), patience)


def test_a_node_waits_for_a_database_that_is_being_restarted(switch, launch):
    switch.turn("off")
    # Longer than TFX's own patience.
    threading.Timer(12, switch.turn, ["on"]).start()
    started = time.monotonic()

    outcome = launch(60)

    assert outcome.state == "done", outcome.error
    assert time.monotonic() - started > 11


def test_a_database_that_stays_away_fails_the_node_with_one_sentence(switch, launch):
    switch.turn("off")

    outcome = launch(3)

    assert outcome.state == "failed"
    assert outcome.error == "the metadata store could not be reached for 3 seconds"
