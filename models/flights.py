"""The columns that the model of late flights reads: the use case's part of the features."""

from __future__ import annotations

from pydantic import Field

from models.features import FeatureSettings, Period


class FlightFeatures(FeatureSettings):
    """The features of late flights; `FeatureSettings` says what each setting means.

    The calendar month is left out on purpose: a model tested on the month after its training months cannot know
    that month's effect, and learning the others' only overfits.
    """

    numeric: tuple[str, ...] = (
        "distance",
        "plane_year",
        "plane_engines",
        "plane_seats",
        "temp",
        "dewp",
        "humid",
        "wind_speed",
        "wind_gust",
        "precip",
        "pressure",
        "visib",
        "weather_age",
        "origin_recent_delay",
        "origin_recent_departures",
    )
    heavy_tailed: tuple[str, ...] = ("precip", "origin_recent_delay")
    missing_indicators: tuple[str, ...] = (
        "plane_year",
        "temp",
        "wind_dir",
        "wind_gust",
        "pressure",
        "origin_recent_delay",
    )
    cyclic: dict[str, Period] = Field(
        default={"sched_dep_minute": 1440.0, "sched_arr_minute": 1440.0, "wind_dir": 360.0}
    )
    categorical: tuple[str, ...] = (
        "carrier",
        "origin",
        "dest",
        "day_of_week",
        "plane_manufacturer",
        "plane_engine",
    )
    vocabulary_min_count: int = Field(default=100, ge=1)
