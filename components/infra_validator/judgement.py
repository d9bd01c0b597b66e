"""What is asked of the answers before a candidate is called fit to serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.infra_validator.probe import SERVING_SIGNATURE
from components.tasks import Task

# Of a number between -1 and 1; of a larger one, of its size.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Answer:
    """The answer of one signature to one request: `values` for the examples `rows`, after `milliseconds`.

    The values of an example come one after another.
    """

    signature: str
    rows: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: str
    values: np.ndarray
    milliseconds: float

    @classmethod
    def from_event(cls, event: dict[str, Any]) -> Answer:
        """Reads the event that the probe wrote."""
        numeric = all(isinstance(value, int | float) for value in event["values"])
        return cls(
            signature=event["signature"],
            rows=tuple(event["rows"]),
            shape=tuple(event["shape"]),
            dtype=event["dtype"],
            values=np.array(event["values"], dtype=np.float64 if numeric else str),
            milliseconds=event["milliseconds"],
        )

    @property
    def request(self) -> str:
        """The request in words, for messages."""
        rows = f"example {self.rows[0]}" if len(self.rows) == 1 else f"{len(self.rows)} examples at once"
        return f"{self.signature} for {rows}"


def first_fault(answers: Sequence[Answer], examples: int, raw_signature: str, task: Task) -> str | None:
    """Returns what is wrong with the answers in one sentence, or None if the candidate is fit to serve.

    Both signatures must have answered all examples at once and each one alone, with as many finite float32
    numbers per example as the task has, which it finds no fault with, and must agree on the same request to
    within 1e-5, or that share of a number larger than 1.
    """
    requests = [tuple(range(examples)), *((row,) for row in range(examples))]
    by_request = {(answer.signature, answer.rows): answer for answer in answers}
    for rows in requests:
        pair = []
        for signature in (SERVING_SIGNATURE, raw_signature):
            answer = by_request.get((signature, rows))
            if answer is None:
                unanswered = sum((signature, rows) not in by_request for rows in requests)
                return f"The signature {signature} left {unanswered} requests unanswered."
            fault = _fault_of(answer, task)
            if fault:
                return fault
            pair.append(answer)
        serving, raw = pair
        fault = _disagreement(serving, raw, task.width)
        if fault:
            return fault
    return None


def latencies(answers: Sequence[Answer], raw_signature: str) -> dict[str, dict[str, float]]:
    """Returns milliseconds by signature: the first request (with tracing) and the single ones."""
    result = {}
    for signature in (SERVING_SIGNATURE, raw_signature):
        times = [answer.milliseconds for answer in answers if answer.signature == signature]
        if times:
            # With one example the only request is the first one.
            single = times[1:] or times
            result[signature] = {
                "first_ms": times[0],
                "single_median_ms": round(float(np.median(single)), 3),
                "single_p95_ms": round(float(np.percentile(single, 95)), 3),
                "single_max_ms": max(single),
            }
    return result


def _fault_of(answer: Answer, task: Task) -> str | None:
    expected = (len(answer.rows), task.width)
    if answer.shape != expected:
        return f"The answer of {answer.request} has the shape {list(answer.shape)} instead of {list(expected)}."
    if answer.dtype != "float32":
        return f"The answer of {answer.request} is {answer.dtype} instead of float32."
    if not np.isfinite(answer.values).all():
        at = int(np.flatnonzero(~np.isfinite(answer.values))[0])
        row = answer.rows[at // task.width]
        return f"The answer of {answer.request} is not finite: {answer.values[at]} for example {row}."
    fault = task.fault(answer.values.reshape(expected), answer.rows)
    return fault and f"The answer of {answer.request} {fault}."


def _disagreement(serving: Answer, raw: Answer, width: int) -> str | None:
    difference = np.abs(serving.values - raw.values) / np.maximum(np.abs(serving.values), 1.0)
    at = int(difference.argmax())
    if difference[at] <= TOLERANCE:
        return None
    return (
        f"The signatures disagree on example {serving.rows[at // width]}: {serving.signature} says "
        f"{serving.values[at]:.6g}, {raw.signature} says {raw.values[at]:.6g}."
    )
