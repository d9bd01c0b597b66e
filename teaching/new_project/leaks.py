"""How well one column alone tells the label. What tells it almost perfectly is often not known when it is needed."""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

STRONG = 0.95
"""From here on a column is set aside until a person says that it is known in time. Honest ones of easy problems are."""

_FEW_DISTINCT = 50
_MOST_RANGES = 100
_FEWEST_OF_A_CLASS = 10
_MOST_TEXTS = 100_000
_WORD = re.compile(r"[^\W_]+")


def of_numbers(values: pd.Series, label: pd.Series) -> float:
    """The area under the ROC curve, 0.5 to 1, of float64 values, in the better direction or by ranges of them.

    The larger one of three: of the values by rank; of their absence; and of the label's rate per value, or per range
    of values if there are many, as of categories. The last one finds what is neither high nor low but in between.
    """
    truth = label.to_numpy("int64")
    missing = values.isna().to_numpy()
    known = values.to_numpy("float64")[~missing]
    return max(
        _auc(missing.astype("float64"), truth),
        _auc(known, truth[~missing]),
        _auc_of_rates(_ranges(values), truth),
    )


def of_categories(values: pd.Series, label: pd.Series) -> float:
    """The same of the label's rate per category, each half of the rows scored by the rates of the other half."""
    return _auc_of_rates(values.fillna("").factorize()[0], label.to_numpy("int64"))


def of_texts(values: pd.Series, label: pd.Series) -> float:
    """The same of the absence of a text, or of the one word that tells most by being in it.

    One word, because many words together tell the label of honest texts: those of reviews, or of spam. It needs no
    other half of the rows: to be strong, it must be in nearly all texts of one label and in hardly any of the other.
    """
    import numpy as np

    truth = label.to_numpy("int64")
    absence = _auc(values.isna().to_numpy("float64"), truth)
    if len(values) > _MOST_TEXTS:
        drawn = np.random.default_rng(0).choice(len(values), _MOST_TEXTS, replace=False)
        values, truth = values.iloc[drawn], truth[drawn]
    positive = int(truth.sum())
    negative = len(truth) - positive
    if min(positive, negative) < _FEWEST_OF_A_CLASS:
        return absence
    counts: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    for text, told in zip(values.fillna("").str.lower(), truth, strict=True):
        counts[told].update(set(_WORD.findall(text)))
    # The area under two straight lines.
    words = {*counts[0], *counts[1]}
    apart = max((abs(counts[1][word] / positive - counts[0][word] / negative) for word in words), default=0.0)
    return max(absence, 0.5 + apart / 2)


def _ranges(values: pd.Series) -> np.ndarray:
    """The number of each value, if few are distinct; else of the range with about equally many rows that holds it.

    Missing values have one of their own. So has a value that is in many rows, because all of them have the same rank.
    """
    import numpy as np
    from scipy.stats import rankdata

    missing = values.isna().to_numpy()
    known = values.to_numpy("float64")[~missing]
    codes = np.zeros(len(values), "int64")
    distinct, places = np.unique(known, return_inverse=True)
    if len(distinct) > _FEW_DISTINCT:
        # As many as each has rows: a rate needs rows, and what is in between needs narrow ranges.
        ranges = min(_MOST_RANGES, math.isqrt(len(known)))
        places = ((rankdata(known) - 0.5) * ranges / len(known)).astype("int64")
    codes[~missing] = places + 1
    return codes


def _auc_of_rates(codes: np.ndarray, truth: np.ndarray) -> float:
    """Of the label's rate per code, from 0 on, by halves: what is seen once tells nothing about itself."""
    import numpy as np

    size = int(codes.max(initial=0)) + 1
    half = np.random.default_rng(0).permutation(len(truth)) % 2
    scores = np.zeros(len(truth))
    for part in (0, 1):
        others = half != part
        rows = np.bincount(codes[others], minlength=size)
        positive = np.bincount(codes[others], weights=truth[others], minlength=size)
        # A category that the other half does not know says nothing: it gets the mean.
        rates = np.where(rows > 0, positive / np.maximum(rows, 1), truth[others].mean())
        scores[~others] = rates[codes[~others]]
    return _auc(scores, truth)


def _auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """By ranks, ties halved (Hanley and McNeil, Radiology 1982); 0.5 unless both classes are there ten times."""
    from scipy.stats import rankdata

    positive = int(truth.sum())
    negative = len(truth) - positive
    if min(positive, negative) < _FEWEST_OF_A_CLASS:
        return 0.5
    ranks = rankdata(scores)[truth == 1].sum()
    area = float((ranks - positive * (positive + 1) / 2) / (positive * negative))
    return max(area, 1 - area)
