"""A small trained model on real flights, shared by the tests of the models."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

TRAIN_SPANS = range(4, 8)
EVAL_SPAN = 8
ROWS = 4000


@dataclass(frozen=True)
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
def ingested(tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    """The small job, up to the transform graph."""
    from benchmarks import quality
    from data import prepare, spans
    from data.contract import Contract
    from models.flights import FlightFeatures

    folder = tmp_path_factory.mktemp("small-job")
    prepare.prepare(folder / "all")
    prepare.slice_spans(folder / "all", folder / "spans", ROWS, [*TRAIN_SPANS, EVAL_SPAN])
    train = [spans.read(folder / "spans", span) for span in TRAIN_SPANS]
    evaluation = spans.read(folder / "spans", EVAL_SPAN)
    columns = Contract.load(quality.CONTRACT).ingested()
    quality.write_examples(train, columns, folder / "Split-train")
    quality.write_examples([evaluation], columns, folder / "Split-eval")
    pattern = str(folder / "Split-train" / "*")
    quality.analyse(pattern, quality.SCHEMA, FlightFeatures(), folder / "transform")
    return SmallJob(folder, pa.concat_tables(train), evaluation)


@pytest.fixture(scope="session")
def trained(ingested: SmallJob) -> SmallJob:
    """The small job with its model."""
    from models.training import run_fn

    arguments = ingested.arguments(ingested.folder, epochs=4)
    arguments.schema_path = str(Path(__file__).parents[2] / "data" / "schema.pbtxt")
    run_fn(arguments)
    return ingested


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
