"""The plots of the report, as Vega-Lite specifications made with Altair, each with its figures in words.

Colours, fonts and widths are not here: the page chooses them when it draws, by screen and colour scheme.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import altair as alt

from ledger.formats import count, number, percent
from ledger.run_view import SliceMetrics
from operations.report.curves import Curve
from operations.report.quality import Quality
from operations.report.statistics import Column

# The order of colours in the style sheet.
SPLITS = ("train", "eval", "serving")
MODELS = ("this run", "champion")
OUTCOMES = ("pushed", "blessed", "not blessed", "failed", "killed", "done", "running", "not ours")
_HEIGHT = 260
_SMALL = 130
_DISTINCT = 0.9  # of the rows: more different values than that are names
# Vega writes a lone tick without its fraction, 0.7 as 1, unless it is told how.
NUMBERS = ",.6~r"


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot.

    Attributes:
        name: unique on its page, for the document's ids.
        spec: a Vega-Lite specification, without colours and width.
        words: what the plot shows, with its numbers, for those who do not see it.
    """

    name: str
    spec: dict[str, Any]
    words: str


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run in the plot of a metric over time."""

    run: str
    started: datetime
    outcome: str
    window: str
    evaluated_on: str
    link: str | None
    metrics: dict[str, float]


def time_axis(moments: Sequence[str], **options: Any) -> alt.Axis:
    """An axis of time whose labels can be read, however few moments there are.

    Args:
        moments: that the plot shows, in ISO 8601 with a zone.
        options: further ones of the axis.
    """
    if len(set(moments)) == 1:
        # Vega writes a lone tick by its seconds, such as ``:26``.
        only = int(datetime.fromisoformat(moments[0]).timestamp() * 1000)
        return alt.Axis(values=[only], format="%Y-%m-%d %H:%M", **options)
    return alt.Axis(tickCount=6, format={"hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S"}, **options)


def history(runs: Sequence[Measured], metric: str, best: str | None) -> Plot:
    """A metric of all runs over time; the page may ask for another metric.

    Args:
        runs: oldest first.
        metric: the one to show first.
        best: the best of those that were evaluated on the same data as the newest.
    """
    points = [
        {
            "run": each.run,
            "started": each.started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "outcome": each.outcome,
            "window": each.window,
            "evaluated": each.evaluated_on,
            "link": each.link,
            "metric": name,
            "value": round(value, 6),
        }
        for each in runs
        for name, value in each.metrics.items()
    ]
    outcomes = [name for name in OUTCOMES if any(each.outcome == name for each in runs if each.metrics)]
    chosen = alt.param("metric", value=metric)
    base = (
        alt.Chart(alt.Data(values=points), height=_HEIGHT)
        .transform_filter("datum.metric === metric")
        .encode(
            x=alt.X(
                "started:T",
                title=None,
                axis=time_axis([each["started"] for each in points], labelFlush=True),
                scale=alt.Scale(nice=False, padding=16),
            ),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(format=NUMBERS), scale=alt.Scale(zero=False, padding=12)),
        )
    )
    line = base.mark_line(style="thread")
    dots = base.mark_point(filled=True, size=110, opacity=1, cursor="pointer").encode(
        color=alt.Color("outcome:N", scale=alt.Scale(domain=outcomes), title=None),
        shape=alt.Shape("outcome:N", scale=alt.Scale(domain=outcomes), title=None),
        href="link:N",
        tooltip=[
            alt.Tooltip("run:N", title="run"),
            alt.Tooltip("value:Q", title="value", format=".4f"),
            alt.Tooltip("outcome:N", title="outcome"),
            alt.Tooltip("window:N", title="window"),
            alt.Tooltip("evaluated:N", title="evaluated on"),
            alt.Tooltip("started:T", title="started", format="%Y-%m-%d %H:%M"),
        ],
    )
    measured = [each for each in runs if metric in each.metrics]
    words = f"{metric} of {count(len(measured), 'run')} over time."
    if measured:
        words += f" The newest, {measured[-1].run}, has {number(measured[-1].metrics[metric])}"
        value = next((number(each.metrics[metric]) for each in measured if each.run == best), None)
        words += f"; the best on the newest evaluation data, {best}, has {value}." if value else "."
    return Plot("history", (line + dots).add_params(chosen).to_dict(), words)


def training(curves: Sequence[Curve]) -> list[Plot]:
    """One plot per metric of the training: epochs across, one line for each kind of rows."""
    plots = []
    for metric in sorted({each.metric for each in curves}, key=lambda name: (name != "loss", name)):
        lines = [each for each in curves if each.metric == metric]
        points = [{"epoch": epoch, "value": value, "rows": each.rows} for each in lines for epoch, value in each.points]
        chart = (
            alt.Chart(alt.Data(values=points), height=180)
            .mark_line(point={"size": 55, "filled": True})
            .encode(
                x=alt.X(
                    "epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d"), scale=alt.Scale(nice=False)
                ),
                y=alt.Y("value:Q", title=None, axis=alt.Axis(format=NUMBERS), scale=alt.Scale(zero=False)),
                color=alt.Color("rows:N", scale=alt.Scale(domain=[each.rows for each in lines]), title=None),
                tooltip=["rows:N", "epoch:Q", alt.Tooltip("value:Q", format=".5g")],
            )
        )
        words = f"{metric} by epoch: " + "; ".join(
            f"on {each.rows} rows from {number(each.points[0][1])} to {number(each.points[-1][1])} "
            f"after {count(len(each.points), 'epoch')}"
            for each in lines
        )
        plots.append(Plot(f"training-{metric}", chart.to_dict(), f"{words}."))
    return plots


def roc(quality: Quality) -> Plot:
    """True positive rate over false positive rate, with the chosen threshold."""
    chosen = quality.chosen
    point = {"x": chosen.false_positive_rate, "y": chosen.recall}
    spec = _curve(quality.roc, point, "false positive rate", "true positive rate", diagonal=True)
    return Plot(
        "roc",
        spec,
        f"Receiver operating characteristic: the area under the curve is {number(quality.auc)}. At the threshold "
        f"{chosen.threshold:g}, {percent(chosen.recall)} of the positives are found, and "
        f"{percent(chosen.false_positive_rate)} of the negatives are called positive.",
    )


def precision_recall(quality: Quality) -> Plot:
    """Precision over recall, with the chosen threshold and the share of positives."""
    chosen = quality.chosen
    point = {"x": chosen.recall, "y": chosen.precision}
    spec = _curve(quality.precision_recall, point, "recall", "precision", level=quality.base_rate)
    return Plot(
        "precision-recall",
        spec,
        f"Precision over recall: the average precision is {number(quality.average_precision)}, against "
        f"{percent(quality.base_rate)} for guessing. At the threshold {chosen.threshold:g}, precision is "
        f"{percent(chosen.precision)} and recall is {percent(chosen.recall)}.",
    )


def calibration(quality: Quality) -> Plot:
    """The observed share of positives over the mean score, in tenths of the rows."""
    points = [
        {
            "predicted": round(each.predicted, 5),
            "observed": round(each.observed, 5),
            "low": round(each.low, 5),
            "high": round(each.high, 5),
            "rows": each.rows,
        }
        for each in quality.groups
    ]
    top = min(1.0, max(each["high"] for each in points) * 1.08 + 0.02)
    top = max(top, min(1.0, max(each["predicted"] for each in points) * 1.05))
    scale = alt.Scale(domain=[0, round(top, 3)], nice=False)
    base = alt.Chart(alt.Data(values=points)).encode(
        x=alt.X("predicted:Q", title="mean prediction", scale=scale, axis=alt.Axis(format="%", tickCount=5)),
    )
    ends = base.mark_rule(style="interval").encode(
        y=alt.Y("low:Q", title="observed share", scale=scale, axis=alt.Axis(format="%", tickCount=5)), y2="high:Q"
    )
    line = base.mark_line(point={"size": 60, "filled": True}).encode(
        y="observed:Q",
        tooltip=[
            alt.Tooltip("predicted:Q", format=".1%"),
            alt.Tooltip("observed:Q", format=".1%"),
            alt.Tooltip("low:Q", format=".1%", title="95 % from"),
            alt.Tooltip("high:Q", format=".1%", title="to"),
            "rows:Q",
        ],
    )
    chart = alt.layer(_diagonal(round(top, 3)), ends, line).properties(height=_HEIGHT)
    low, high = quality.groups[0], quality.groups[-1]
    return Plot(
        "calibration",
        chart.to_dict(),
        f"Calibration in tenths of the rows: in the lowest, {percent(low.predicted)} is predicted and "
        f"{percent(low.observed)} observed; in the highest, {percent(high.predicted)} and {percent(high.observed)}. "
        f"The mean distance is {percent(quality.calibration_error)}.",
    )


def scores(quality: Quality) -> Plot:
    """How the scores are spread among positives and negatives."""
    negatives = max(quality.rows * (1 - quality.base_rate), 1)
    positives = max(quality.rows * quality.base_rate, 1)
    bars = [
        {"low": low, "high": high, "label": label, "share": round(share, 6)}
        for low, high, yes, no in quality.histogram
        for label, share in (("negatives", no / negatives), ("positives", yes / positives))
    ]
    chart = (
        alt.Chart(alt.Data(values=bars), height=_HEIGHT)
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(
            x=alt.X("low:Q", title="prediction", bin=alt.BinParams(binned=True), axis=alt.Axis(tickCount=5)),
            x2="high:Q",
            y=alt.Y("share:Q", title="share of the rows", axis=alt.Axis(format="%", tickCount=5), stack=None),
            color=alt.Color("label:N", scale=alt.Scale(domain=["negatives", "positives"]), title=None),
            tooltip=["label:N", "low:Q", "high:Q", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    rule = alt.Chart(alt.Data(values=[{"at": quality.chosen.threshold}])).mark_rule(style="reference").encode(x="at:Q")
    return Plot(
        "scores",
        (chart + rule).to_dict(),
        f"Spread of the predictions: {percent(quality.chosen.called)} of {quality.rows:,} rows are at or above the "
        f"threshold {quality.chosen.threshold:g}; {percent(quality.base_rate)} are positive.",
    )


def slices(rows: Sequence[SliceMetrics], metric: str, overall: float | None, most: int = 24) -> Plot | None:
    """A metric on each slice, this run's beside the champion's; the worst at the top.

    Args:
        rows: slices, worst first.
        metric: the metric.
        overall: its value on all rows.
        most: how many slices at most.
    """
    shown = [part for part in rows if metric in part.challenger][:most]
    if not shown:
        return None
    points = [
        {"slice": part.slice, "rows": part.rows, "model": model, "value": round(values[metric], 6)}
        for part in shown
        for model, values in zip(MODELS, (part.challenger, part.champion), strict=True)
        if metric in values
    ]
    models = [model for model in MODELS if any(each["model"] == model for each in points)]
    base = alt.Chart(alt.Data(values=points), height=_bars(len(shown))).encode(
        y=alt.Y("slice:N", sort=[part.slice for part in shown], title=None, axis=alt.Axis(labelLimit=260)),
        x=alt.X("value:Q", title=metric, scale=alt.Scale(zero=False, padding=10), axis=alt.Axis(tickCount=5)),
    )
    span = base.mark_line(style="thread").encode(detail="slice:N")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        color=alt.Color("model:N", scale=alt.Scale(domain=models), title=None),
        shape=alt.Shape("model:N", scale=alt.Scale(domain=models), title=None),
        tooltip=["slice:N", "model:N", alt.Tooltip("value:Q", format=".4f"), alt.Tooltip("rows:Q", format=",")],
    )
    layers: list[Any] = [span, dots]
    if overall is not None:
        layers.insert(0, alt.Chart(alt.Data(values=[{"at": overall}])).mark_rule(style="reference").encode(x="at:Q"))
    worst = shown[0]
    words = (
        f"{metric} on {count(len(shown), 'slice')}, from {number(worst.challenger[metric])} on {worst.slice} to "
        f"{number(shown[-1].challenger[metric])} on {shown[-1].slice}"
    )
    words += f"; {number(overall)} on all rows." if overall is not None else "."
    return Plot("slices", alt.layer(*layers).to_dict(), words)


def importance(features: Sequence[dict[str, Any]], metric: str) -> Plot | None:
    """What the metric loses when one feature is shuffled, most important first.

    Args:
        features: feature, drop and deviation of the drop, most important first.
        metric: the metric.
    """
    if not features:
        return None
    bars = [
        {**each, "low": each["drop"] - each["deviation"], "high": each["drop"] + each["deviation"]} for each in features
    ]
    base = alt.Chart(alt.Data(values=bars), height=_bars(len(features))).encode(
        y=alt.Y("feature:N", sort=None, title=None, axis=alt.Axis(labelLimit=200)),
    )
    bar = base.mark_bar(height=13, cornerRadiusEnd=2).encode(
        x=alt.X("drop:Q", title=f"loss of {metric}", axis=alt.Axis(tickCount=5)),
        tooltip=["feature:N", alt.Tooltip("drop:Q", format=".4f"), alt.Tooltip("deviation:Q", format=".4f")],
    )
    whisker = base.mark_rule(style="interval").encode(x="low:Q", x2="high:Q")
    named = ", ".join(f"{each['feature']} ({number(each['drop'])})" for each in features[:5])
    return Plot(
        "importance",
        (bar + whisker).to_dict(),
        f"Loss of {metric} when one of {count(len(features), 'feature')} is shuffled. The most important: {named}.",
    )


def feature(name: str, columns: dict[str, Column], splits: Sequence[str] = SPLITS) -> Plot | None:
    """How a column is spread in each split.

    Args:
        name: of the column.
        columns: split -> column, in the order of the splits.
        splits: all of the page, which decide the colours.

    Returns:
        None where there is nothing to see: no value at all, or another one in each row.
    """
    kind = next(iter(columns.values())).kind
    if kind == "category":
        if all((each.distinct or 0) > _DISTINCT * max(each.present, 1) for each in columns.values()):
            return None
        leading = list(dict.fromkeys(value for each in columns.values() for value, _ in each.top[:7]))[:8]
        bars = [
            {"value": value, "split": split, "share": round(each.frequencies.get(value, 0) / max(each.present, 1), 5)}
            for split, each in columns.items()
            for value in leading
        ]
        words = "; ".join(
            f"{split}: {', '.join(f'{value} {percent(share)}' for value, share in each.top[:3])}"
            for split, each in columns.items()
        )
        spec = {**_categories(tuple(splits)), "data": {"values": bars}} if bars else None
    else:
        spread = [_density(split, each) for split, each in columns.items()]
        bars = [point for points in spread for point in points]
        words = "; ".join(
            f"{split}: mean {number(each.mean)}, from {number(each.minimum)} to {number(each.maximum)}"
            for split, each in columns.items()
        )
        spec = {**_numbers(tuple(splits)), "data": {"values": bars}} if bars else None
    return Plot(f"feature-{name}", spec, f"{name} by split. {words}.") if spec else None


@functools.cache
def _categories(splits: tuple[str, ...]) -> dict[str, Any]:
    chart = (
        alt.Chart(alt.Data(values=[]), height=_SMALL)
        .mark_bar()
        .encode(
            x=alt.X("value:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35, labelLimit=62)),
            xOffset=alt.XOffset("split:N", sort=list(splits)),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=3)),
            color=alt.Color("split:N", scale=alt.Scale(domain=list(splits)), legend=None),
            tooltip=["value:N", "split:N", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return chart.to_dict()


@functools.cache
def _numbers(splits: tuple[str, ...]) -> dict[str, Any]:
    chart = (
        alt.Chart(alt.Data(values=[]), height=_SMALL)
        .mark_area(interpolate="step-after", line=True, fillOpacity=0.12)
        .encode(
            x=alt.X(
                "at:Q", title=None, axis=alt.Axis(tickCount=4, format=",.4~r"), scale=alt.Scale(nice=False, zero=False)
            ),
            y=alt.Y("density:Q", title=None, axis=None, stack=None),
            color=alt.Color("split:N", scale=alt.Scale(domain=list(splits)), legend=None),
            tooltip=["split:N", "at:Q", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    return chart.to_dict()


def _density(split: str, column: Column) -> list[dict[str, Any]]:
    """The steps of a histogram. Densities, because the splits have neither the same rows nor the same edges."""
    total = sum(rows for _, _, rows in column.bins) or 1
    steps = [
        {
            "split": split,
            "at": low,
            "density": rows / total / ((high - low) or 1),
            "share": round(rows / total, 5),
        }
        for low, high, rows in column.bins
    ]
    if not steps:
        return []
    end = column.bins[-1][1]
    return [*steps, {**steps[-1], "at": end}, {"split": split, "at": end, "density": 0, "share": 0}]


def _curve(
    points: Sequence[tuple[float, float]],
    chosen: dict[str, float | None],
    x: str,
    y: str,
    diagonal: bool = False,
    level: float | None = None,
) -> dict[str, Any]:
    unit = alt.Scale(domain=[0, 1])
    line = (
        alt.Chart(alt.Data(values=[{"x": a, "y": b} for a, b in points]))
        .mark_line(interpolate="linear")
        .encode(
            x=alt.X("x:Q", title=x, scale=unit, axis=alt.Axis(tickCount=5)),
            y=alt.Y("y:Q", title=y, scale=unit, axis=alt.Axis(tickCount=5)),
            order="x:Q",
            tooltip=[alt.Tooltip("x:Q", title=x, format=".3f"), alt.Tooltip("y:Q", title=y, format=".3f")],
        )
    )
    layers: list[Any] = [line]
    if diagonal:
        layers.insert(0, _diagonal(1))
    if level is not None:
        layers.insert(0, alt.Chart(alt.Data(values=[{"y": level}])).mark_rule(style="reference").encode(y="y:Q"))
    if None not in chosen.values():
        # In a layer of its own, so that the page can move it when another threshold is tried.
        layers.append(
            alt.Chart(alt.NamedData("chosen"))
            .mark_point(style="chosen", filled=True, size=130)
            .encode(x="x:Q", y="y:Q")
        )
    chart = alt.layer(*layers).properties(height=_HEIGHT)
    spec = chart.to_dict()
    spec["datasets"] = {**spec.get("datasets", {}), "chosen": [chosen]}
    return spec


def _bars(rows: int) -> int:
    """The height of a plot with a line of text per row, its axis and legend included."""
    return 20 * rows + 80


def _diagonal(end: float) -> alt.Chart:
    ends = alt.Data(values=[{"predicted": 0, "same": 0}, {"predicted": end, "same": end}])
    return alt.Chart(ends).mark_line(style="reference").encode(x="predicted:Q", y="same:Q")
