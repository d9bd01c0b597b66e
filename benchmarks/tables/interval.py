"""The difference between two models on the same rows, and its 95 % interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Measure = Callable[[np.ndarray, np.ndarray], float]
REPEATS = 1000


@dataclass(frozen=True)
class Answers:
    """What two models answer for the evaluated rows of one split: all [rows]."""

    labels: np.ndarray
    ours: np.ndarray
    other: np.ndarray


def interval(
    splits: Sequence[Answers], measure: Measure, repeats: int = REPEATS, seed: int = 0
) -> tuple[float, float, float]:
    """The mean difference of a measure over the splits, ours less the other's, and the bounds of its 95 % interval.

    By the paired bootstrap (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993): of the rows, and if there
    are several splits, of the splits first and then of the rows of each. What training on other rows and with another
    seed changes is thus in the interval; rows alone would leave it out, and make it too narrow.
    """
    random = np.random.default_rng(seed)
    differences = [_difference(answers, slice(None), measure) for answers in splits]
    drawn = []
    for _ in range(repeats):
        chosen = random.integers(len(splits), size=len(splits)) if len(splits) > 1 else [0]
        means = [_difference(splits[split], _rows(splits[split].labels, random), measure) for split in chosen]
        drawn.append(np.mean(means))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(np.mean(differences)), float(low), float(high)


def _rows(labels: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.integers(len(labels), size=len(labels))


def _difference(answers: Answers, rows: np.ndarray | slice, measure: Measure) -> float:
    labels = answers.labels[rows]
    return measure(labels, answers.ours[rows]) - measure(labels, answers.other[rows])
