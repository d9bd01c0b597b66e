"""What the version before the served one would have answered to the same requests, and whether that was better."""

from __future__ import annotations

from typing import TYPE_CHECKING

from errors import FlightdeckError
from ledger.significance import bootstrap, why_not
from operations.inference.batch_files import to_arrays
from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from operations.inference.model import LoadedModel

_METRIC = "log_loss"


class RescoringError(FlightdeckError):
    """A model cannot answer logged requests; the text is the end of a sentence."""


def answers(model: LoadedModel, rows: pd.DataFrame, output: str) -> np.ndarray:
    """One output of a model for rows of the payload log, float64 [rows].

    Raises:
        RescoringError: the log lacks a column that the model takes, or the model has no such output.
    """
    import pyarrow as pa

    wanted = model.inputs.types
    if absent := [name for name in wanted if name not in rows.columns]:
        raise RescoringError(f"it takes {', '.join(absent)}, which the payload log does not have")
    if output not in model.outputs:
        raise RescoringError(f"it gives no {output}")
    kinds = {"int64": pa.int64(), "float32": pa.float32(), "string": pa.string()}
    batch = pa.record_batch(
        {name: pa.array(rows[name], from_pandas=True).cast(kinds[dtype]) for name, dtype in wanted.items()}
    )
    return model.predict(to_arrays(batch))[output].reshape(-1).astype(float)


def compared(
    labels: np.ndarray, served: np.ndarray, previous: np.ndarray, version: int, settings: Monitoring
) -> Signal:
    """By how much the log loss of the served version exceeds that of the one before it, on the same rows.

    Labels are 0 or 1 [rows]; `served` are the probabilities that were answered, `previous` those that the version
    before, of this number, would have answered [rows].
    """
    reason = why_not(labels, served, previous)
    if len(labels) < settings.fewest_labels:
        reason = f"{len(labels):,} labels have arrived, and {settings.fewest_labels:,} are needed"
    if reason is not None:
        return unknown(version, reason, settings)
    (test,) = bootstrap(labels, previous, served, [_METRIC])
    exceeded = test.low > settings.previous_may_win
    return Signal(
        kind="previous",
        name="log_loss_difference",
        subject=_METRIC,
        value=test.difference,
        low=test.low,
        high=test.high,
        threshold=settings.previous_may_win,
        exceeded=exceeded,
        meaning=f"the log loss is {test.second:.4f}, and that of version {version} on the same {test.rows:,} "
        f"labelled requests would have been {test.first:.4f}: {test.difference:+.4f} ({test.low:+.4f} to "
        f"{test.high:+.4f}), {'all of it' if exceeded else 'not certainly'} beyond {settings.previous_may_win:g}",
    )


def unknown(version: int, reason: str, settings: Monitoring) -> Signal:
    """The same, where it cannot be told: `reason` is the end of a sentence."""
    return Signal(
        kind="previous",
        name="log_loss_difference",
        subject=_METRIC,
        value=None,
        threshold=settings.previous_may_win,
        meaning=f"it cannot be told whether version {version} would have been better: {reason}",
    )
