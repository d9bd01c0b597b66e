"""How differently a model treats groups of rows: what is measured of each, and by how much two groups differ.

Whatever is measured of a group is the mean of a number per row: of whether a row was called something, or of its error.
So three sums per group tell everything, and they add up over batches of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from components.tasks import Outcome

LEVEL = 0.95
# Below, a share of the rows of a group, such as that of its positives that were found, is mostly chance.
FEWEST_COUNTED = 10
_QUANTILE = 1.959963984540054  # of the standard normal distribution, at (1 + LEVEL) / 2


class Differences(NamedTuple):
    """By how much each group exceeds each other one, and the ends of the 95 % intervals; all [groups, groups]."""

    of: np.ndarray
    low: np.ndarray
    high: np.ndarray


def sums(outcomes: Sequence[Outcome], groups: np.ndarray, number: int) -> np.ndarray:
    """What adds up over batches, of rows whose group is given by a number from 0 on, int [rows].

    Returns:
        float64 [groups, outcomes, 3]: number, sum and sum of squares of the rows that count for the outcome.
    """
    by_outcome = [
        [np.bincount(groups[one.counts], of[one.counts], number) for of in (one.counts, one.values, one.values**2)]
        for one in outcomes
    ]
    return np.moveaxis(np.array(by_outcome, float), 2, 0)


def newcombe(totals: np.ndarray) -> Differences:
    """Differences of shares, from float64 [groups, 3].

    Wilson's intervals of both, combined: method 10 of Newcombe, Statistics in Medicine 17 (1998), pages 873-890. It
    holds its level with few rows, and with shares near 0 and 1, where the textbook's interval does not.
    """
    number, share = totals[:, 0], totals[:, 1] / totals[:, 0]
    squared = _QUANTILE**2
    middle = (share + squared / (2 * number)) / (1 + squared / number)
    half = _QUANTILE * np.sqrt(share * (1 - share) / number + squared / (4 * number**2)) / (1 + squared / number)
    below, above = share - (middle - half), (middle + half) - share
    difference = _pairs(np.subtract, share)
    return Differences(
        difference,
        difference - np.sqrt(np.square(below)[:, np.newaxis] + np.square(above)),
        difference + np.sqrt(np.square(above)[:, np.newaxis] + np.square(below)),
    )


def welch(totals: np.ndarray) -> Differences:
    """Differences of means, from float64 [groups, 3]: Welch, Biometrika 34 (1947), which lets variances differ."""
    from scipy.stats import t

    number, mean = totals[:, 0], totals[:, 1] / totals[:, 0]
    # Rounding can leave somewhat less than nothing where all values are equal.
    variance = np.maximum(totals[:, 2] - number * np.square(mean), 0.0) / (number - 1) / number
    difference, together = _pairs(np.subtract, mean), _pairs(np.add, variance)
    parts = _pairs(np.add, np.square(variance) / (number - 1))
    degrees = np.divide(np.square(together), parts, out=np.full_like(together, np.inf), where=parts > 0)
    error = t.ppf((1 + LEVEL) / 2, degrees) * np.sqrt(together)
    return Differences(difference, difference - error, difference + error)


INTERVALS: Mapping[str, Callable[[np.ndarray], Differences]] = {"share": newcombe, "mean": welch}


def report(
    groups: Mapping[str, np.ndarray], rows: Mapping[str, int], outcomes: Sequence[Outcome], min_rows: int
) -> list[dict[str, Any]]:
    """What was measured, as JSON has it: one entry per measure, whatever the number of its outcomes.

    Groups with fewer rows than `min_rows`, or fewer than ten rows that count, are measured and not compared: the
    largest difference of many small groups is that of luck. Of several outcomes, such as one per class, the groups'
    values are those of the outcome that differs most.

    Args:
        groups: the `sums` of each.
        rows: how many each has.
        outcomes: what was summed up.
        min_rows: of a group that is compared.

    Returns:
        `name`; `values` and `counted` by group, the mean and of how many rows; `largest`, the pair of groups with the
        largest difference, and `surest`, the one whose interval begins highest, both None if there is no pair: `of`,
        the class, `higher` and `lower`, the groups, `difference`, and `low` and `high`, the ends of its interval.
    """
    measures = []
    for name in dict.fromkeys(outcome.measure for outcome in outcomes):
        places = [place for place, outcome in enumerate(outcomes) if outcome.measure == name]
        pairs = [
            pair
            for place in places
            for pair in _extremes(
                {group: totals[place] for group, totals in groups.items() if rows[group] >= min_rows}, outcomes[place]
            )
        ]
        largest = max(pairs, key=lambda pair: pair["difference"], default=None)
        shown = next((at for at in places if largest is not None and outcomes[at].of == largest["of"]), places[0])
        measures.append(
            {
                "name": name,
                "values": {group: _mean(totals[shown]) for group, totals in groups.items()},
                "counted": {group: int(totals[shown, 0]) for group, totals in groups.items()},
                "largest": largest,
                "surest": max(pairs, key=lambda pair: pair["low"], default=None),
            }
        )
    return measures


def _extremes(groups: Mapping[str, np.ndarray], outcome: Outcome) -> list[dict[str, Any]]:
    """The pair with the largest difference, and the one whose interval begins highest; empty without two groups."""
    compared = {group: totals for group, totals in groups.items() if totals[0] >= FEWEST_COUNTED}
    if len(compared) < 2:
        return []
    names, differences = list(compared), INTERVALS[outcome.kind](np.stack(list(compared.values())))
    # A group does not differ from itself.
    others = ~np.eye(len(names), dtype=bool)
    found = []
    for by in (differences.of, differences.low):
        higher, lower = np.unravel_index(np.where(others, by, -np.inf).argmax(), by.shape)
        found.append(
            {
                "of": outcome.of,
                "higher": names[higher],
                "lower": names[lower],
                "difference": float(differences.of[higher, lower]),
                "low": float(differences.low[higher, lower]),
                "high": float(differences.high[higher, lower]),
            }
        )
    return found


def _mean(totals: np.ndarray) -> float | None:
    return float(totals[1] / totals[0]) if totals[0] else None


def _pairs(operation: np.ufunc, values: np.ndarray) -> np.ndarray:
    """[groups, groups] from [groups]: that of the row first."""
    return operation.outer(values, values)
