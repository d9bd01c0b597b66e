"""Requests and labels find each other by the key of a row, by the same rule that names a streamed row."""

import dataclasses
import io
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import storage
from data.contract import Contract
from errors import FlightdeckError
from operations.inference import payload_log, payload_table
from operations.inference.columns import Column
from operations.inference.payload_log import PayloadLog
from operations.inference.payload_table import Payload
from operations.inference.settings import Payloads
from operations.monitoring.served import (
    SPAN,
    NoPayloadLogError,
    answered,
    arrived,
    callers,
    period_of,
    periods,
    requests,
    require_log,
    served,
)
from tests.operations.monitoring.worlds import TASKS
from tests.operations.test_registry import Factory
from tests.world import ROOT

pytestmark = pytest.mark.unit
CONTRACT = Contract.load(ROOT / "data" / "contract.yaml")
NIGHT = datetime(2013, 7, 1, 23, 59, 30, tzinfo=UTC)


def keyed_by(*names: str) -> Contract:
    """The contract, with these keys of text that are never missing, and no others."""
    text = {column.name for column in CONTRACT.columns if column.role == "key" and column.type == "string"}
    columns = [
        column.model_copy(update={"nullable": column.name not in names}) if column.name in text else column
        for column in CONTRACT.columns
    ]
    return CONTRACT.model_copy(update={"columns": tuple(columns)})


@pytest.fixture
def spans(place):
    rows = {name: [0.0, 1.0, 2.0] for name in CONTRACT.ingested()}
    rows |= {CONTRACT.label: [0, 1, None], "flight_id": ["x", "y", "z"], "tailnum": ["n1", "n2", "n3"]}
    write(place / "span-001" / "rows.parquet", pd.DataFrame(rows))
    return place


def write(file: Path, rows: pd.DataFrame) -> None:
    storage.make_folder(file.parent)
    file.write_bytes(rows.to_parquet())


@pytest.mark.parametrize(
    ("keys", "expected"), [(("flight_id",), ["x", "y"]), (("flight_id", "tailnum"), ["x/n1", "y/n2"])]
)
def test_labels_are_found_by_the_key_of_a_row_as_a_stream_names_it(spans, keys, expected):
    contract = keyed_by(*keys)

    rows = arrived(spans, contract)

    assert contract.row_key == keys
    assert rows is not None
    assert rows[CONTRACT.label].to_dict() == dict(zip(expected, (0, 1), strict=True))


def test_without_a_key_no_label_can_be_found(spans):
    assert arrived(spans, keyed_by()) is None


def test_a_span_without_the_key_is_a_sentence(spans):
    storage.make_folder(spans / "span-002")
    (spans / "span-002" / "rows.csv").write_text("flight_id\na\n")

    with pytest.raises(FlightdeckError, match=r"rows\.csv cannot be read"):
        arrived(spans, keyed_by("flight_id"))


def log(folder: Path, *times: datetime, **columns: list) -> None:
    ids = [str(time) for time in times]
    rows = pd.DataFrame({"prediction_id": ids, "time": times, "model_version": 1, **columns}).convert_dtypes()
    write(folder / "day" / f"{len(storage.entries(folder / 'day'))}.parquet", rows)


def test_windows_are_days_from_midnight_and_each_request_is_in_one(place):
    log(place, NIGHT, NIGHT + timedelta(minutes=1))
    log(place, NIGHT + timedelta(seconds=10))

    result = periods(place, "day")

    assert [period.name for period in result] == ["2013-07-01", "2013-07-02"]
    assert [len(served(place, period)) for period in result] == [2, 1]
    assert period_of(result[1].begin, "day") == result[1]


def test_a_log_that_is_not_there_yet_is_empty(place):
    assert periods(place / "none", "day") == []
    assert len(served(place / "none", TODAY)) == 0


def test_a_damaged_file_of_the_log_is_a_sentence(place):
    log(place, NIGHT)
    (place / "day" / "broken.parquet").write_bytes(b"PAR1 and then nothing")

    with pytest.raises(FlightdeckError, match="cannot be read"):
        periods(place, "day")


