"""Beam pipelines on an engine behind a job server, such as Flink: submits them, cancels them, explains what went wrong.

Beam's own runner leaves a job on its engine when this process is interrupted, and shows a person Java's stack.
"""

from __future__ import annotations

import contextlib
import re
import socket
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner

from errors import FlightdeckError
from pipeline.runners import fork_server

_CONNECT_SECONDS = 10.0
_CANCEL_SECONDS = 10.0
# What engines print, and what it means to a person. Tried with Beam's own job service, but for the network buffers, of
# which Flink 1.20 printed this, and Java's words for a missing pool, which follow the names of Beam's classes, unseen.
_KNOWN = (
    (
        re.compile(
            r"environment: \S+python(\S+)_sdk:(\S+)\. Runtime environment: \S+python(\S+)_sdk:(\S+?)\.?(?=\s|$)"
        ),
        "The workers have Beam {3} for Python {2}, and this is Beam {1} for Python {0}: give them the same image.",
    ),
    (
        re.compile(r"No module named '([^']+)'"),
        "A worker cannot import {0}: give the workers Flightdeck's image, or its checkout on their PYTHONPATH.",
    ),
    (
        re.compile(r"Insufficient number of network buffers: (required \d+, but only \d+ available)"),
        "Flink has too few network buffers ({0}): set taskmanager.memory.network.min and .max to 512m, and "
        "taskmanager.network.sort-shuffle.min-buffers to 64.",
    ),
    (
        re.compile(r"(?s)(?:StartWorker|ExternalEnvironmentFactory).*(?:UNAVAILABLE|Connection refused)"),
        "No worker pool answers at {pool}: start one beside each TaskManager, with `flightdeck beam "
        "pool --port PORT`, or change beam.flink.environment_config.",
    ),
)
# The last line of a Python worker's traceback.
_IN_WORKER = re.compile(r"^(?:[\w.]+: )?(.+?) \[while running ", re.MULTILINE)
_EXCEPTION = re.compile(r"^(?:Caused by: )?[\w.$]*(?:Error|Exception): (?:Error starting worker: )?(.+)$", re.MULTILINE)


class EngineError(FlightdeckError):
    """An engine could not do its work; the text says why in one sentence."""


class JobServerRunner(PortableRunner):
    """Runs a pipeline on the engine behind a job server, and cancels it there if this process stops waiting for it."""

    def create_job_service_handle(self, job_service: Any, options: PipelineOptions) -> JobServiceHandle:
        """The job server, without the timeout for connecting, with which Beam would also end jobs that take longer."""
        handle = super().create_job_service_handle(job_service, options)
        handle.timeout = None
        return handle

    def run_portable_pipeline(self, pipeline: Any, options: PipelineOptions) -> Job:
        """Submits a pipeline; raises an EngineError if the job server does not take it."""
        portable = options.view_as(PortableOptions)
        where = {"endpoint": str(portable.job_endpoint), "pool": str(portable.environment_config)}
        reach(where["endpoint"])
        try:
            return Job(super().run_portable_pipeline(pipeline, options), where)
        except (grpc.RpcError, grpc.FutureTimeoutError) as error:
            raise EngineError(explained(error, **where)) from error


class Job:
    """A submitted job: Beam's own result, and what becomes of the job when nobody waits for it any more."""

    def __init__(self, result: Any, where: dict[str, str]) -> None:
        self._result, self._where = result, where
        # From now on, because whoever submitted it may go before it waits.
        _running.add(self)

    def __getattr__(self, name: str) -> Any:  # noqa: D105
        return getattr(self._result, name)

    def wait_until_finish(self, duration: int | None = None) -> Any:
        """Waits for the end of the job, for at most so many milliseconds; returns its state.

        Raises:
            EngineError: the job failed, or its engine is gone.
            BaseException: whatever interrupts the waiting; the job is then cancelled.
        """
        try:
            return self._result.wait_until_finish(duration)
        except (grpc.RpcError, RuntimeError) as error:  # how Beam says that a job has failed
            raise EngineError(explained(error, **self._where)) from error
        except BaseException:
            self.cancel()
            raise
        finally:
            _running.discard(self)

    def cancel(self) -> None:
        """Asks the engine to end the job; one that cannot be asked any more is left alone."""
        request = beam_job_api_pb2.CancelJobRequest(job_id=self._result._job_id)
        with contextlib.suppress(grpc.RpcError):
            self._result._job_service.Cancel(request, timeout=_CANCEL_SECONDS)


# The jobs that this process waits for.
_running: set[Job] = set()


def cancel_jobs() -> None:
    """Cancels every job that this process waits for."""
    for job in list(_running):
        job.cancel()


fork_server.abandoned.append(cancel_jobs)


def reach(endpoint: str) -> None:
    """Raises an EngineError if nothing accepts connections at HOST:PORT."""
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"No job server answers at {endpoint} ({error.strerror or error}): start it, or change "
            "beam.flink.job_endpoint."
        ) from error


def explained(error: Exception, endpoint: str, pool: str) -> str:
    """What went wrong, as one sentence: of a job server at HOST:PORT, or of a job, whose workers come from `pool`."""
    code = error.code().name if isinstance(error, grpc.Call) else type(error).__name__
    if isinstance(error, grpc.FutureTimeoutError) or code == "UNIMPLEMENTED":
        return f"What listens at {endpoint} is no Beam job server: change beam.flink.job_endpoint."
    if isinstance(error, grpc.RpcError):
        return f"The job server at {endpoint} has gone ({code}): start it again, and run again to go on."
    text = str(error)
    for pattern, sentence in _KNOWN:
        if match := pattern.search(text):
            return sentence.format(*match.groups(), pool=pool)
    for pattern in (_IN_WORKER, _EXCEPTION):
        if said := pattern.findall(text):
            return said[-1].strip()
    return (text.strip().splitlines() or [type(error).__name__])[0]
