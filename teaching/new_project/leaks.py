"""How well one column alone tells the label. What tells it almost perfectly is often not known when it is needed."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from data.table import numbers, plain

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    Measure = Callable[[np.ndarray, np.ndarray], float]

STRONG = 0.95
"""From here on a column is set aside until a person says that it is known in time. Honest ones of easy problems are."""
CERTAIN = 0.999
"""From here on that holds for a column which tells one of several classes, however little it tells of the others."""

_FEW_DISTINCT = 50
_MOST_RANGES = 100
_FEWEST_OF_A_CLASS = 10
_MOST_ROWS = 100_000
_WORD = re.compile(r"[^\W_]+")


def auc(use: str, values: pd.Series, label: pd.Series) -> float:
    """The area under the ROC curve, 0.5 to 1, that a column reaches alone.

    Of numbers and categories see `_strength`, of texts `_of_texts`.

    Args:
        use: ``number``, ``category`` or ``text``.
        values: of the column.
        label: 0 or 1 per row.
    """
    return _aucs(use, values, label.to_numpy("int64"), (1,))[0]


def aucs(use: str, values: pd.Series, label: pd.Series, classes: int) -> list[float]:
    """The same of each class against all others; the label is the number of a class per row."""
    values, label = _drawn(values, label)
    return _aucs(use, values, label.to_numpy("int64"), range(classes))


def rank_r2(use: str, values: pd.Series, label: pd.Series) -> float:
    """The share of the variance of a number's ranks, 0 to 1, that a column explains alone: Spearman's rho, squared.

    Of ranks, because of a number with a few values far larger than the others even the number itself, in ranges,
    explains little. Of a text only the absence is asked: one word cannot tell a number.
    """
    from scipy.stats import rankdata

    values, label = _drawn(values, label)
    truth = rankdata(label.to_numpy("float64"))
    if use == "text":
        return _rank_r2(values.isna().to_numpy("float64"), truth)
    return _strength(use, values, truth, _rank_r2)


def _drawn(values: pd.Series, label: pd.Series) -> tuple[pd.Series, pd.Series]:
    """As many rows of both as suffice."""
    import numpy as np

    if len(values) <= _MOST_ROWS:
        return values, label
    places = np.random.default_rng(0).choice(len(values), _MOST_ROWS, replace=False)
    return values.iloc[places], label.iloc[places]


def _aucs(use: str, values: pd.Series, codes: np.ndarray, classes: Sequence[int]) -> list[float]:
    if use == "text":
        return _of_texts(plain(values), codes, classes)
    return [_strength(use, values, (codes == code).astype("int64"), _auc) for code in classes]


def _strength(use: str, values: pd.Series, truth: np.ndarray, measure: Measure) -> float:
    """What a measure says of categories, by the mean of the truth per category, or of numbers.

    Of numbers, the largest one of three: of the values by rank, in the better direction; of their absence; and of the
    mean per value, or per range of values if there are many, as of categories. The last one finds what is neither high
    nor low but in between.
    """
    if use == "category":
        return measure(_means(plain(values).fillna("").factorize()[0], truth), truth)
    counted = numbers(values)
    missing = counted.isna().to_numpy()
    known = counted.to_numpy("float64")[~missing]
    return max(
        measure(missing.astype("float64"), truth),
        measure(known, truth[~missing]),
        measure(_means(_ranges(counted), truth), truth),
    )


def _of_texts(values: pd.Series, codes: np.ndarray, classes: Sequence[int]) -> list[float]:
    """The area of the absence of a text, or of the one word that tells most by being in it, per class.

    One word, because many words together tell the label of honest texts: those of reviews, or of spam. It needs no
    other half of the rows: to be strong, it must be in nearly all texts of one class and in hardly any of the others.
    """
    import numpy as np

    missing = values.isna().to_numpy("float64")
    absence = [_auc(missing, (codes == code).astype("int64")) for code in classes]
    if len(values) > _MOST_ROWS:
        drawn = np.random.default_rng(0).choice(len(values), _MOST_ROWS, replace=False)
        values, codes = values.iloc[drawn], codes[drawn]
    counts: dict[Any, Counter[str]] = {code: Counter() for code in np.unique(codes)}
    for text, code in zip(values.fillna("").str.lower(), codes, strict=True):
        counts[code].update(set(_WORD.findall(text)))
    everywhere = sum(counts.values(), Counter())
    words = [_of_words(counts.get(code, Counter()), everywhere, codes == code) for code in classes]
    return [max(areas) for areas in zip(absence, words, strict=True)]


def _of_words(counts: Counter[str], everywhere: Counter[str], truth: np.ndarray) -> float:
    """The area under the two straight lines of the word that tells most; counts are of texts that hold a word."""
    positive = int(truth.sum())
    negative = len(truth) - positive
    if min(positive, negative) < _FEWEST_OF_A_CLASS:
        return 0.5
    apart = (abs(counts[word] / positive - (total - counts[word]) / negative) for word, total in everywhere.items())
    return 0.5 + max(apart, default=0.0) / 2


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
        # As many as each has rows: a mean needs rows, and what is in between needs narrow ranges.
        ranges = min(_MOST_RANGES, math.isqrt(len(known)))
        places = ((rankdata(known) - 0.5) * ranges / len(known)).astype("int64")
    codes[~missing] = places + 1
    return codes


def _means(codes: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The mean of the truth per code, from 0 on, by halves: what is seen once tells nothing about itself."""
    import numpy as np

    size = int(codes.max(initial=0)) + 1
    half = np.random.default_rng(0).permutation(len(truth)) % 2
    scores = np.zeros(len(truth))
    for part in (0, 1):
        others = half != part
        rows = np.bincount(codes[others], minlength=size)
        sums = np.bincount(codes[others], weights=truth[others], minlength=size)
        # A category that the other half does not know says nothing: it gets the mean.
        means = np.where(rows > 0, sums / np.maximum(rows, 1), truth[others].mean())
        scores[~others] = means[codes[~others]]
    return scores


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


def _rank_r2(scores: np.ndarray, truth: np.ndarray) -> float:
    """The squared correlation of the ranks; 0 unless both vary, and in twenty rows."""
    import numpy as np
    from scipy.stats import rankdata

    if len(truth) < 2 * _FEWEST_OF_A_CLASS or np.ptp(scores) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(scores), rankdata(truth))[0, 1]) ** 2
