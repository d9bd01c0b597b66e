"""What was asked and answered is found again in Parquet, and what was not written is counted."""

import collections
import contextlib
import dataclasses
import datetime
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

import storage
from operations.inference import columns, payload_log, payload_table
from operations.inference.columns import Column
from operations.inference.payload_log import PayloadLog
from operations.inference.payload_table import Payload
from operations.inference.settings import Payloads
from tests.operations.serving.live_server import wait_for
from tests.operations.serving.small_model import INPUTS, OUTPUTS

pytestmark = pytest.mark.unit

ROWS = [{"amount": 1.5, "count": 7, "colour": "red"}, {}]
NOON = datetime.datetime(2026, 5, 1, 12, 0, tzinfo=datetime.UTC).timestamp()


def payload(number: int = 0, rows: list[dict] = ROWS, version: int = 3, moment: float | None = None) -> Payload:
    return Payload(
        [f"{number}-{row}" for row in range(len(rows))],
        time.time() if moment is None else moment,
        version,
        INPUTS.columns,
        columns.from_rows(rows, INPUTS),
        None,
        {"probability": np.linspace(0.25, 0.75, len(rows), dtype=np.float32).reshape(-1, 1)},
    )


@contextlib.contextmanager
def log(folder: Path, **settings) -> Iterator[tuple[PayloadLog, collections.Counter]]:
    counts: collections.Counter = collections.Counter()
    writer = PayloadLog(folder, Payloads(**settings), lambda outcome, rows: counts.update({outcome: rows}))
    yield writer, counts
    writer.close()


def logged(folder: Path, *payloads: Payload, **settings) -> list[Path]:
    """The files of a log that took some payloads."""
    with log(folder, **settings) as (writer, _):
        for one in payloads:
            writer.offer(one)
    return files(folder)


def files(folder: Path) -> list[Path]:
    return [folder / name for name in storage.files_below(folder) if name.endswith(".parquet")]


def read(file: Path) -> pa.Table:
    with file.open("rb") as stream:
        return pq.read_table(stream)


def test_every_row_is_written_with_its_missing_values_as_null(place: Path) -> None:
    with log(place / "payloads") as (writer, counts):
        writer.offer(payload(moment=NOON))
    (file,) = files(place)
    table = read(file)
    assert file.parent.name == "2026-05-01"
    both = {
        "time": datetime.datetime(2026, 5, 1, 12, 0, tzinfo=datetime.UTC),
        "model_version": 3,
        "shadow": False,
        "seconds": None,
        "contract_faults": None,
        "request_refused": False,
        "request_caller": None,
    }
    assert table.to_pylist() == [
        {"prediction_id": "0-0", **both, "amount": 1.5, "colour": "red", "count": 7, "probability": 0.25},
        {"prediction_id": "0-1", **both, "amount": None, "colour": None, "count": None, "probability": 0.75},
    ]
    assert table.schema.equals(payload_table.schema(INPUTS.columns, OUTPUTS))
    assert counts == {"written": 2}
    assert list(storage.files_below(place)) == [f"payloads/2026-05-01/{file.name}"]


def test_refused_rows_share_a_file_with_answered_ones_and_have_no_answer(place: Path) -> None:
    answered = dataclasses.replace(payload(0, moment=NOON), caller="a shop")
    faults = {"faults": ["amount", None], "refused": True, "caller": "another"}
    refused = dataclasses.replace(payload(1, moment=NOON), **faults)
    (file,) = logged(place, answered, refused, payload(2, moment=NOON))
    rows = read(file).to_pylist()
    assert [row["request_refused"] for row in rows] == [False, False, True, True, False, False]
    assert [row["contract_faults"] for row in rows] == [None, None, "amount", None, None, None]
    assert [row["request_caller"] for row in rows] == ["a shop"] * 2 + ["another"] * 2 + [None] * 2
    assert [row["probability"] for row in rows] == [0.25, 0.75, None, None, 0.25, 0.75]
    assert [row["amount"] for row in rows] == [1.5, None] * 3


@pytest.mark.parametrize("names", [("request_caller",), ("colour", "amount"), ("probability",)])
def test_excluded_columns_are_not_in_the_file(place: Path, names: tuple[str, ...]) -> None:
    (file,) = logged(place, dataclasses.replace(payload(), caller="10.0.0.3"), exclude=names)
    everything = payload_table.schema(INPUTS.columns, OUTPUTS).names
    assert read(file).schema.names == [name for name in everything if name not in names]


def test_files_are_closed_by_rows_and_no_row_is_lost(place: Path) -> None:
    with log(place, rotate_rows=5) as (writer, counts):
        for number in range(6):
            writer.offer(payload(number))
    sizes = [read(file).num_rows for file in files(place)]
    assert sizes == [5, 5, 2]
    ids = [name for file in files(place) for name in read(file)["prediction_id"].to_pylist()]
    assert ids == [f"{number}-{row}" for number in range(6) for row in range(2)]
    assert counts == {"written": 12}


