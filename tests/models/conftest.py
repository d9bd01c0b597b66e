"""A small trained model on real flights, shared by the tests of the models."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_transform as tft

from benchmarks import quality
from data import prepare, spans
from data.contract import Contract, Target
from models import inputs
from models.flights import FlightFeatures
from models.settings import ModelSettings
from models.training import run_fn
from tests.once import once
from tests.world import ROOT

TRAIN_SPANS = range(4, 8)
EVAL_SPAN = 8
ROWS = 4000
LATE = Target(label="arrived_late")


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
        settings = ModelSettings.model_validate({"batch_size": 256, "epochs": 2} | model)
        return quality.trainer_arguments(
            self.folder, self.folder / "transform", destination, FlightFeatures(), settings, LATE
        )

    @property
    def transform(self) -> tft.TFTransformOutput:
        return tft.TFTransformOutput(str(self.folder / "transform"))

    @property
    def graph(self) -> inputs.TransformGraph:
        return inputs.TransformGraph(self.transform, FlightFeatures().inputs)

    def rows(self, split: str) -> inputs.Rows:
        pattern = str(self.folder / f"Split-{split}" / "*")
        return inputs.read([pattern], self.graph, "arrived_late")

    def examples(self) -> list[bytes]:
        return list(inputs.records(inputs.matching([str(self.folder / "Split-eval" / "*")])).as_numpy_iterator())


def signature(folder: Path, name: str = "serving_default") -> Any:
    return tf.saved_model.load(str(folder / "serving")).signatures[name]


def probabilities(folder: Path, job: SmallJob) -> np.ndarray:
    """Returns what an exported model answers for the newest span, [rows, 1]."""
    return signature(folder)(examples=tf.constant(job.examples()))["probability"].numpy()


def weights(folder: Path) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(str(folder / "serving" / "variables" / "variables"))
    names = [name for name in reader.get_variable_to_shape_map() if "OBJECT_GRAPH" not in name]
    return {name: reader.get_tensor(name) for name in names}


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "training.json").read_text(encoding="utf-8"))


def ingest(source: Path, training: Sequence[int], folder: Path) -> None:
    """Writes the examples of some spans and of the newest one, and their transform graph."""
    columns = Contract.load(quality.CONTRACT).ingested()
    for split, numbers in (("train", training), ("eval", [EVAL_SPAN])):
        quality.write_examples([spans.read(source, span) for span in numbers], columns, folder / f"Split-{split}")
    quality.analyse(str(folder / "Split-train" / "*"), quality.SCHEMA, FlightFeatures(), folder / "transform")


@pytest.fixture(scope="session")
def ingested(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    def make(folder: Path) -> None:
        prepare.slice_spans(prepared, folder / "spans", ROWS, [*TRAIN_SPANS, EVAL_SPAN])
        ingest(folder / "spans", TRAIN_SPANS, folder)

    folder = once(tmp_path_factory, "small-job", make)
    train = pa.concat_tables(spans.read(folder / "spans", span) for span in TRAIN_SPANS)
    return SmallJob(folder, train, spans.read(folder / "spans", EVAL_SPAN))


@pytest.fixture(scope="session")
def trained(ingested: SmallJob, tmp_path_factory: pytest.TempPathFactory) -> SmallJob:
    def make(folder: Path) -> None:
        for part in ingested.folder.iterdir():
            (folder / part.name).symlink_to(part)
        arguments = ingested.arguments(folder, epochs=4)
        arguments.schema_path = str(ROOT / "data" / "schema.pbtxt")
        run_fn(arguments)

    return dataclasses.replace(ingested, folder=once(tmp_path_factory, "small-job-trained", make))


def fresh_python(folder: Path, script: str, *arguments: object, path: Path | None = None) -> str:
    """Runs a script in another Python process, in a folder, and returns the last line that it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return (done.stdout.splitlines() or [""])[-1]
