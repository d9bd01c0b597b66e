"""What the version before the served one would have answered to the same requests, and whether that was better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from errors import FlightdeckError
from ledger.significance import bootstrap
from operations.inference.batch_files import to_arrays
from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal
from operations.tasks import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from operations.inference.model import LoadedModel


class RescoringError(FlightdeckError):
    """A model cannot answer logged requests; the text is the end of a sentence."""


def answers(task: Task, model: LoadedModel, rows: pd.DataFrame) -> np.ndarray:
    """The predictions of a model for rows of the payload log.

    Raises:
        RescoringError: the log lacks a column that the model takes, or the model predicts something else.
    """
    import pyarrow as pa

    wanted = model.inputs.types
    if absent := [name for name in wanted if name not in rows.columns]:
        raise RescoringError(f"it takes {', '.join(absent)}, which the payload log does not have")
    if not model.task.like(task):
        raise RescoringError(f"it predicts {model.task.phrase}")
    kinds = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}
    batch = pa.record_batch(
        {name: pa.array(rows[name], from_pandas=True).cast(kinds[dtype]) for name, dtype in wanted.items()}
    )
    predictions = task.answered(model.predict(to_arrays(batch)))
    if predictions is None:
        raise RescoringError(f"it gives no {task.output}")
    return predictions


def compared(
    task: Task, labels: np.ndarray, served: np.ndarray, previous: np.ndarray, version: int, settings: Monitoring
) -> Signal:
    """By how much the loss of the served version exceeds that of the one before it, on the same rows.

    `served` are the predictions that were answered, `previous` those that the version before, of this number, would
    have answered.
    """
    reason = task.measures.why_not(labels, served, previous)
    if len(labels) < settings.fewest_labels:
        reason = f"{len(labels):,} labels have arrived, and {settings.fewest_labels:,} are needed"
    if reason is not None:
        return unknown(task, version, reason, settings)
    loss = task.loss
    (test,) = bootstrap(labels, previous, served, [loss.name], measures=task.measures)
    threshold = loss.allowance(test.first, getattr(settings, task.previous_setting))
    exceeded = test.low > threshold
    return Signal(
        kind="previous",
        name=f"{loss.name}_difference",
        subject=loss.name,
        value=test.difference,
        low=test.low,
        high=test.high,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"the {loss.title} is {loss.number(test.second, 4)}{task.unit(loss)}, and that of version {version} on "
        f"the same {test.rows:,} labelled requests would have been {loss.number(test.first, 4)}: "
        f"{loss.difference(test.difference, test.low, test.high)}, {'all of it' if exceeded else 'not certainly'} "
        f"beyond {threshold:g}",
    )


def unknown(task: Task, version: int, reason: str, settings: Monitoring) -> Signal:
    """The same, where it cannot be told: `reason` is the end of a sentence."""
    loss = task.loss
    return Signal(
        kind="previous",
        name=f"{loss.name}_difference",
        subject=loss.name,
        value=None,
        threshold=None if loss.in_unit else getattr(settings, task.previous_setting),
        meaning=f"it cannot be told whether version {version} would have been better: {reason}",
    )
