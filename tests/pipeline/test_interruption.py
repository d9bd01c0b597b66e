"""A component that is stopped: also if a library swallows the interruption, and its clean-up is not interrupted."""

import os
import signal
import threading
import time

import pytest
from ml_metadata.proto.metadata_store_pb2 import Execution

from ledger.opening import open_store
from pipeline import interruption
from tests.ledger.seeding import sqlite

pytestmark = pytest.mark.component


def test_a_component_that_swallows_the_interruption_is_interrupted_again_and_its_clean_up_is_not(monkeypatch, tmp_path):
    from tfx.orchestration.pipeline import Pipeline
    from tfx.orchestration.portable import outputs_utils

    from pipeline import node
    from tests.pipeline.deaf import Deaf

    def stop() -> None:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    def removed_slowly(artifacts: object, remove=outputs_utils.remove_output_dirs) -> None:
        time.sleep(4 * again)
        remove(artifacts)

    again = 0.2
    monkeypatch.setattr(interruption, "AGAIN_SECONDS", again)
    monkeypatch.setattr(outputs_utils, "remove_output_dirs", removed_slowly)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)]
    deaf = Deaf(begun=str(tmp_path / "begun"))
    ir = node.compile_pipeline(Pipeline("a-pipeline", str(tmp_path / "artifacts"), components=[deaf]))
    node.bind(ir, "a-run")
    stopping = threading.Thread(target=stop)
    stopping.start()

    with interruption.stoppable("its pod was stopped"):
        outcome = node.launch(ir, "Deaf", sqlite(tmp_path / "metadata.sqlite"))

    stopping.join()
    assert (outcome.state, outcome.error) == ("failed", "its pod was stopped")
    assert outcome.seconds < 20
    (execution,) = open_store(sqlite(tmp_path / "metadata.sqlite")).get_executions()
    assert execution.last_known_state == Execution.FAILED
    assert not [*(tmp_path / "artifacts").rglob("half"), *(tmp_path / "artifacts").rglob("whole")]
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)] == handlers
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
