"""Jobs on an engine: what a person is told of those that fail, and what becomes of them when nobody waits any more."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from pipeline.beam_settings import Flink
from tests.services import engine
from tests.world import World

WHERE = {"endpoint": "jobs:8099", "pool": "localhost:50000"}
# As Flink 1.20 ends a job's message; the stack is shortened.
BUFFERS = """java.util.concurrent.ExecutionException: org.apache.flink.runtime.client.JobExecutionException: Job failed.
Caused by: java.io.IOException: Insufficient number of network buffers: required 512, but only 485 available. \
The total number of network buffers is currently set to 4096 of 32768 bytes each.
    at org.apache.flink.runtime.io.network.buffer.NetworkBufferPool.internalRequestMemorySegments(X.java:600)"""
NO_POOL = """java.lang.RuntimeException
	at org.apache.beam.runners.fnexecution.environment.ExternalEnvironmentFactory.createEnvironment(X.java:85)
Caused by: java.net.ConnectException: Connection refused"""
RAISED = """org.apache.beam.sdk.util.UserCodeException: Error received from SDK harness for instruction 4: Traceback:
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
ValueError: flights.parquet: row 7 has no carrier [while running 'WriteShard']

	at org.apache.beam.sdk.util.MoreFutures.get(MoreFutures.java:60)"""


@pytest.mark.unit
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (BUFFERS, "Flink has too few network buffers (required 512, but only 485 available): set taskmanager.memory."),
        (NO_POOL, "No worker pool answers at localhost:50000: start one beside each TaskManager"),
        (RAISED, "flights.parquet: row 7 has no carrier"),
        ("Job failed.\nCaused by: java.io.IOException: No space left on device", "No space left on device"),
        (
            "Pipeline job_7 failed in state FAILED: unknown error",
            "Pipeline job_7 failed in state FAILED: unknown error",
        ),
    ],
)
def test_what_flink_prints_is_one_sentence(text, sentence):
    from pipeline.engine import explained

    said = explained(RuntimeError(text), **WHERE)

    assert said.startswith(sentence)
    assert len(said.splitlines()) == 1


@pytest.fixture
def states() -> Iterator:
    """The state of each job of a job server, by name."""
    import grpc
    from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc

    with contextlib.ExitStack() as channels:

        def of(endpoint: str) -> list[str]:
            channel = channels.enter_context(grpc.insecure_channel(endpoint))
            jobs = beam_job_api_pb2_grpc.JobServiceStub(channel).GetJobs(beam_job_api_pb2.GetJobsRequest())
            return [beam_job_api_pb2.JobState.Enum.Name(job.state) for job in jobs.job_info]

        yield of


def wait_for(condition, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.component
def test_a_job_may_take_longer_than_it_takes_to_connect_and_an_error_of_a_worker_is_its_sentence():
    import apache_beam as beam

    from pipeline.engine import EngineError

    with engine.job_server() as (endpoint, _), engine.worker_pool() as pool:
        arguments = [*Flink(job_endpoint=endpoint, environment_config=pool).arguments(), "--job_server_timeout=3"]

        with beam.Pipeline(argv=arguments) as pipeline:
            _ = pipeline | beam.Create([4]) | beam.Map(time.sleep)

        with (
            pytest.raises(EngineError, match=r"^invalid literal for int") as failed,
            beam.Pipeline(argv=arguments) as pipeline,
        ):
            _ = pipeline | beam.Create(["seven"]) | beam.Map(int)
        assert len(str(failed.value).splitlines()) == 1


@pytest.mark.component
@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 1), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interrupted_or_killed_run_cancels_its_job(small_spans, tmp_path, states, by, code):
    # No pool can start a worker, so the job goes on until it is cancelled.
    with (
        engine.job_server() as (endpoint, _),
        engine.beam_worker_pool(python=broken_for_workers(tmp_path)) as pool,
    ):
        world = World(tmp_path / "workspace", small_spans, engine.settings(endpoint, pool))
        run = world.start("run")
        screen: list[str] = []
        reader = threading.Thread(target=lambda: screen.extend(run.stdout), daemon=True)
        reader.start()
        wait_for(lambda: "RUNNING" in states(endpoint))

        os.kill(run.pid, by)

        assert run.wait(timeout=60) == code
        wait_for(lambda: states(endpoint) == ["CANCELLED"], 30)
        if by == signal.SIGINT:
            reader.join(30)
            assert "SpanExampleGen" in "".join(screen)
            assert "interrupted" in "".join(screen)
            assert "Traceback" not in "".join(screen)


@pytest.mark.component
def test_a_pod_of_kubeflow_that_is_stopped_cancels_its_job(tmp_path, states):
    import apache_beam as beam

    from pipeline.interruption import InterruptedRunError, stoppable

    def stop_when_it_runs() -> None:
        wait_for(lambda: "RUNNING" in states(endpoint))
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with (
        engine.job_server() as (endpoint, _),
        engine.beam_worker_pool(python=broken_for_workers(tmp_path)) as pool,
    ):
        arguments = list(Flink(job_endpoint=endpoint, environment_config=pool).arguments())
        stopping = threading.Thread(target=stop_when_it_runs)
        stopping.start()
        with pytest.raises(InterruptedRunError), stoppable("stopped"), beam.Pipeline(argv=arguments) as pipeline:
            _ = pipeline | beam.Create([1]) | beam.Map(str)
        stopping.join()
        assert states(endpoint) == ["CANCELLED"]
    assert signal.getsignal(signal.SIGTERM) == before


def broken_for_workers(folder):
    """A Python that runs a worker pool, whose workers wait for ever."""
    program = folder / "bin" / "python"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\ncase "$*" in *SdkHarness*) exec sleep 600;; esac\nexec "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    return program


@pytest.mark.proof
@pytest.mark.component
def test_a_component_whose_engine_died_is_one_sentence_and_the_next_run_goes_on(small_spans, tmp_path, states):
    world = World(tmp_path / "workspace", small_spans)
    with engine.worker_pool() as pool:
        with engine.job_server() as (endpoint, server):

            def kill_at_the_second_job() -> None:
                wait_for(lambda: {"DONE", "RUNNING"} <= {*states(endpoint)}, 300)
                server.kill()

            killing = threading.Thread(target=kill_at_the_second_job)
            killing.start()
            failed = world.run(*engine.settings(endpoint, pool), expect=1)
            killing.join()
        (error,) = [node["error"] for node in failed["nodes"] if node["error"]]
        assert error.startswith(f"The job server at {endpoint} has gone (")
        assert error.endswith("): start it again, and run again to go on.")
        with engine.job_server(int(endpoint.rpartition(":")[2])):
            resumed = world.run(*engine.settings(endpoint, pool))
    assert resumed["outcome"] == "pushed"
    assert {node["node_id"]: node["state"] for node in resumed["nodes"]}["SpanExampleGen"] == "cached"
    assert {node["engine"] for node in resumed["nodes"]} == {"flink", None}