def test_windows_follow_the_calendar() -> None:
    leap = datetime(2012, 3, 1, tzinfo=UTC)
    month = period_of(leap, "month")
    assert (month.begin, month.end) == (leap, datetime(2012, 4, 1, tzinfo=UTC))
    assert period_of(datetime(2012, 12, 31, 23, tzinfo=UTC), "month").end == datetime(2013, 1, 1, tzinfo=UTC)
    assert period_of(NIGHT, "week").begin == datetime(2013, 7, 1, tzinfo=UTC)  # a Monday
    assert period_of(NIGHT, "hour").begin == datetime(2013, 7, 1, 23, tzinfo=UTC)
    assert period_of(NIGHT, "minute").end == datetime(2013, 7, 2, tzinfo=UTC)


def test_a_row_knows_the_span_that_it_came_with(spans):
    first = io.BytesIO((spans / "span-001" / "rows.parquet").read_bytes())
    write(spans / "span-012" / "rows.parquet", pd.read_parquet(first).assign(flight_id=["a", "b", "c"]))

    result = arrived(spans, keyed_by("flight_id"))

    assert result is not None
    assert result[SPAN].to_dict() == {"x": 1, "y": 1, "a": 12, "b": 12}


TODAY = period_of(NIGHT, "day")


def rows_of(folder: Path, **chosen) -> list[str]:
    return list(served(folder, TODAY, **chosen)["prediction_id"])


def test_answers_that_nobody_saw_are_read_only_when_they_are_asked_for(place):
    log(place, NIGHT)  # as it was written before there were shadows
    assert (rows_of(place), rows_of(place, shadow=True)) == ([str(NIGHT)], [])
    log(place, *[NIGHT] * 3, prediction_id=list("abc"), model_version=[1, 2, 2], shadow=[None, True, False])

    assert set(rows_of(place)) == {str(NIGHT), "a", "c"}
    assert rows_of(place, shadow=True) == ["b"]
    assert rows_of(place, version=2) == ["c"]


def test_refused_rows_are_read_only_when_they_are_asked_for_and_their_callers_are_counted(place):
    log(place, NIGHT)  # as it was written before anything was refused
    assert rows_of(place, refused=True) == []
    facts = {
        "request_refused": [True, True, True, False, None],
        "contract_faults": ["size, colour", "size", None, "size", None],
        "request_caller": ["a shop", None, "a till", "a till", "a till"],
    }
    log(place, *[NIGHT] * 5, prediction_id=list("abcde"), **facts)

    assert set(rows_of(place)) == {str(NIGHT), "d", "e"}
    refused = served(place, TODAY, refused=True)
    assert list(refused["prediction_id"]) == ["a", "b", "c"]
    assert callers(refused, "size") in ("a shop (1), unknown callers (1)", "unknown callers (1), a shop (1)")
    assert callers(refused, "colour") == "a shop (1)"
    assert callers(refused, "weight") == ""
    assert callers(pd.concat([refused] * 3), "size", most=1).endswith(" (3) and 1 more")


def payload(ids: list[str], at: float, seconds: float | None) -> Payload:
    """A request with so many rows, and its answer."""
    of = len(ids)
    inputs = {"size": Column("size", "float32", (None, 1))}
    answers = {"probability": np.full((of, 1), 0.5, np.float32)}
    return Payload(ids, at, 1, inputs, {"size": np.ones((of, 1), np.float32)}, None, answers, seconds=seconds)


def test_rows_of_one_request_are_told_from_those_of_others(place):
    log = PayloadLog(place, Payloads())
    log.offer(payload(["a-0", "a-1", "a-2"], NIGHT.timestamp(), 0.01))
    log.offer(payload(["b"], NIGHT.timestamp() + 1e-6, 0.01))
    log.offer(payload(["c"], NIGHT.timestamp(), 0.02))
    log.offer(payload(["d", "e"], NIGHT.timestamp(), None))  # as a stream writes them
    log.close()

    rows = served(place, period_of(NIGHT, "day"))

    by_request = rows.groupby(requests(rows))["prediction_id"].agg(" ".join)
    assert sorted(by_request) == ["a-0 a-1 a-2", "b", "c", "d", "e"]


