"""Plots of numbers over time, with their intervals and thresholds; colours are the page's, as for all plots."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import altair as alt

from ledger.formats import NOTHING, number
from operations.report.plots import NUMBERS, Plot, time_axis

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
        value: the number.
        low: lower end of its 95 % interval.
        high: upper end.
        threshold: what is asked of it.
        exceeded: whether it is beyond that.
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
            "at": each.at,
            "group": each.group,
            "choice": each.choice,
            "value": each.value,
            # An interval of no length where there is none: Vega warns of a plot whose bars have no end at all.
            "low": each.value if each.low is None else each.low,
            "high": each.value if each.high is None else each.high,
            "interval": NOTHING if each.low is None else f"{number(each.low)} to {number(each.high)}",
            "state": EXCEEDED if each.exceeded else WITHIN,
            "words": each.words,
            **({} if each.threshold is None else {"threshold": each.threshold}),
        }
        for each in points
    ]
    base: Any = alt.Chart(alt.Data(values=values))
    if chosen is not None:
        base = base.transform_filter("datum.choice === series")
    across: Any = (
        alt.X(
            "at:T", title=None, axis=time_axis([each["at"] for each in values]), scale=alt.Scale(nice=False, padding=14)
        )
        if times
        else alt.X("at:O", title=None, axis=alt.Axis(labelAngle=-35))
    )
    scale, axis = alt.Scale(zero=False, padding=10), alt.Axis(format=NUMBERS)
    legend = alt.Legend(columns=2) if len(groups) > _FEW else alt.Undefined
    colour = alt.Color("group:N", scale=alt.Scale(domain=list(groups)), title=None, legend=legend)
    tooltip = [
        alt.Tooltip("at:T" if times else "at:O", title="window"),
        alt.Tooltip("group:N", title="of"),
        alt.Tooltip("value:Q", format=".4f"),
        alt.Tooltip("interval:N", title="95 % interval"),
        alt.Tooltip("words:N", title="meaning"),
    ]
    judged = any("threshold" in each for each in values)
    states = alt.Scale(domain=[WITHIN, EXCEEDED], range=["circle", "cross"])
    shape = {"shape": alt.Shape("state:N", scale=states, title=None)} if judged else {}
    base = base.encode(x=across)
    ends = {"y": alt.Y("low:Q", title=None, axis=axis, scale=scale), "y2": "high:Q", "color": colour}
    layers: list[Any] = [
        base.mark_area(opacity=0.14, line=False).encode(**ends),
        base.mark_rule(opacity=0.4).encode(**ends),
        base.mark_line().encode(y=alt.Y("value:Q", title=None, axis=axis, scale=scale), color=colour),
        base.mark_point(filled=True, size=75, opacity=1).encode(y="value:Q", color=colour, tooltip=tooltip, **shape),
    ]
    if judged:
        # A line of one point is none, so each threshold has a tick as well.
        layers.insert(0, base.mark_tick(style="reference", orient="horizontal", size=16).encode(y="threshold:Q"))
        layers.insert(0, base.mark_line(style="reference").encode(y="threshold:Q", detail="group:N"))
    if faults:
        marks = alt.Chart(alt.Data(values=[{"at": each} for each in faults]))
        layers.insert(0, marks.mark_rule(style="reference").encode(x="at:O"))
    chart = alt.layer(*layers).properties(height=_HEIGHT)
    if chosen is not None:
        chart = chart.add_params(alt.param("series", value=chosen))
    return Plot(name, chart.to_dict(), words)


def grid(name: str, cells: Sequence[Point], rows: Sequence[str], words: str) -> Plot:
    """One cell for each window and series, the darker the nearer to its threshold; what is beyond it in another colour.

    Args:
        name: of the plot.
        cells: `value` is the number by its threshold; `choice` the row.
        rows: from the top.
        words: what it shows.
    """
    values = [
        {
            "at": each.at,
            "row": each.choice,
            "state": EXCEEDED if each.exceeded else WITHIN,
            "share": round(min(each.value, 2.0), 4),
            "of": each.group,
            "words": each.words,
        }
        for each in cells
    ]
    chart = (
        alt.Chart(alt.Data(values=values), height=_ROW * len(rows) + 60)
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
    return Plot(name, chart.to_dict(), words)


def events(name: str, points: Sequence[Point], lanes: Sequence[str], words: str) -> Plot:
    """What happened when, a lane for each kind of thing.

    Args:
        name: of the plot.
        points: `choice` is the lane, `group` what it was; their values are not looked at.
        lanes: from the top.
        words: what it shows.
    """
    values = [{"at": each.at, "lane": each.choice, "what": each.group, "words": each.words} for each in points]
    kinds = list(dict.fromkeys(each["what"] for each in values))
    chart = (
        alt.Chart(alt.Data(values=values), height=34 * len(lanes) + 40)
        .mark_point(filled=True, size=130, opacity=0.9)
        .encode(
            x=alt.X(
                "at:T",
                title=None,
                axis=time_axis([each["at"] for each in values], grid=True),
                scale=alt.Scale(nice=False, padding=18),
            ),
            y=alt.Y("lane:N", sort=list(lanes), title=None, axis=alt.Axis(labelLimit=140)),
            color=alt.Color("what:N", scale=alt.Scale(domain=kinds), title=None),
            shape=alt.Shape("what:N", scale=alt.Scale(domain=kinds), title=None),
            tooltip=[
                alt.Tooltip("at:T", title="when", format="%Y-%m-%d %H:%M"),
                alt.Tooltip("lane:N", title="kind"),
                alt.Tooltip("what:N", title="what"),
                alt.Tooltip("words:N", title="why"),
            ],
        )
    )
    return Plot(name, chart.to_dict(), words)
