"""Writes what TensorBoard's HParams page shows of a trial: its hyperparameters, its score, and whether it succeeded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, summary, summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter


@contextlib.contextmanager
def session(logs: str, trial: str, hyperparameters: Mapping[str, Any]) -> Iterator[dict[str, float]]:
    """Writes the beginning and the end of a trial into its folder, or URI, of logs, which is made if need be.

    Hyperparameters that are neither text nor number are written as text.

    Yields:
        Where the body puts scores by their tags. A body that raises is a trial that failed.
    """
    writer = EventFileWriter(logs, filename_suffix=".hparams")
    scores: dict[str, float] = {}
    state = api_pb2.STATUS_FAILURE
    try:
        plain = {name: _plain(value) for name, value in hyperparameters.items()}
        _write(writer, summary_v2.hparams_pb(plain, trial_id=trial))
        yield scores
        for tag, score in scores.items():
            _write(writer, Summary(value=[Summary.Value(tag=tag, simple_value=score)]))
        state = api_pb2.STATUS_SUCCESS
    finally:
        _write(writer, summary.session_end_pb(state))
        writer.close()


def _write(writer: EventFileWriter, content: Any) -> None:
    # The helpers make the same proto of another module when TensorFlow is there.
    copied = Summary.FromString(content.SerializeToString())
    writer.add_event(Event(wall_time=time.time(), summary=copied, step=0))


def _plain(value: Any) -> bool | int | float | str:
    if isinstance(value, bool | int | float | str):
        return value
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