ANSWERS = {
    "binary": {"probability": np.array([[0.25], [0.5], [0.75]], np.float32)},
    "multiclass": {"probabilities": np.eye(3, dtype=np.float32), "class": np.array(["a", "b", "c"], object)},
    "regression": {"value": np.array([[-1.5], [0.0], [1000.0]], np.float32)},
}


@pytest.mark.parametrize("column", ["price", "value"])
@pytest.mark.parametrize("task", TASKS)
def test_predictions_come_out_of_the_log_as_they_went_in(place, task, column):
    """Also where a column of the requests has the name of an output, and where requests were refused."""
    inputs = {column: Column(column, "float32", (None, 1))}
    asked = {column: np.array([[7.0], [8.0], [9.0]], np.float32)}
    payload = Payload(["x", "y", "z"], NIGHT.timestamp(), 1, inputs, asked, None, ANSWERS[task])
    refused = dataclasses.replace(payload, refused=True)
    for name, part in (("answered", payload), ("refused", refused)):
        payload_log.write(place, payload_table.as_table(part), name)

    rows = served(place, period_of(NIGHT, "day"))

    expected = ANSWERS[task][TASKS[task].output]
    np.testing.assert_array_equal(answered(rows, TASKS[task]), expected if task == "multiclass" else expected[:, 0])
    missing = answered(served(place, period_of(NIGHT, "day"), refused=True), TASKS[task])
    assert missing is None or np.isnan(missing).all()
    if column != TASKS["regression"].output:
        assert all(answered(rows, TASKS[other]) is None for other in TASKS if other != task)


def test_probabilities_of_other_classes_are_no_predictions():
    rows = pd.DataFrame({"probabilities": [np.array([0.5, 0.5]), None]})

    assert answered(rows, TASKS["multiclass"]) is None
    assert answered(rows.iloc[1:], TASKS["multiclass"]) is None
    assert answered(rows.drop(columns="probabilities"), TASKS["multiclass"]) is None


@pytest.fixture
def pushed(tmp_path):
    """A version is served, and nothing was logged yet; a window is a day."""
    factory = Factory(tmp_path / "workspace")
    factory.push("first", factory.train("first"), 1)
    return factory


def days_from_now(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


def test_a_version_that_is_served_for_three_windows_without_a_log_is_told(pushed):
    with pytest.raises(NoPayloadLogError, match=r"version 1 is served, .* 3 windows .*`day`.*TensorFlow Serving"):
        require_log(pushed.settings, days_from_now(5))


def test_a_version_that_was_pushed_in_the_last_windows_may_wait_for_its_first_request(pushed):
    require_log(pushed.settings, days_from_now(0))
    require_log(pushed.settings, days_from_now(2))


def test_a_log_that_is_written_is_enough_and_one_that_has_ended_is_not(pushed):
    day = Path(pushed.settings.payloads, "2026-11-30")
    day.mkdir(parents=True)
    require_log(pushed.settings, days_from_now(2))
    with pytest.raises(NoPayloadLogError):
        require_log(pushed.settings, days_from_now(5))
    later = days_from_now(4).timestamp()
    os.utime(day, (later, later))
    require_log(pushed.settings, days_from_now(5))
    # What a service records of a canary is no request.
    day.rename(day.with_name("canary"))
    with pytest.raises(NoPayloadLogError):
        require_log(pushed.settings, days_from_now(5))


def test_before_the_first_push_and_without_a_log_by_choice_there_is_nothing_to_tell(tmp_path, pushed):
    require_log(Factory(tmp_path / "empty").settings, days_from_now(5))
    require_log(Factory(tmp_path / "workspace", "serving.payloads.enabled=false").settings, days_from_now(5))


@pytest.mark.parametrize("place", ["gs", "s3"], indirect=True)
def test_a_log_in_a_bucket_that_is_written_is_enough(pushed, place):
    factory = Factory(pushed.workspace, f"serving.payloads.folder={place}")
    with pytest.raises(NoPayloadLogError):
        require_log(factory.settings, days_from_now(5))
    write(place / "2026-11-30" / "1.parquet", pd.DataFrame())
    require_log(factory.settings, days_from_now(2))
