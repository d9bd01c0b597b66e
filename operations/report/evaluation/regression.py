"""A regression: predicted against actual values, what is left over, and the error by the size of the label."""

from __future__ import annotations

import dataclasses
from typing import Any

import altair as alt
import numpy as np

from ledger.formats import count, number, percent, signed
from ledger.measures import DECILES, RegressionMeasures, deciles
from ledger.scores import ScoredRows
from operations.report import plots
from operations.report.evaluation.assessor import Assessment, Assessor

_CELLS = 40  # of the two-dimensional histogram, across and up
_BARS = 40  # of the histogram of residuals
# What lies farther out would leave no room for the rest.
_SHOWN = (0.005, 0.995)
_MEASURES = RegressionMeasures().resampled
_NOTABLE = 0.1  # of a mean residual, in standard deviations of the label


@dataclasses.dataclass(frozen=True)
class Decile:
    """A tenth of the rows by label: its smallest and largest one, the mean absolute error, and the mean residual."""

    decile: int
    low: float
    high: float
    rows: int
    mae: float
    residual: float


@dataclasses.dataclass(frozen=True)
class Quality:
    """What labels and predictions tell; a residual is predicted - actual.

    Attributes:
        r2: one minus the squared error by that of the mean label; None if all labels are the same.
        residual: the mean.
        label: the mean.
        deviation: of the labels; `predicted_deviation` is that of the predictions.
        cells: (low and high label, low and high prediction, rows) where there are rows.
        outside: the share of rows that lie beyond the cells.
        residuals: (low, high, rows).
        beyond: the share of residuals that lie beyond those.
        histogram: (low, high, labels, predictions).
    """

    rows: int
    mae: float
    rmse: float
    r2: float | None
    residual: float
    label: float
    deviation: float
    predicted_deviation: float
    cells: list[tuple[float, float, float, float, int]]
    outside: float
    residuals: list[tuple[float, float, int]]
    beyond: float
    histogram: list[tuple[float, float, int, int]]
    deciles: list[Decile]


class RegressionAssessor(Assessor):
    """Of a number in the unit of the label."""

    def told(self, label: float, answer: Any) -> tuple[str, str]:
        """Both numbers, and their unit."""
        unit = f" {self.task.target.unit}" if self.task.target.unit else ""
        return f"{number(label)}{unit}", f"{number(answer)}{unit}"

    def assess(self, scored: ScoredRows, settings: dict[str, Any]) -> Assessment:
        """Assesses values."""
        quality = assess(scored.labels, scored.predictions)
        unit = f", {self.task.target.unit}" if self.task.target.unit else ""
        against = _predicted_against_actual(quality, unit)
        return Assessment(
            template="regression",
            quality=quality,
            plots={
                "predicted": against,
                "residuals": _residuals(quality, unit),
                "deciles": _error_by_decile(quality, unit),
                "spread": _spread(quality, unit),
            },
            card=("Predicted against actual", against),
            limits=_limits(quality, unit.replace(",", "")),
        )


def assess(labels: Any, values: Any) -> Quality:
    """Measures values against labels, both [rows]; rows where one is not a number are left out.

    Raises:
        ValueError: no row has both a label and a value.
    """
    known = np.isfinite(labels) & np.isfinite(values)
    labels, values = labels[known], values[known]
    rows = len(labels)
    if not rows:
        raise ValueError("no row has both a label and a prediction")
    residuals = values - labels
    everything = np.ones(rows)
    mae, rmse, r2 = (_MEASURES[name](labels, values)(everything) for name in ("mae", "rmse", "r2"))
    edges = _edges(labels), _edges(values)
    cells, *_ = np.histogram2d(labels, values, bins=edges)
    bars, ends = np.histogram(residuals, _edges(residuals))
    both = _edges(labels)
    spread = zip(*(np.histogram(of, both)[0].tolist() for of in (labels, values)), strict=True)
    return Quality(
        rows=rows,
        mae=mae,
        rmse=rmse,
        r2=r2 if np.isfinite(r2) else None,
        residual=float(residuals.mean()),
        label=float(labels.mean()),
        deviation=float(labels.std()),
        predicted_deviation=float(values.std()),
        cells=[
            (*_between(edges[0], across), *_between(edges[1], up), int(cells[across, up]))
            for across, up in zip(*np.nonzero(cells), strict=True)
        ],
        outside=1 - float(cells.sum()) / rows,
        residuals=[(*_between(ends, place), int(bar)) for place, bar in enumerate(bars)],
        beyond=1 - float(bars.sum()) / rows,
        histogram=[(*_between(both, place), *counts) for place, counts in enumerate(spread)],
        deciles=_deciles(labels, residuals),
    )


def _edges(values: Any, bins: int = _CELLS) -> Any:
    """The edges of bins of equal width for all but the outermost values; of whole numbers, with whole ones in each."""
    low, high = np.quantile(values, _SHOWN)
    if (values == np.round(values)).all():
        step = max(1, np.ceil((high - low + 1) / bins))
        return np.arange(low - 0.5, high + step, step)
    return np.linspace(low, high, bins + 1) if high > low else np.array([low - 0.5, low + 0.5])


def _between(edges: Any, place: Any) -> tuple[float, float]:
    return float(f"{edges[place]:.6g}"), float(f"{edges[place + 1]:.6g}")


def _deciles(labels: Any, residuals: Any) -> list[Decile]:
    of_row = deciles(labels)
    found = []
    for decile in range(1, DECILES + 1):
        chosen = of_row == decile
        if chosen.any():
            # Without the sign of a zero.
            low, high, rows = labels[chosen].min() + 0.0, labels[chosen].max() + 0.0, int(chosen.sum())
            mae, residual = float(np.abs(residuals[chosen]).mean()), float(residuals[chosen].mean())
            found.append(Decile(decile, float(low), float(high), rows, mae, residual))
    return found