def test_a_file_holds_one_hour_and_one_form(place: Path) -> None:
    vector = payload(3, moment=NOON + 3601)
    vector.outputs["probability"] = np.array([[0.1, 0.9], [0.2, 0.8]], np.float32)
    scalars = [payload(number, moment=NOON + seconds) for number, seconds in enumerate((0, 3599, 3600))]
    tables = [read(file) for file in logged(place, *scalars, vector)]
    assert [table["prediction_id"].to_pylist()[0] for table in tables] == ["0-0", "2-0", "3-0"]
    assert [table.num_rows for table in tables] == [4, 2, 2]
    np.testing.assert_allclose(tables[2]["probability"].to_pylist(), [[0.1, 0.9], [0.2, 0.8]], rtol=1e-6)


def test_the_answer_gives_way_to_a_column_that_is_called_like_it(place: Path) -> None:
    inputs = {**INPUTS.columns, "value": Column("value", "string", (None, 1))}
    asked = {**payload(moment=NOON).columns, "value": columns.objects(["much", "little"])}
    answered = dataclasses.replace(
        payload(moment=NOON), inputs=inputs, columns=asked, outputs={"value": np.array([[1.5], [2.5]], np.float32)}
    )
    shadow = dataclasses.replace(answered, version=4, shadow=True, outputs={"value": np.ones((2, 1), np.float32)})
    shadow = dataclasses.replace(shadow, inputs={}, columns={})
    rows = [row for file in logged(place, answered, shadow) for row in read(file).to_pylist()]
    assert [(row.get("value"), row["predicted_value"]) for row in rows] == [
        ("much", 1.5), ("little", 2.5), (None, 1.0), (None, 1.0),
    ]  # fmt: skip
    outputs = {"value": Column("value", "float32", (None, 1))}
    assert payload_table.schema(inputs, outputs).names[-2:] == ["value", "predicted_value"]


def test_shadows_and_latencies_are_rows_of_their_own(place: Path) -> None:
    first, second = (dataclasses.replace(payload(number, moment=NOON), seconds=number / 4) for number in (1, 2))
    shadow = dataclasses.replace(payload(1, moment=NOON, version=4), shadow=True)
    rows = [row for file in logged(place, first, second, shadow) for row in read(file).to_pylist()]
    assert [(row["prediction_id"], row["model_version"], row["shadow"], row["seconds"]) for row in rows] == [
        ("1-0", 3, False, 0.25),
        ("1-1", 3, False, 0.25),
        ("2-0", 3, False, 0.5),
        ("2-1", 3, False, 0.5),
        ("1-0", 4, True, None),
        ("1-1", 4, True, None),
    ]


def test_rows_of_another_time_are_written_once_however_often(place: Path) -> None:
    month = dataclasses.replace(payload(), times=np.array([NOON + 86_400, NOON]))
    for _ in range(2):
        written = payload_log.write(place, payload_table.as_table(month), "replay-2026-05")
    assert files(place) == [written]
    assert written == place / "2026-05-01" / "replay-2026-05.parquet"
    assert read(written)["time"].to_pylist()[1].timestamp() == NOON
    assert [file.name for file in storage.entries(written.parent)] == [written.name]


def test_a_file_is_closed_by_age_while_the_service_runs(place: Path) -> None:
    with log(place, rotate_seconds=0.2) as (writer, _):
        writer.offer(payload())
        wait_for(lambda: files(place))
        assert [read(file).num_rows for file in files(place)] == [2]


def test_what_does_not_fit_into_the_buffer_is_dropped_counted_and_costs_no_time(place: Path) -> None:
    with log(place, buffer_rows=3) as (writer, counts):
        for number in range(200):
            writer.offer(payload(number))
    assert counts["dropped"] > 0
    assert counts["written"] + counts["dropped"] == 400
    assert sum(read(file).num_rows for file in files(place)) == counts["written"]


def test_a_sample_is_a_share_of_the_requests(place: Path) -> None:
    with log(place / "none", sample=0.0) as (writer, counts):
        writer.offer(payload())
    assert not counts
    assert not (place / "none").exists()
    with log(place / "some", sample=0.25) as (writer, counts):
        for number in range(2000):
            writer.offer(payload(number, rows=ROWS[:1]))
    assert 350 < counts["written"] < 650


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_folder_that_cannot_be_written_is_counted_and_the_log_recovers(place: Path) -> None:
    place.mkdir()
    folder = place / "payloads"
    folder.write_text("in the way")
    with log(folder, rotate_seconds=0.1) as (writer, counts):
        writer.offer(payload(1))
        wait_for(lambda: counts["failed"])
        assert counts == {"failed": 2}
        folder.unlink()
        writer.offer(payload(2))
    assert counts == {"failed": 2, "written": 2}
    assert [read(file)["prediction_id"].to_pylist() for file in files(folder)] == [["2-0", "2-1"]]


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_files_of_processes_that_were_killed_are_removed_a_day_later(place: Path) -> None:
    day = place / "2026-05-01"
    day.mkdir(parents=True)
    old, young = day / ".a.parquet.part", day / ".b.parquet.part"
    for file in (old, young):
        file.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 100_000,) * 2)
    logged(place, payload())
    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("place", ["gs"], indirect=True)
def test_what_a_bucket_does_not_take_is_brought_again(place: Path) -> None:
    name = secrets.token_hex(8)
    later = storage.at(f"gs://{name}")
    with log(later, rotate_seconds=0.1) as (writer, _):
        writer.offer(payload(1))
        time.sleep(1.0)
        cast("UPath", later).fs.mkdir(name)
    assert [read(file)["prediction_id"].to_pylist() for file in files(later)] == [["1-0", "1-1"]]
