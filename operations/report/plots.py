"""The plots of the report, as Vega-Lite specifications made with Altair, each with its figures in words.

Colours, fonts and widths are not here: the page chooses them when it draws, by screen and colour scheme.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import altair as alt

from ledger.formats import count, excerpt, iso, number, percent
from ledger.run_facts import evaluation_data, outcome, shown_window
from ledger.run_record import RunRecord
from ledger.run_view import SliceMetrics
from operations.report.curves import Curve
from operations.report.quality import Group, Quality
from operations.report.statistics import Column

# The order of colours in the style sheet.
SPLITS = ("train", "eval", "serving")
MODELS = ("this run", "champion")
OUTCOMES = ("pushed", "blessed", "not blessed", "failed", "killed", "done", "running", "not ours")
HEIGHT = 260
_SMALL = 130
_SLICES = 24  # shown at most
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


def chart(values: Sequence[Mapping[str, Any]], height: int | None = None) -> alt.Chart:
    """A chart of some values, as high as the layer that it is in unless a height is given."""
    return alt.Chart(alt.Data(values=list(values)), height=alt.Undefined if height is None else height)


def time_axis(field: str, moments: Sequence[str], padding: int, **options: Any) -> alt.X:
    """An axis of time whose labels can be read, however few moments, in ISO 8601 with a zone, there are."""
    if len(set(moments)) == 1:
        # Vega writes a lone tick by its seconds, such as ``:26``.
        only = int(datetime.fromisoformat(moments[0]).timestamp() * 1000)
        axis = alt.Axis(values=[only], format="%Y-%m-%d %H:%M", **options)
    else:
        axis = alt.Axis(tickCount=6, format={"hours": "%H:%M", "minutes": "%H:%M", "seconds": "%H:%M:%S"}, **options)
    return alt.X(f"{field}:T", title=None, axis=axis, scale=alt.Scale(nice=False, padding=padding))


def colour_and_shape(field: str, domain: Sequence[str]) -> dict[str, Any]:
    """Encodes a field by both, for those who see no colours."""
    options = {"scale": alt.Scale(domain=list(domain)), "title": None}
    return {"color": alt.Color(f"{field}:N", **options), "shape": alt.Shape(f"{field}:N", **options)}


def reference(**at: float) -> alt.Chart:
    """A line at a value of `x` or `y`."""
    return chart([at]).mark_rule(style="reference").encode(**{channel: f"{channel}:Q" for channel in at})


def history(records: Sequence[RunRecord], links: Mapping[str, str], metric: str, best: str | None) -> Plot:
    """A metric of all runs over time; the page may ask for another metric.

    Args:
        records: oldest first.
        links: run -> its page, of the runs that have one.
        metric: the one to show first.
        best: the best of those that were evaluated on the same data as the newest.
    """
    points = [
        {
            "run": record.run_id,
            "started": iso(record.started),
            "outcome": outcome(record),
            "window": shown_window(record),
            "evaluated": evaluation_data(record),
            "link": links.get(record.run_id),
            "metric": name,
            "value": round(value, 6),
        }
        for record in records
        for name, value in record.metrics.items()
    ]
    outcomes = {point["outcome"] for point in points}
    base = (
        chart(points, HEIGHT)
        .transform_filter("datum.metric === metric")
        .encode(
            x=time_axis("started", [point["started"] for point in points], 16, labelFlush=True),
            y=alt.Y("value:Q", title=None, axis=alt.Axis(format=NUMBERS), scale=alt.Scale(zero=False, padding=12)),
        )
    )
    line = base.mark_line(style="thread")
    dots = base.mark_point(filled=True, size=110, opacity=1, cursor="pointer").encode(
        **colour_and_shape("outcome", [name for name in OUTCOMES if name in outcomes]),
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
    measured = {record.run_id: number(record.metrics[metric]) for record in records if metric in record.metrics}
    words = f"{metric} of {count(len(measured), 'run')} over time."
    if measured:
        newest = list(measured)[-1]
        words += f" The newest, {newest}, has {measured[newest]}"
        words += f"; the best on the newest evaluation data, {best}, has {measured[best]}." if best in measured else "."
    return Plot("history", (line + dots).add_params(alt.param("metric", value=metric)).to_dict(), words)


def training(curves: Sequence[Curve]) -> list[Plot]:
    """One plot per metric of the training: epochs across, one line for each kind of rows."""
    plots = []
    for metric in sorted({curve.metric for curve in curves}, key=lambda name: (name != "loss", name)):
        lines = [curve for curve in curves if curve.metric == metric]
        points = [{"epoch": epoch, "value": value, "rows": line.rows} for line in lines for epoch, value in line.points]
        epochs = alt.Axis(tickMinStep=1, format="d")
        drawn = (
            chart(points, 180)
            .mark_line(point={"size": 55, "filled": True})
            .encode(
                x=alt.X("epoch:Q", title="epoch", axis=epochs, scale=alt.Scale(nice=False)),
                y=alt.Y("value:Q", title=None, axis=alt.Axis(format=NUMBERS), scale=alt.Scale(zero=False)),
                color=alt.Color("rows:N", scale=alt.Scale(domain=[line.rows for line in lines]), title=None),
                tooltip=["rows:N", "epoch:Q", alt.Tooltip("value:Q", format=".5g")],
            )
        )
        words = "; ".join(
            f"on {line.rows} rows from {number(line.points[0][1])} to {number(line.points[-1][1])} "
            f"after {count(len(line.points), 'epoch')}"
            for line in lines
        )
        plots.append(Plot(f"training-{metric}", drawn.to_dict(), f"{metric} by epoch: {words}."))
    return plots


def roc(quality: Quality) -> Plot:
    """True positive rate over false positive rate, with the chosen threshold."""
    chosen = quality.chosen
    point = {"x": chosen.false_positive_rate, "y": chosen.recall}
    return Plot(
        "roc",
        _curve(quality.roc, point, "false positive rate", "true positive rate", diagonal(1)),
        f"Receiver operating characteristic: the area under the curve is {number(quality.auc)}. At the threshold "
        f"{chosen.threshold:g}, {percent(chosen.recall)} of the positives are found, and "
        f"{percent(chosen.false_positive_rate)} of the negatives are called positive.",
    )


def precision_recall(quality: Quality) -> Plot:
    """Precision over recall, with the chosen threshold and the share of positives."""
    chosen = quality.chosen
    point = {"x": chosen.recall, "y": chosen.precision}
    return Plot(
        "precision-recall",
        _curve(quality.precision_recall, point, "recall", "precision", reference(y=quality.base_rate)),
        f"Precision over recall: the average precision is {number(quality.average_precision)}, against "
        f"{percent(quality.base_rate)} for guessing. At the threshold {chosen.threshold:g}, precision is "
        f"{percent(chosen.precision)} and recall is {percent(chosen.recall)}.",
    )


def calibration(groups: Sequence[Group], error: float, what: str = "Calibration") -> Plot:
    """The observed share over the mean score, in tenths of the rows; `error` is their mean distance."""
    points = [{name: round(value, 5) for name, value in dataclasses.asdict(group).items()} for group in groups]
    top = min(1.0, max(point["high"] for point in points) * 1.08 + 0.02)
    top = round(max(top, min(1.0, max(point["predicted"] for point in points) * 1.05)), 3)
    options = {"scale": alt.Scale(domain=[0, top], nice=False), "axis": alt.Axis(format="%", tickCount=5)}
    base = chart(points).encode(x=alt.X("predicted:Q", title="mean prediction", **options))
    ends = base.mark_rule(style="interval").encode(y=alt.Y("low:Q", title="observed share", **options), y2="high:Q")
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
    low, high = groups[0], groups[-1]
    return Plot(
        "calibration",
        alt.layer(diagonal(top), ends, line).properties(height=HEIGHT).to_dict(),
        f"{what} in tenths of the rows: in the lowest, {percent(low.predicted)} is predicted and "
        f"{percent(low.observed)} observed; in the highest, {percent(high.predicted)} and {percent(high.observed)}. "
        f"The mean distance is {percent(error)}.",
    )


def scores(quality: Quality) -> Plot:
    """How the scores are spread among positives and negatives."""
    negatives = max(quality.rows * (1 - quality.base_rate), 1)
    positives = max(quality.rows * quality.base_rate, 1)
    bars = [
        (low, high, label, share)
        for low, high, yes, no in quality.histogram
        for label, share in (("negatives", no / negatives), ("positives", yes / positives))
    ]
    return Plot(
        "scores",
        histogram(bars, ("negatives", "positives"), "prediction", quality.chosen.threshold),
        f"Spread of the predictions: {percent(quality.chosen.called)} of {quality.rows:,} rows are at or above the "
        f"threshold {quality.chosen.threshold:g}; {percent(quality.base_rate)} are positive.",
    )


def histogram(
    bars: Sequence[tuple[float, float, str, float]], labels: Sequence[str], x: str, mark: float | None = None
) -> dict[str, Any]:
    """Bars from low to high, of a label, as high as a share of the rows; perhaps with a line at a value of `x`."""
    legend = None if len(labels) == 1 else alt.Undefined
    drawn = (
        chart(
            [{"low": low, "high": high, "label": label, "share": round(share, 6)} for low, high, label, share in bars]
        )
        .mark_bar(opacity=0.55, binSpacing=0)
        .encode(
            x=alt.X("low:Q", title=x, bin=alt.BinParams(binned=True), axis=alt.Axis(tickCount=5)),
            x2="high:Q",
            y=alt.Y("share:Q", title="share of the rows", axis=alt.Axis(format="%", tickCount=5), stack=None),
            color=alt.Color("label:N", scale=alt.Scale(domain=list(labels)), title=None, legend=legend),
            tooltip=["label:N", "low:Q", "high:Q", alt.Tooltip("share:Q", format=".1%")],
        )
    )
    layers = [drawn] if mark is None else [drawn, reference(x=mark)]
    return alt.layer(*layers).properties(height=HEIGHT).to_dict()


def slices(rows: Sequence[SliceMetrics], metric: str, overall: float | None) -> Plot | None:
    """A metric on each slice, worst first, this run's beside the champion's; `overall` is the run's on all rows."""
    shown = [part for part in rows if metric in part.challenger][:_SLICES]
    if not shown:
        return None
    points = [
        {"slice": part.slice, "rows": part.rows, "model": model, "value": round(values[metric], 6)}
        for part in shown
        for model, values in zip(MODELS, (part.challenger, part.champion), strict=True)
        if metric in values
    ]
    models = {point["model"] for point in points}
    base = chart(points, _bars(len(shown))).encode(
        y=alt.Y("slice:N", sort=[part.slice for part in shown], title=None, axis=alt.Axis(labelLimit=260)),
        x=alt.X("value:Q", title=metric, scale=alt.Scale(zero=False, padding=10), axis=alt.Axis(tickCount=5)),
    )
    span = base.mark_line(style="thread").encode(detail="slice:N")
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        **colour_and_shape("model", [model for model in MODELS if model in models]),
        tooltip=["slice:N", "model:N", alt.Tooltip("value:Q", format=".4f"), alt.Tooltip("rows:Q", format=",")],
    )
    layers = [span, dots] if overall is None else [reference(x=overall), span, dots]
    worst, best = shown[0], shown[-1]
    words = (
        f"{metric} on {count(len(shown), 'slice')}, from {number(worst.challenger[metric])} on {worst.slice} to "
        f"{number(best.challenger[metric])} on {best.slice}"
    )
    words += f"; {number(overall)} on all rows." if overall is not None else "."
    return Plot("slices", alt.layer(*layers).to_dict(), words)


