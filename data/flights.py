"""The flights of 2013 as rows of the contract: the three tables joined as of prediction time, in UTC.

Every value a model may read is cut off at prediction time, two hours before scheduled departure. All times
are UTC: local clocks repeat an hour in autumn and skip one in spring, and would shift the cut-off with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from data.contract import Contract

LEAD = timedelta(hours=2)
"""How long before scheduled departure a prediction is made."""

RECENT = timedelta(hours=2)
"""How far the recent departures of an origin reach back from prediction time."""

OBSERVATION_DELAY = timedelta(hours=1)
"""An observation is stamped with the start of its hour and known at the end of it.

The source rounds report times down to the hour and keeps the maximum of the hour's reports:
``data-raw/weather.R`` of the R package nycflights13.
"""

MAX_OBSERVATION_AGE = timedelta(hours=6)
LATE_MINUTES = 15
VERY_LATE_MINUTES = 60

_READINGS = [
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "wind_gust",
    "precip",
    "pressure",
    "visib",
]
_AIRCRAFT = {
    "year": "plane_year",
    "engines": "plane_engines",
    "seats": "plane_seats",
    "manufacturer": "plane_manufacturer",
    "engine": "plane_engine",
}
_BANDS = {"night": 6, "morning": 10, "midday": 14, "afternoon": 18, "evening": 24}


@dataclass(frozen=True)
class Source:
    """The three tables of the package: a row per scheduled flight, per airport and hour, and per aircraft."""

    flights: pd.DataFrame
    weather: pd.DataFrame
    planes: pd.DataFrame


def read_source(folder: Path) -> Source:
    """Reads the CSVs of the package's data folder."""
    return Source(
        flights=_read(folder / "flights.csv.zip", drop=["dep_time", "arr_time", "hour"]),
        weather=_read(folder / "weather.csv", drop=["year", "month", "day", "hour"]),
        planes=_read(folder / "planes.csv", drop=["type", "model", "speed"]),
    )


def join(source: Source, contract: Contract) -> tuple[pd.DataFrame, dict[str, int]]:
    """Joins the tables into one row per scheduled flight, cancelled and diverted ones included.

    Returns:
        The rows, sorted by ``scheduled_departure`` and ``flight_id``, with all contract columns and ``span``
        (the month of the local scheduled date), ``cancelled`` and ``diverted``; and the number of weather
        readings per column that were outside their range and became missing.
    """
    rows = _timetable(source.flights)
    weather, discarded = _observations(source.weather, contract)
    rows = _with_weather(rows, weather)
    rows = _with_recent_departures(rows)
    planes = source.planes.rename(columns=_AIRCRAFT)
    rows = rows.merge(planes, on="tailnum", how="left", validate="many_to_one")
    rows["arrived_late"] = (rows["arr_delay"] >= LATE_MINUTES).astype("int64")
    rows["lateness"] = rows["arrived_late"] + (rows["arr_delay"] >= VERY_LATE_MINUTES)
    rows = rows.sort_values(["scheduled_departure", "flight_id"], ignore_index=True)
    return rows, discarded


def _read(path: Path, drop: list[str]) -> pd.DataFrame:
    # The default markers of pandas would also turn honest text such as "None" into missing values.
    table = pd.read_csv(path, keep_default_na=False, na_values=["NA", ""])
    if "time_hour" in table:
        table["time_hour"] = pd.to_datetime(table["time_hour"], utc=True, format="%Y-%m-%dT%H:%M:%SZ")
    return table.drop(columns=drop)


def _timetable(flights: pd.DataFrame) -> pd.DataFrame:
    """Adds identity, scheduled times and what became of the flight."""
    rows = flights.copy()
    date = pd.to_datetime(rows[["year", "month", "day"]])
    number = rows["carrier"] + rows["flight"].astype(str)
    rows["flight_id"] = date.dt.strftime("%Y-%m-%d") + "/" + number + "/" + rows["origin"]
    rows["scheduled_departure"] = rows["time_hour"] + _minutes(rows["minute"])
    rows["prediction_time"] = rows["scheduled_departure"] - LEAD
    rows["span"] = rows["month"]
    rows["day_of_week"] = date.dt.dayofweek.astype("int64")
    rows["sched_dep_minute"] = _minute_of_day(rows["sched_dep_time"])
    rows["sched_arr_minute"] = _minute_of_day(rows["sched_arr_time"])
    band = np.searchsorted(list(_BANDS.values()), rows["sched_dep_minute"] // 60, side="right")
    rows["departure_band"] = np.array(list(_BANDS), dtype=object)[band]
    rows["cancelled"] = rows["dep_delay"].isna()
    rows["diverted"] = rows["arr_delay"].isna() & ~rows["cancelled"]
    return rows.drop(columns=["year", "month", "day", "time_hour", "minute"])


def _minutes(count: Any) -> Any:
    return pd.to_timedelta(count, unit="min")


def _minute_of_day(clock: Any) -> Any:
    """Turns clock times written as hhmm (2400 is midnight) into minutes after midnight, 0 to 1439."""
    return (clock // 100 * 60 + clock % 100).astype("int64") % 1440


def _observations(weather: pd.DataFrame, contract: Contract) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the observations by the instant they become known, without readings that cannot be."""
    known = weather.assign(observed=weather["time_hour"] + OBSERVATION_DELAY).drop(columns="time_hour")
    discarded: dict[str, int] = {}
    for name in _READINGS:
        low, high = contract.column(name).range or (-np.inf, np.inf)
        impossible = known[name].notna() & ~known[name].between(low, high)
        if impossible.any():
            discarded[name] = int(impossible.sum())
            known[name] = known[name].mask(impossible)
    return known.sort_values("observed", ignore_index=True), discarded


def _with_weather(rows: pd.DataFrame, observations: pd.DataFrame) -> pd.DataFrame:
    joined = pd.merge_asof(
        rows.sort_values("prediction_time", kind="stable"),
        observations,
        left_on="prediction_time",
        right_on="observed",
        by="origin",
        tolerance=pd.Timedelta(MAX_OBSERVATION_AGE),  # pyright: ignore[reportArgumentType]
    )
    joined["weather_age"] = (joined["prediction_time"] - joined["observed"]) / timedelta(minutes=1)
    return joined.drop(columns="observed")


def _with_recent_departures(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds count and mean delay of the flights that left the origin within ``RECENT`` up to prediction time.

    Sorted departure instants and running totals answer every window with two binary searches.
    """
    rows = rows.assign(origin_recent_delay=np.nan, origin_recent_departures=0)
    left = rows["scheduled_departure"] + _minutes(rows["dep_delay"])
    for index in rows.groupby("origin").groups.values():
        departed = left[index].dropna().sort_values(kind="stable")
        instants = departed.to_numpy("datetime64[ns]")
        totals = np.concatenate([[0.0], rows.loc[departed.index, "dep_delay"].cumsum()])
        until = rows.loc[index, "prediction_time"]
        last = np.searchsorted(instants, until.to_numpy("datetime64[ns]"), side="right")
        first = np.searchsorted(instants, (until - RECENT).to_numpy("datetime64[ns]"), side="right")
        count = last - first
        with np.errstate(invalid="ignore"):
            rows.loc[index, "origin_recent_delay"] = (totals[last] - totals[first]) / count
        rows.loc[index, "origin_recent_departures"] = count
    return rows
