"""The plot of a replay, as a file that any browser and any README shows."""

from __future__ import annotations

import os
from pathlib import Path

from operations import tasks
from operations.loop.replay.result import Result

FILE = "replay.svg"


def draw(result: Result, root: Path) -> Path:
    """Draws the metrics by month and level, with 95 % intervals, into `FILE` of a folder."""
    import altair as alt

    charts = []
    for metric in result.monthly:
        title = (tasks.METRICS[metric].formula or tasks.METRICS[metric].title).replace(" by ", " / ")
        points = [
            {"month": month.month, "level": f"level {level.level}: {level.name}", "fault": month.fault or ""}
            | number.model_dump()
            for level in result.levels
            for month in level.months
            if (number := month.quality[metric]).value is not None
        ]
        base = alt.Chart(alt.Data(values=points)).encode(
            x=alt.X("month:O", title=None, axis=alt.Axis(labelAngle=0)),
            color=alt.Color("level:N", title=None, legend=alt.Legend(orient="bottom", columns=1, labelLimit=600)),
        )
        scale = alt.Scale(zero=False)
        band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=title, scale=scale), y2=alt.Y2("high:Q"))
        line = base.mark_line(point=True).encode(y=alt.Y("value:Q", scale=scale))
        layers = [band, line]
        if result.fault:
            mark = alt.Chart(alt.Data(values=[point for point in points if point["fault"]]))
            layers.append(mark.mark_rule(strokeDash=[4, 4]).encode(x="month:O"))
        charts.append(alt.layer(*layers).properties(width=720, height=180))
    heading = f"Replay {result.name}: {result.first} to {result.last}" + (
        f", with the fault {result.fault}" if result.fault else ""
    )
    chart = alt.vconcat(*charts).properties(title=heading)
    file, staged = root / FILE, root / f".{os.getpid()}-{FILE}"
    chart.save(str(staged), format="svg")
    staged.replace(file)
    return file
