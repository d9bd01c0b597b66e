"""Compares two models that answered different requests, drawn from the same traffic by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.significance import LEVEL, RESAMPLED, RESAMPLES, SignificanceTest

if TYPE_CHECKING:
    import numpy as np

BOOTSTRAP = "bootstrap of two samples"


def unpaired(
    metric: str,
    first_labels: np.ndarray,
    first: np.ndarray,
    second_labels: np.ndarray,
    second: np.ndarray,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> SignificanceTest:
    """The two-sample bootstrap: the rows of each model are drawn with replacement by themselves.

    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 8. The interval is much wider than that of
    the same models on the same rows, whose luck they share.

    Args:
        metric: one of `ledger.significance.RESAMPLED`.
        first_labels: 0 or 1 [rows of the first].
        first: probabilities of the first model [rows of the first].
        second_labels: 0 or 1 [rows of the second].
        second: probabilities of the second model [rows of the second].
        seed: of the drawing.
        resamples: how often to draw.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    one, other = RESAMPLED[metric](first_labels, first), RESAMPLED[metric](second_labels, second)

    def drawn(rows: int) -> np.ndarray:
        return np.bincount(random.integers(0, rows, rows), minlength=rows).astype(np.float64)

    differences = np.array([other(drawn(len(second))) - one(drawn(len(first))) for _ in range(resamples)])
    low, high = np.nanquantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    side = min((differences <= 0).sum(), (differences >= 0).sum())
    before, after = one(np.ones(len(first))), other(np.ones(len(second)))
    return SignificanceTest(
        metric,
        float(before),
        float(after),
        float(after - before),
        float(low),
        float(high),
        min(1.0, 2 * (int(side) + 1) / (resamples + 1)),
        BOOTSTRAP,
        len(first) + len(second),
    )
