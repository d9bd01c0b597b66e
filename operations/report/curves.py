"""The curves of a training, from its TensorBoard events. Reads them without TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

# Keras's callback for TensorBoard names a metric so, and writes a folder per kind of rows.
_PREFIX = "epoch_"


@dataclasses.dataclass(frozen=True)
class Curve:
    """One metric of a training.

    Attributes:
        metric: its name, such as ``loss``.
        rows: the folder of the events, such as ``train`` or ``validation``.
        points: (epoch, value), epochs from 1.
    """

    metric: str
    rows: str
    points: tuple[tuple[int, float], ...]


def read(folder: Path) -> list[Curve]:
    """All curves below a folder of TensorBoard events, by metric; empty if there are none.

    Args:
        folder: the Trainer's ``model_run``.
    """
    from tensorboard.compat.proto import event_pb2
    from tensorboard.util import tensor_util

    found: dict[tuple[str, str], dict[int, float]] = {}
    for file in sorted(folder.rglob("*tfevents*")):
        for record in _records(file):
            event = event_pb2.Event.FromString(record)
            for value in event.summary.value:
                if not value.tag.startswith(_PREFIX):
                    continue
                number = (
                    float(tensor_util.make_ndarray(value.tensor)) if value.HasField("tensor") else value.simple_value
                )
                found.setdefault((value.tag.removeprefix(_PREFIX), file.parent.name), {})[event.step + 1] = number
    return [
        Curve(metric, rows, tuple(sorted(points.items()))) for (metric, rows), points in sorted(found.items()) if points
    ]


def _records(file: Path) -> Iterator[bytes]:
    """The whole records of a file of events; one that a killed training left half-written ends it."""
    # TensorBoard's own reader in Python. Its event loaders import TensorFlow wherever that is installed.
    from tensorboard.compat.tensorflow_stub import errors, pywrap_tensorflow

    reader = pywrap_tensorflow.PyRecordReader_New(str(file), 0, b"", None)
    while True:
        try:
            reader.GetNext()
        except (errors.OutOfRangeError, errors.DataLossError):
            return
        yield reader.record() or b""