def _predicted_against_actual(quality: Quality, unit: str) -> plots.Plot:
    """How many rows have which label and prediction, the darker the more, and the line of those that are right."""
    values: list[dict[str, float]] = [
        {"low": low, "high": high, "bottom": bottom, "top": top, "rows": rows}
        for low, high, bottom, top, rows in quality.cells
    ]
    ends = [
        min(min(cell["low"], cell["bottom"]) for cell in values),
        max(max(cell["high"], cell["top"]) for cell in values),
    ]
    options = {"scale": alt.Scale(domain=ends, nice=False, zero=False), "axis": alt.Axis(tickCount=5)}
    cells = (
        plots.chart(values)
        .mark_rect()
        .encode(
            x=alt.X("low:Q", title=f"actual{unit}", **options),
            x2="high:Q",
            y=alt.Y("bottom:Q", title=f"predicted{unit}", **options),
            y2="top:Q",
            opacity=alt.Opacity("rows:Q", scale=alt.Scale(type="log", range=[0.12, 1]), legend=None),
            tooltip=[
                alt.Tooltip("low:Q", title="actual from"),
                alt.Tooltip("high:Q", title="to"),
                alt.Tooltip("bottom:Q", title="predicted from"),
                alt.Tooltip("top:Q", title="to"),
                alt.Tooltip("rows:Q", format=","),
            ],
        )
    )
    right = plots.chart([{"x": end, "y": end} for end in ends])
    line = right.mark_line(style="reference").encode(x="x:Q", y="y:Q")
    r2 = "" if quality.r2 is None else f"; R² is {number(quality.r2)}"
    outside = f" {percent(quality.outside)} of the rows lie outside." if quality.outside else ""
    return plots.Plot(
        "predicted",
        alt.layer(cells, line).properties(height=plots.HEIGHT).to_dict(),
        f"Predicted against actual values of {count(quality.rows, 'row')}; on the line both are the same. The mean "
        f"absolute error is {number(quality.mae)}, the root of the mean squared one {number(quality.rmse)}{r2}."
        f"{outside}",
    )


def _residuals(quality: Quality, unit: str) -> plots.Plot:
    """How the residuals are spread."""
    bars = [(low, high, "rows", rows / quality.rows) for low, high, rows in quality.residuals]
    beyond = f" {percent(quality.beyond)} lie beyond what is drawn." if quality.beyond else ""
    return plots.Plot(
        "residuals",
        plots.histogram(bars, ("rows",), f"residual: predicted - actual{unit}", 0),
        f"Spread of predicted - actual: {signed(quality.residual)} on average.{beyond}",
    )


def _spread(quality: Quality, unit: str) -> plots.Plot:
    """How predictions are spread, and labels."""
    bars = [
        (low, high, label, rows / quality.rows)
        for low, high, actual, predicted in quality.histogram
        for label, rows in (("actual", actual), ("predicted", predicted))
    ]
    return plots.Plot(
        "spread",
        plots.histogram(bars, ("actual", "predicted"), f"value{unit}"),
        f"Spread of the values: the mean is {number(quality.label)} of the actual ones and "
        f"{number(quality.label + quality.residual)} of those predicted; the standard deviation "
        f"{number(quality.deviation)} and {number(quality.predicted_deviation)}.",
    )


def _labels(of: Decile) -> str:
    """The labels of a decile, short."""
    ends = dict.fromkeys(number(end) if abs(end) >= 100 else f"{end:.3g}" for end in (of.low, of.high))
    return " to ".join(ends)


def _error_by_decile(quality: Quality, unit: str) -> plots.Plot:
    """The mean absolute error in each tenth of the rows by label, and the mean residual there."""
    measures = ("mean absolute error", "mean residual")
    bars, dots = (
        plots.chart(
            [{"labels": _labels(of), "rows": of.rows, "of": name, "value": value(of)} for of in quality.deciles]
        ).encode(
            x=alt.X("labels:N", sort=None, title=f"actual{unit}, in tenths of the rows", axis=alt.Axis(labelAngle=-35)),
            y=alt.Y("value:Q", title=f"error{unit}", axis=alt.Axis(tickCount=5, format=plots.NUMBERS)),
            color=alt.Color("of:N", scale=alt.Scale(domain=measures), title=None),
            tooltip=[
                alt.Tooltip("labels:N", title="actual"),
                alt.Tooltip("of:N", title="what"),
                alt.Tooltip("value:Q", format=plots.NUMBERS),
                alt.Tooltip("rows:Q", format=","),
            ],
        )
        for name, value in zip(measures, (lambda of: of.mae, lambda of: of.residual), strict=True)
    )
    drawn = alt.layer(
        bars.mark_bar(cornerRadiusEnd=2), plots.reference(y=0), dots.mark_point(filled=True, size=80, opacity=1)
    )
    low, high = quality.deciles[0], quality.deciles[-1]
    return plots.Plot(
        "deciles",
        drawn.properties(height=plots.HEIGHT).to_dict(),
        f"Error in tenths of the rows by label: the mean absolute error is {number(low.mae)} in the lowest, whose "
        f"residual is {signed(low.residual)} on average, and {number(high.mae)} in the highest, with "
        f"{signed(high.residual)}.",
    )


def _limits(quality: Quality, unit: str) -> tuple[str, ...]:
    if abs(quality.residual) <= _NOTABLE * quality.deviation:
        return ()
    way = "low" if quality.residual < 0 else "high"
    return (
        f"Its predictions are too {way}: {number(quality.label + quality.residual)}{unit} on average, where the mean "
        f"of the labels was {number(quality.label)}{unit}.",
    )
