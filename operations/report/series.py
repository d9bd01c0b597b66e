"""Plots of numbers over time, with their intervals and thresholds; colours are the page's, as for all plots."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import altair as alt

from ledger.formats import interval
from operations.report.plots import NUMBERS, Plot, chart, colour_and_shape, time_axis

WITHIN, EXCEEDED = "within", "exceeded"
_HEIGHT = 220
_ROW = 22
_FEW = 3  # groups whose names fit into one line


@dataclasses.dataclass(frozen=True)
class Point:
    """A number at a time.

    Attributes:
        at: an ISO time, or a label such as ``2013-07`` that sorts as time does.
        group: by which it has its colour, such as ``version 3``.
        low: lower end of its 95 % interval.
        words: one sentence, shown beside it.
        choice: one of several series that a page shows in turn.
    """

    at: str
    group: str
    value: float
    low: float | None = None
    high: float | None = None
    threshold: float | None = None
    exceeded: bool = False
    words: str = ""
    choice: str = ""

    @property
    def state(self) -> str:
        """Whether the threshold is exceeded, as a word of the legend."""
        return EXCEEDED if self.exceeded else WITHIN


def over_time(
    name: str,
    points: Sequence[Point],
    groups: Sequence[str],
    words: str,
    *,
    times: bool = True,
    faults: Sequence[str] = (),
    chosen: str | None = None,
) -> Plot:
    """Numbers over time: a line for each group, a bar for each interval, a dashed line for the threshold.

    Args:
        name: of the plot.
        points: oldest first.
        groups: in the order of their colours.
        words: what it shows, with its numbers.
        times: whether `at` are times, and not labels.
        faults: labels of times at which something was injected, for a vertical line.
        chosen: the series to show first; the page may ask for another. Default: there is one only.
    """
    values = [
        {
            "at": point.at,
            "group": point.group,
            "choice": point.choice,
            "value": point.value,
            # An interval of no length where there is none: Vega warns of a plot whose bars have no end at all.
            "low": point.value if point.low is None else point.low,
            "high": point.value if point.high is None else point.high,
            "interval": interval(point),
            "state": point.state,
            "words": point.words,
            **({} if point.threshold is None else {"threshold": point.threshold}),
        }
        for point in points
    ]
    base: Any = chart(values)
    if chosen is not None:
        base = base.transform_filter("datum.choice === series")
    if times:
        base = base.encode(x=time_axis("at", [point.at for point in points], 14))
    else:
        base = base.encode(x=alt.X("at:O", title=None, axis=alt.Axis(labelAngle=-35)))
    options = {"title": None, "axis": alt.Axis(format=NUMBERS), "scale": alt.Scale(zero=False, padding=10)}
    legend = alt.Legend(columns=2) if len(groups) > _FEW else alt.Undefined
    colour = alt.Color("group:N", scale=alt.Scale(domain=list(groups)), title=None, legend=legend)
    tooltip = [
        alt.Tooltip("at:T" if times else "at:O", title="window"),
        alt.Tooltip("group:N", title="of"),
        alt.Tooltip("value:Q", format=".4f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("words:N", title="meaning"),
    ]
    judged = any(point.threshold is not None for point in points)
    states = alt.Scale(domain=[WITHIN, EXCEEDED], range=["circle", "cross"])
    shape = {"shape": alt.Shape("state:N", scale=states, title=None)} if judged else {}
    ends = {"y": alt.Y("low:Q", **options), "y2": "high:Q", "color": colour}
    layers: list[Any] = [
        base.mark_area(opacity=0.14, line=False).encode(**ends),
        base.mark_rule(opacity=0.4).encode(**ends),
        base.mark_line().encode(y=alt.Y("value:Q", **options), color=colour),
        base.mark_point(filled=True, size=75, opacity=1).encode(y="value:Q", color=colour, tooltip=tooltip, **shape),
    ]
    if judged:
        # A line of one point is none, so each threshold has a tick as well.
        layers.insert(0, base.mark_tick(style="reference", orient="horizontal", size=16).encode(y="threshold:Q"))
        layers.insert(0, base.mark_line(style="reference").encode(y="threshold:Q", detail="group:N"))
    if faults:
        layers.insert(0, chart([{"at": at} for at in faults]).mark_rule(style="reference").encode(x="at:O"))
    layered = alt.layer(*layers).properties(height=_HEIGHT)
    if chosen is not None:
        layered = layered.add_params(alt.param("series", value=chosen))
    return Plot(name, layered.to_dict(), words)


def grid(name: str, cells: Sequence[Point], rows: Sequence[str], words: str) -> Plot:
    """One cell for each window and series, the darker the nearer to its threshold; what is beyond it in another colour.

    Of a cell, `value` is the number by its threshold, and `choice` the row.
    """
    values = [
        {
            "at": cell.at,
            "row": cell.choice,
            "state": cell.state,
            "share": round(min(cell.value, 2.0), 4),
            "of": cell.group,
            "words": cell.words,
        }
        for cell in cells
    ]
    drawn = (
        chart(values, _ROW * len(rows) + 60)
        .mark_rect(cornerRadius=3)
        .encode(
            x=alt.X("at:O", title=None, axis=alt.Axis(labelAngle=-35)),
            y=alt.Y("row:N", sort=list(rows), title=None, axis=alt.Axis(labelLimit=240)),
            color=alt.Color("state:N", scale=alt.Scale(domain=[WITHIN, EXCEEDED]), title=None),
            opacity=alt.Opacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0.08, 1], clamp=True), legend=None),
            tooltip=[
                alt.Tooltip("row:N", title="signal"),
                alt.Tooltip("at:O", title="window"),
                alt.Tooltip("of:N", title="of"),
                alt.Tooltip("words:N", title="meaning"),
            ],
        )
    )
    return Plot(name, drawn.to_dict(), words)


def events(name: str, points: Sequence[Point], lanes: Sequence[str], words: str) -> Plot:
    """What happened when, a lane for each kind of thing: of a point, `choice` is the lane and `group` what it was."""
    values = [{"at": point.at, "lane": point.choice, "what": point.group, "words": point.words} for point in points]
    drawn = (
        chart(values, 34 * len(lanes) + 40)
        .mark_point(filled=True, size=130, opacity=0.9)
        .encode(
            x=time_axis("at", [point.at for point in points], 18, grid=True),
            y=alt.Y("lane:N", sort=list(lanes), title=None, axis=alt.Axis(labelLimit=140)),
            **colour_and_shape("what", list(dict.fromkeys(point.group for point in points))),
            tooltip=[
                alt.Tooltip("at:T", title="when", format="%Y-%m-%d %H:%M"),
                alt.Tooltip("lane:N", title="kind"),
                alt.Tooltip("what:N", title="what"),
                alt.Tooltip("words:N", title="why"),
            ],
        )
    )
    return Plot(name, drawn.to_dict(), words)