def importance(features: Sequence[Mapping[str, Any]], metric: str) -> Plot | None:
    """What a metric loses when one feature is shuffled: feature, drop and its deviation, most important first."""
    if not features:
        return None
    bars = [{**bar, "low": bar["drop"] - bar["deviation"], "high": bar["drop"] + bar["deviation"]} for bar in features]
    base = chart(bars, _bars(len(features))).encode(
        y=alt.Y("feature:N", sort=None, title=None, axis=alt.Axis(labelLimit=200)),
    )
    bar = base.mark_bar(height=13, cornerRadiusEnd=2).encode(
        x=alt.X("drop:Q", title=f"loss of {metric}", axis=alt.Axis(tickCount=5)),
        tooltip=["feature:N", alt.Tooltip("drop:Q", format=".4f"), alt.Tooltip("deviation:Q", format=".4f")],
    )
    whisker = base.mark_rule(style="interval").encode(x="low:Q", x2="high:Q")
    named = ", ".join(f"{bar['feature']} ({number(bar['drop'])})" for bar in features[:5])
    return Plot(
        "importance",
        (bar + whisker).to_dict(),
        f"Loss of {metric} when one of {count(len(features), 'feature')} is shuffled. The most important: {named}.",
    )


def feature(name: str, columns: Mapping[str, Column], splits: Sequence[str]) -> Plot | None:
    """How a column is spread in each split; all `splits` of the page decide the colours.

    Returns:
        None where there is nothing to see: no value at all, or another one in each row.
    """
    if next(iter(columns.values())).kind == "category":
        if all((column.distinct or 0) > _DISTINCT * max(column.present, 1) for column in columns.values()):
            return None
        leading = list(dict.fromkeys(value for column in columns.values() for value, _ in column.top[:7]))[:8]
        bars = [
            {
                "value": value,
                "split": split,
                "share": round(column.frequencies.get(value, 0) / max(column.present, 1), 5),
            }
            for split, column in columns.items()
            for value in leading
        ]
        words = "; ".join(
            f"{split}: {', '.join(f'{excerpt(value)} {percent(share)}' for value, share in column.top[:3])}"
            for split, column in columns.items()
        )
        spec = _categories(tuple(splits))
    else:
        bars = [step for split, column in columns.items() for step in _density(split, column)]
        words = "; ".join(
            f"{split}: mean {number(column.mean)}, from {number(column.minimum)} to {number(column.maximum)}"
            for split, column in columns.items()
        )
        spec = _numbers(tuple(splits))
    return Plot(f"feature-{name}", {**spec, "data": {"values": bars}}, f"{name} by split. {words}.") if bars else None


