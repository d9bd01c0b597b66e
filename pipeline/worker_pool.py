"""A worker pool for an engine: it has imported what the components need, and forks a process for each worker.

Beam's own pool starts a new Python for each worker of each job, which imports TensorFlow and TFX for ten seconds. It
also listens on all interfaces.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent import futures

import grpc
from apache_beam.portability.api import beam_fn_api_pb2, beam_fn_api_pb2_grpc

from errors import FlightdeckError
from pipeline.engine import EngineError, reach
from pipeline.runners import fork_server


def serve(host: str, port: int, sources: Callable[[], object]) -> grpc.Server:
    """Returns a pool that listens at an address; its workers end with this process.

    Args:
        host: the address of this machine to listen on.
        port: the port.
        sources: what identifies the code as it is on disk; where that has changed, what was imported is imported anew.

    Raises:
        FlightdeckError: nothing can listen there.
    """
    # Two pools that share a port would each get some of the requests. TaskManagers ping for as long as they are there.
    options = [("grpc.so_reuseport", 0), ("grpc.http2.max_pings_without_data", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(), options=options)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(WorkerPool(sources), server)
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise FlightdeckError(f"The address {host}:{port} is in use, or not of this machine.") from error
    server.start()
    return server


class WorkerPool(beam_fn_api_pb2_grpc.BeamFnExternalWorkerPoolServicer):
    """Starts and stops the workers of one TaskManager."""

    def __init__(self, sources: Callable[[], object]) -> None:
        self._workers: dict[str, tuple[fork_server.Job, str]] = {}
        self._one_at_a_time = threading.Lock()
        self._sources, self._imported = sources, sources()
        fork_server.start(fork_server.FULL)

    def StartWorker(  # noqa: N802 - Beam's name
        self, request: beam_fn_api_pb2.StartWorkerRequest, _context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StartWorkerResponse:
        """Starts a worker, which runs the code that is on disk now; answers with an error if it has a namesake."""
        name, endpoint = request.worker_id, request.control_endpoint.url
        with self._one_at_a_time:
            if self._works_for_another(name):
                return beam_fn_api_pb2.StartWorkerResponse(
                    error=f"The worker pool serves two TaskManagers, or two jobs, which both call a worker {name}: "
                    "give each TaskManager a pool of its own, and run one job at a time."
                )
            if (sources := self._sources()) != self._imported:
                fork_server.close()
                self._imported = sources
            self._workers[name] = fork_server.Job(fork_server.FULL, work, endpoint, name), endpoint
        return beam_fn_api_pb2.StartWorkerResponse()

    def StopWorker(  # noqa: N802 - Beam's name
        self, request: beam_fn_api_pb2.StopWorkerRequest, _context: grpc.ServicerContext
    ) -> beam_fn_api_pb2.StopWorkerResponse:
        """Ends the process of a worker."""
        with self._one_at_a_time:
            self._stop(request.worker_id)
        return beam_fn_api_pb2.StopWorkerResponse()

    def _works_for_another(self, name: str) -> bool:
        """Whether there is such a worker, whose engine is still there; if it is not, the worker is ended."""
        if name not in self._workers:
            return False
        worker, endpoint = self._workers[name]
        if not worker.has_ended():
            with contextlib.suppress(EngineError):
                reach(endpoint)
                return True
        self._stop(name)
        return False

    def _stop(self, name: str) -> None:
        if name in self._workers:
            worker, _ = self._workers.pop(name)
            worker.abandon()


def work(control_endpoint: str, name: str) -> None:
    """What a worker does, until its engine is gone."""
    from apache_beam.runners.worker.sdk_worker import SdkHarness

    # As in Beam's own pool, bundles are not held back to be sent together.
    SdkHarness(control_endpoint, worker_id=name, data_buffer_time_limit_ms=-1).run()
