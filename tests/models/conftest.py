"""A small trained model on real flights, shared by the tests of the models."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.once import once
from tests.world import ROOT

TRAIN_SPANS = range(4, 8)
EVAL_SPAN = 8
ROWS = 4000


@dataclasses.dataclass(frozen=True)
class SmallJob:
    """A few spans of flights, ingested, analysed and trained on.

    Attributes:
        folder: Holds ``Split-train``, ``Split-eval``, ``transform`` and, once trained, ``serving`` and ``run``.
        train: The training rows.
        evaluation: The rows of the newest span.
    """

    folder: Path
    train: pa.Table
    evaluation: pa.Table

    def arguments(self, destination: Path, **model: Any) -> Any:
        """Returns arguments of `run_fn` that write below a folder, with some settings of the model."""
        from benchmarks import quality
        from models.flights import FlightFeatures
        from models.settings import ModelSettings

        settings = ModelSettings.model_validate({"batch_size": 256, "epochs": 2} | model)
        return quality.trainer_arguments(
            self.folder, self.folder / "transform", destination, FlightFeatures(), settings, "arrived_late"
        )

    def examples(self) -> list[bytes]:
        """Returns the serialised examples of the newest span."""
        import tensorflow as tf

        files = [str(file) for file in sorted((self.folder / "Split-eval").iterdir())]
        return list(tf.data.TFRecordDataset(files, compression_type="GZIP").as_numpy_iterator())


@pytest.fixture(scope="session")
def ingested(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """The small job, up to the transform graph."""
    from benchmarks import quality
    from data import prepare, spans
    from data.contract import Contract
    from models.flights import FlightFeatures

    def make(folder: Path) -> None:
        prepare.slice_spans(prepared, folder / "spans", ROWS, [*TRAIN_SPANS, EVAL_SPAN])
        columns = Contract.load(quality.CONTRACT).ingested()
        for split, numbers in (("train", TRAIN_SPANS), ("eval", [EVAL_SPAN])):
            tables = [spans.read(folder / "spans", span) for span in numbers]
            quality.write_examples(tables, columns, folder / f"Split-{split}")
        quality.analyse(str(folder / "Split-train" / "*"), quality.SCHEMA, FlightFeatures(), folder / "transform")

    folder = once(tmp_path_factory, "small-job", make)
    train = pa.concat_tables(spans.read(folder / "spans", span) for span in TRAIN_SPANS)
    return SmallJob(folder, train, spans.read(folder / "spans", EVAL_SPAN))


@pytest.fixture(scope="session")
def trained(ingested: SmallJob, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """The small job with its model."""
    from models.training import run_fn

    def make(folder: Path) -> None:
        for part in ingested.folder.iterdir():
            (folder / part.name).symlink_to(part)
        arguments = ingested.arguments(folder, epochs=4)
        arguments.schema_path = str(ROOT / "data" / "schema.pbtxt")
        run_fn(arguments)

    return dataclasses.replace(ingested, folder=once(tmp_path_factory, "small-job-trained", make))


@pytest.fixture
def fresh_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs a script in another Python process, in an empty folder, and returns what it did."""

    def run(script: str, *arguments: object, path: Path | None = None) -> subprocess.CompletedProcess:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        command = [sys.executable, "-c", script, *map(str, arguments)]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return run