@functools.cache
def _categories(splits: tuple[str, ...]) -> dict[str, Any]:
    bars = chart([], _SMALL).mark_bar()
    return bars.encode(
        x=alt.X("value:N", sort=None, title=None, axis=alt.Axis(labelAngle=-35, labelLimit=62)),
        xOffset=alt.XOffset("split:N", sort=list(splits)),
        y=alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=3)),
        color=alt.Color("split:N", scale=alt.Scale(domain=list(splits)), legend=None),
        tooltip=["value:N", "split:N", alt.Tooltip("share:Q", format=".1%")],
    ).to_dict()


@functools.cache
def _numbers(splits: tuple[str, ...]) -> dict[str, Any]:
    areas = chart([], _SMALL).mark_area(interpolate="step-after", line=True, fillOpacity=0.12)
    axis, scale = alt.Axis(tickCount=4, format=",.4~r"), alt.Scale(nice=False, zero=False)
    return areas.encode(
        x=alt.X("at:Q", title=None, axis=axis, scale=scale),
        y=alt.Y("density:Q", title=None, axis=None, stack=None),
        color=alt.Color("split:N", scale=alt.Scale(domain=list(splits)), legend=None),
        tooltip=["split:N", "at:Q", alt.Tooltip("share:Q", format=".1%")],
    ).to_dict()


