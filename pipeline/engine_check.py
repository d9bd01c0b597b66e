"""A pipeline of two lines, which tells whether an engine can do the work of the components, and if not, why."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

import storage
from errors import FlightdeckError
from pipeline import engine, stamp
from pipeline.engine import EngineError

# What workers import for the components.
_MODULES = ("components.span_example_gen.shards", "components.statistics", "components.transform")
# So that all workers are there at the same time.
_TOGETHER_SECONDS = 2.0
_QUESTION = "question"
# The folders of the checks for which this worker has looked around and found nothing wrong.
_looked: set[str] = set()


@dataclasses.dataclass(frozen=True)
class Expected:
    """What a worker must find: the same code, and a file with this content in this folder."""

    sources: Mapping[str, str]
    folder: str
    content: str


@dataclasses.dataclass(frozen=True)
class Report:
    """An engine that works: its workers, each as HOST and process id, and the wall time in seconds."""

    workers: tuple[tuple[str, int], ...]
    seconds: float


def check(arguments: Sequence[str], workspace: str, parallelism: int, timeout: float) -> Report:
    """Runs the pipeline with some Beam arguments, and has its workers look around; nothing is left in the workspace.

    Raises:
        EngineError: the engine cannot do the work of the components, or has not done this within `timeout` seconds.
        FlightdeckError: the workspace cannot be written here.
    """
    began = time.monotonic()
    folder = storage.at(workspace) / f".beam-check-{secrets.token_hex(4)}"
    expected = Expected(stamp.sources(), str(folder), content=secrets.token_hex(8))
    try:
        storage.make_folder(folder)
        storage.write(folder / _QUESTION, expected.content)
    except OSError as error:
        raise FlightdeckError(f"The workspace {workspace} cannot be written: {storage.why(error)}.") from error
    try:
        _run(arguments, expected, parallelism, timeout)
        answers = [json.loads(file.read_text()) for file in folder.glob("worker-*.json")]
        if not answers:
            raise EngineError(_unseen("what workers write into", expected.folder, "is not here"))
        return Report(tuple(sorted((host, pid) for host, pid in answers)), round(time.monotonic() - began, 1))
    finally:
        storage.remove_folder(folder)


def _run(arguments: Sequence[str], expected: Expected, parallelism: int, timeout: float) -> None:
    """Runs the pipeline in a thread, since an engine can keep its caller waiting at any moment."""
    raised: list[Exception] = []

    def run() -> None:
        try:
            with beam.Pipeline(options=PipelineOptions(list(arguments))) as pipeline:
                numbers = pipeline | "Ask" >> beam.Create(range(4 * parallelism)) | beam.Reshuffle()
                _ = numbers | "Look" >> beam.Map(look, expected)
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(timeout)
    if thread.is_alive():
        engine.cancel_jobs()
        raise EngineError(
            f"The engine did not do two lines of work within {timeout:.0f} s; its job was cancelled: look at the logs "
            "of the job server and of the worker pools."
        )
    if raised:
        text = str(raised[0]).split(" [while running ")[0] or type(raised[0]).__name__
        raise EngineError(text.strip().splitlines()[-1]) from raised[0]


def look(_number: int, expected: Expected) -> None:
    """What a worker does: looks around, and writes down that it was there; raises an EngineError with what is wrong."""
    if expected.folder in _looked:
        return
    host = socket.gethostname()
    there, here = stamp.sources(), expected.sources
    if other := sorted(name for name in {*there, *here} if there.get(name) != here.get(name)):
        raise EngineError(
            f"The worker on {host} has other code than this, {other[0]} first of {len(other)} files: give it the same "
            "image."
        )
    folder = storage.at(expected.folder)
    try:
        same = (folder / _QUESTION).read_text() == expected.content
    except OSError:
        same = False
    if not same:
        raise EngineError(_unseen("the worker on", host, f"does not see {folder}"))
    for module in _MODULES:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise EngineError(f"The worker on {host} cannot import {module}: {error}") from error
    try:
        storage.write(folder / f"worker-{host}-{os.getpid()}.json", json.dumps([host, os.getpid()]))
    except OSError as error:
        raise EngineError(f"The worker on {host} cannot write to the workspace: {storage.why(error)}.") from error
    # At last, so that an engine that tries again fails again.
    _looked.add(expected.folder)
    time.sleep(_TOGETHER_SECONDS)


def _unseen(*what: str) -> str:
    return (
        f"The workspace is not shared: {' '.join(what)}. Put it in a bucket, or mount it at the same place everywhere."
    )
