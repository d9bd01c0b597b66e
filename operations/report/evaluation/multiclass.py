"""A multiclass task: the confusion matrix, each class against the rest, and how sure the model may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from ledger.formats import count, number, percent
from ledger.scores import ScoredRows
from operations.report import plots
from operations.report.evaluation.assessor import Assessment, Assessor
from operations.report.quality import Group, Ranking, calibrated, ranked

_CURVES = 7  # as many as there are colours
_BARS = 25  # of the histogram of probabilities
_NOTABLE = 0.02  # of a mean probability, beyond the share that is right


@dataclasses.dataclass(frozen=True)
class OfClass(Ranking):
    """One class against the rest, its rows the positive ones.

    Attributes:
        rows: of the class.
        called: how many rows are called so.
        share: of all rows.
        probability: the mean over all rows.
        precision: of those called so, the share that is; None if no row is.
        recall: of the class, the share that is called so; None without rows.
        f1: the harmonic mean of both; None if the class neither is there nor is called.
    """

    name: str
    rows: int
    called: int
    share: float
    probability: float
    precision: float | None
    recall: float | None
    f1: float | None


@dataclasses.dataclass(frozen=True)
class Quality:
    """What labels and probabilities tell; a row is called the class that is most probable.

    Attributes:
        confusion: rows by label and by what they are called: int [classes, classes].
        accuracy: the share that is called what it is.
        confidence: the mean probability of what the rows are called.
        groups: tenths of the rows by that probability, with the share that is right.
        calibration_error: the mean distance of the two over the groups, weighted by rows.
        histogram: (low, high, right, wrong) of that probability.
    """

    rows: int
    classes: list[OfClass]
    confusion: list[list[int]]
    accuracy: float
    confidence: float
    groups: list[Group]
    calibration_error: float
    histogram: list[tuple[float, float, int, int]]

    def share(self, label: int, called: int) -> float | None:
        """Of the rows with a label, by numbers of classes, the share that is called so; None without rows."""
        rows = self.classes[label].rows
        return self.confusion[label][called] / rows if rows else None


class MulticlassAssessor(Assessor):
    """Of the probability of each class."""

    def told(self, label: float, answer: Any) -> tuple[str, str]:
        """The names of both classes, and the probability of that which is the most probable."""
        classes, highest = self.task.target.classes, max(answer)
        return classes[int(label)], f"{classes[answer.index(highest)]}, {number(highest)}"

    def assess(self, scored: ScoredRows, settings: dict[str, Any]) -> Assessment:
        """Assesses what is called the most probable."""
        quality = assess(self.task.target.classes, scored.labels, scored.predictions)
        calibration = plots.calibration(
            quality.groups, quality.calibration_error, "Calibration of the most probable class"
        )
        return Assessment(
            template="multiclass",
            quality=quality,
            plots={
                "roc": _curves(quality, "roc", "roc", "false positive rate", "true positive rate"),
                "precision_recall": _curves(
                    quality, "precision-recall", "precision_recall", "recall", "precision", "average_precision"
                ),
                "calibration": calibration,
                "confidence": _confidence(quality),
            },
            card=("Calibration of the most probable class", calibration),
            limits=tuple(_limits(quality)),
        )


def assess(classes: Sequence[str], labels: Any, probabilities: Any) -> Quality:
    """Measures probabilities, [rows, classes], against the numbers of classes, [rows]; those that are NaN are left out.

    Raises:
        ValueError: no row has both a label and probabilities, or there is another number of these than of classes.
    """
    if probabilities.shape[1:] != (len(classes),):
        raise ValueError(f"there are no probabilities of {len(classes)} classes")
    known = np.isfinite(labels) & np.isfinite(probabilities).all(axis=1)
    labels, probabilities = labels[known].astype(np.intp), probabilities[known]
    rows, number_of = len(labels), len(classes)
    if not rows:
        raise ValueError("no row has both a label and probabilities")
    called = probabilities.argmax(axis=1)
    confusion = np.bincount(labels * number_of + called, minlength=number_of**2).reshape(number_of, number_of)
    confidence, right = probabilities[np.arange(rows), called], called == labels
    groups, error = calibrated(right, confidence)
    edges = np.linspace(0, 1, _BARS + 1).round(4)
    bars = (np.histogram(confidence[of], edges)[0].tolist() for of in (right, ~right))
    return Quality(
        rows=rows,
        classes=[
            _of_class(name, index, confusion, ranked(labels == index, probabilities[:, index]), probabilities)
            for index, name in enumerate(classes)
        ],
        confusion=confusion.tolist(),
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        groups=groups,
        calibration_error=error,
        histogram=list(zip(edges[:-1].tolist(), edges[1:].tolist(), *bars, strict=True)),
    )


def _of_class(name: str, index: int, confusion: Any, ranking: Ranking, probabilities: Any) -> OfClass:
    of_class, called = int(confusion[index].sum()), int(confusion[:, index].sum())
    right = int(confusion[index, index])
    return OfClass(
        **vars(ranking),
        name=name,
        rows=of_class,
        called=called,
        share=of_class / len(probabilities),
        probability=float(probabilities[:, index].mean()),
        precision=right / called if called else None,
        recall=right / of_class if of_class else None,
        f1=2 * right / (of_class + called) if of_class + called else None,
    )


def _curves(quality: Quality, name: str, curve: str, x: str, y: str, area: str = "auc") -> plots.Plot | None:
    """A curve for each class against the rest: of all of them, or of those with the most rows."""
    drawable = [of_class for of_class in quality.classes if getattr(of_class, curve)]
    shown = sorted(drawable, key=lambda of_class: -of_class.rows)[:_CURVES]
    if not shown:
        return None
    points = [
        {"x": across, "y": up, "class": of_class.name}
        for of_class in drawable
        if of_class in shown
        for across, up in getattr(of_class, curve)
    ]
    domain = [of_class.name for of_class in drawable if of_class in shown]
    colour = alt.Color("class:N", scale=alt.Scale(domain=domain), title=None, legend=alt.Legend(columns=3))
    lines = plots.curves(points, x, y, ["class:N"], color=colour)
    layers = [plots.diagonal(1), lines] if area == "auc" else [lines]
    what = {"auc": "area under the curve", "average_precision": "average precision"}[area]
    left_out = f" Of {len(drawable)} classes the {_CURVES} with the most rows are drawn."
    areas = ", ".join(f"{number(getattr(of_class, area))} for {of_class.name}" for of_class in drawable)
    words = f"{y.capitalize()} by {x}, each class against the rest. The {what}: {areas}."
    return plots.Plot(
        name,
        alt.layer(*layers).properties(height=plots.HEIGHT).to_dict(),
        words + (left_out if len(shown) < len(drawable) else ""),
    )


def _confidence(quality: Quality) -> plots.Plot:
    """How the probability of the most probable class is spread among rows that are of it, and others."""
    bars = [
        (low, high, label, rows / quality.rows)
        for low, high, right, wrong in quality.histogram
        for label, rows in (("wrong", wrong), ("right", right))
    ]
    return plots.Plot(
        "confidence",
        plots.histogram(bars, ("right", "wrong"), "probability of the most probable class"),
        f"Spread of the probability of the most probable class: {percent(quality.confidence)} on average. "
        f"{percent(quality.accuracy)} of {quality.rows:,} rows are of that class.",
    )


def _limits(quality: Quality) -> list[str]:
    limits = [
        f"It never answers {of_class.name}, which {count(of_class.rows, 'row')} of {quality.rows:,} are."
        for of_class in quality.classes
        if of_class.rows and not of_class.called
    ]
    if abs(quality.confidence - quality.accuracy) > _NOTABLE:
        way = "high" if quality.confidence > quality.accuracy else "low"
        limits.append(
            f"Its probabilities are too {way}: the most probable class has {percent(quality.confidence)} on average, "
            f"and {percent(quality.accuracy)} of the rows are of it."
        )
    return limits