def _density(split: str, column: Column) -> list[dict[str, Any]]:
    """The steps of a histogram. Densities, because the splits have neither the same rows nor the same edges."""
    if not column.bins:
        return []
    total = sum(rows for _, _, rows in column.bins) or 1
    steps = [
        {"split": split, "at": low, "density": rows / total / ((high - low) or 1), "share": round(rows / total, 5)}
        for low, high, rows in column.bins
    ]
    end = column.bins[-1][1]
    return [*steps, {**steps[-1], "at": end}, {"split": split, "at": end, "density": 0, "share": 0}]


def _curve(
    points: Sequence[tuple[float, float]], chosen: dict[str, float | None], x: str, y: str, guessing: alt.Chart
) -> dict[str, Any]:
    """A curve in the unit square over that of guessing, with a point at the chosen threshold."""
    layers = [guessing, curves([{"x": a, "y": b} for a, b in points], x, y)]
    if None not in chosen.values():
        # In a layer of its own, so that the page can move it when another threshold is tried.
        mark = alt.Chart(alt.NamedData("chosen")).mark_point(style="chosen", filled=True, size=130)
        layers.append(mark.encode(x="x:Q", y="y:Q"))
    spec = alt.layer(*layers).properties(height=HEIGHT).to_dict()
    spec["datasets"] = {**spec.get("datasets", {}), "chosen": [chosen]}
    return spec


def curves(points: Sequence[Mapping[str, Any]], x: str, y: str, tooltip: Sequence[str] = (), **encoding: Any) -> Any:
    """Lines in the unit square through points of `x` and `y`, which have these titles."""
    options = {"scale": alt.Scale(domain=[0, 1]), "axis": alt.Axis(tickCount=5)}
    figures = [alt.Tooltip(f"{name}:Q", title=title, format=".3f") for name, title in (("x", x), ("y", y))]
    return (
        chart(points)
        .mark_line(interpolate="linear")
        .encode(
            x=alt.X("x:Q", title=x, **options),
            y=alt.Y("y:Q", title=y, **options),
            order="x:Q",
            tooltip=[*tooltip, *figures],
            **encoding,
        )
    )


def _bars(rows: int) -> int:
    """The height of a plot with a line of text per row, its axis and legend included."""
    return 20 * rows + 80


def diagonal(end: float) -> alt.Chart:
    """A line on which both axes are the same, from zero."""
    ends = [{"predicted": 0, "same": 0}, {"predicted": end, "same": end}]
    return chart(ends).mark_line(style="reference").encode(x="predicted:Q", y="same:Q")
