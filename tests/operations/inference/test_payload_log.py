"""What was asked and answered is found again in Parquet, and what was not written is counted."""

import collections
import dataclasses
import datetime
import os
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from operations.inference import columns, payload_log, payload_table
from operations.inference.columns import Column, Inputs
from operations.inference.payload_log import PayloadLog
from operations.inference.payload_table import Payload
from pipeline.settings import Payloads

pytestmark = pytest.mark.unit

INPUTS = Inputs(
    {
        "amount": Column("amount", "float32", (None, 1)),
        "count": Column("count", "int64", (None, 1)),
        "colour": Column("colour", "string", (None, 1)),
    }
)
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


def log(folder: Path, **settings) -> tuple[PayloadLog, collections.Counter]:
    counts: collections.Counter = collections.Counter()
    return PayloadLog(folder, Payloads(**settings), lambda outcome, rows: counts.update({outcome: rows})), counts


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.parquet"))


def test_every_row_is_written_with_its_missing_values_as_null(tmp_path: Path) -> None:
    writer, counts = log(tmp_path / "payloads")
    writer.offer(payload(moment=NOON))
    writer.close()
    (file,) = files(tmp_path)
    table = pq.read_table(file)
    assert file.parent.name == "2026-05-01"
    assert table.to_pylist() == [
        {
            "prediction_id": "0-0",
            "time": datetime.datetime(2026, 5, 1, 12, 0, tzinfo=datetime.UTC),
            "model_version": 3,
            "shadow": False,
            "seconds": None,
            "contract_faults": None,
            "request_refused": False,
            "request_caller": None,
            "amount": 1.5,
            "colour": "red",
            "count": 7,
            "probability": 0.25,
        },
        {
            "prediction_id": "0-1",
            "time": datetime.datetime(2026, 5, 1, 12, 0, tzinfo=datetime.UTC),
            "model_version": 3,
            "shadow": False,
            "seconds": None,
            "contract_faults": None,
            "request_refused": False,
            "request_caller": None,
            "amount": None,
            "colour": None,
            "count": None,
            "probability": 0.75,
        },
    ]
    outputs = {"probability": Column("probability", "float32", (None, 1))}
    assert table.schema.equals(payload_table.schema(INPUTS.columns, outputs))
    assert counts == {"written": 2}
    assert not list(tmp_path.rglob("*.part"))


def test_refused_rows_share_a_file_with_answered_ones_and_have_no_answer(tmp_path: Path) -> None:
    writer, _ = log(tmp_path)
    writer.offer(dataclasses.replace(payload(0, moment=NOON), caller="a shop"))
    refused = {"faults": ["amount", None], "refused": True, "caller": "another"}
    writer.offer(dataclasses.replace(payload(1, moment=NOON), **refused))
    writer.offer(payload(2, moment=NOON))
    writer.close()
    (file,) = files(tmp_path)
    rows = pq.read_table(file).to_pylist()
    assert [row["request_refused"] for row in rows] == [False, False, True, True, False, False]
    assert [row["contract_faults"] for row in rows] == [None, None, "amount", None, None, None]
    assert [row["request_caller"] for row in rows] == ["a shop"] * 2 + ["another"] * 2 + [None] * 2
    assert [row["probability"] for row in rows] == [0.25, 0.75, None, None, 0.25, 0.75]
    assert [row["amount"] for row in rows] == [1.5, None] * 3


def test_who_asks_can_be_left_out(tmp_path: Path) -> None:
    writer, _ = log(tmp_path, exclude=("request_caller",))
    writer.offer(dataclasses.replace(payload(), caller="10.0.0.3"))
    writer.close()
    assert "request_caller" not in pq.read_schema(files(tmp_path)[0]).names


def test_excluded_columns_are_not_in_the_file(tmp_path: Path) -> None:
    writer, _ = log(tmp_path, exclude=("colour", "amount"))
    writer.offer(payload())
    writer.close()
    names = pq.read_schema(files(tmp_path)[0]).names
    assert names == [
        "prediction_id", "time", "model_version", "shadow", "seconds", "contract_faults", "request_refused",
        "request_caller", "count", "probability",
    ]  # fmt: skip


def test_files_are_closed_by_rows_and_no_row_is_lost(tmp_path: Path) -> None:
    writer, counts = log(tmp_path, rotate_rows=5)
    for number in range(6):
        writer.offer(payload(number))
    writer.close()
    sizes = [pq.read_metadata(file).num_rows for file in files(tmp_path)]
    assert sizes == [5, 5, 2]
    ids = [each for file in files(tmp_path) for each in pq.read_table(file)["prediction_id"].to_pylist()]
    assert ids == [f"{number}-{row}" for number in range(6) for row in range(2)]
    assert counts == {"written": 12}


def test_a_file_holds_one_hour_and_one_form(tmp_path: Path) -> None:
    writer, _ = log(tmp_path)
    writer.offer(payload(0, moment=NOON))
    writer.offer(payload(1, moment=NOON + 3599))
    writer.offer(payload(2, moment=NOON + 3600))
    vector = payload(3, moment=NOON + 3601)
    vector.outputs["probability"] = np.array([[0.1, 0.9], [0.2, 0.8]], np.float32)
    writer.offer(vector)
    writer.close()
    tables = [pq.read_table(file) for file in files(tmp_path)]
    assert [table["prediction_id"].to_pylist()[0] for table in tables] == ["0-0", "2-0", "3-0"]
    assert [table.num_rows for table in tables] == [4, 2, 2]
    np.testing.assert_allclose(tables[2]["probability"].to_pylist(), [[0.1, 0.9], [0.2, 0.8]], rtol=1e-6)


def test_shadows_and_latencies_are_rows_of_their_own(tmp_path: Path) -> None:
    writer, _ = log(tmp_path)
    writer.offer(dataclasses.replace(payload(1, moment=NOON), seconds=0.25))
    writer.offer(dataclasses.replace(payload(2, moment=NOON), seconds=0.5))
    writer.offer(dataclasses.replace(payload(1, moment=NOON, version=4), shadow=True))
    writer.close()
    rows = [row for file in files(tmp_path) for row in pq.read_table(file).to_pylist()]
    assert [(each["prediction_id"], each["model_version"], each["shadow"], each["seconds"]) for each in rows] == [
        ("1-0", 3, False, 0.25),
        ("1-1", 3, False, 0.25),
        ("2-0", 3, False, 0.5),
        ("2-1", 3, False, 0.5),
        ("1-0", 4, True, None),
        ("1-1", 4, True, None),
    ]


def test_rows_of_another_time_are_written_once_however_often(tmp_path: Path) -> None:
    month = dataclasses.replace(payload(), times=np.array([NOON + 86_400, NOON]))
    for _ in range(2):
        written = payload_log.write(tmp_path, payload_table.as_table(month), "replay-2026-05")
    assert files(tmp_path) == [written]
    assert written == tmp_path / "2026-05-01" / "replay-2026-05.parquet"
    assert pq.read_table(written)["time"].to_pylist()[1].timestamp() == NOON
    assert [each.name for each in written.parent.iterdir()] == [written.name]


def test_a_file_is_closed_by_age_while_the_service_runs(tmp_path: Path) -> None:
    writer, _ = log(tmp_path, rotate_seconds=0.2)
    writer.offer(payload())
    deadline = time.monotonic() + 30
    while not files(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pq.read_metadata(file).num_rows for file in files(tmp_path)] == [2]
    writer.close()


def test_what_does_not_fit_into_the_buffer_is_dropped_counted_and_costs_no_time(tmp_path: Path) -> None:
    writer, counts = log(tmp_path, buffer_rows=3)
    for number in range(200):
        writer.offer(payload(number))
    writer.close()
    assert counts["dropped"] > 0
    assert counts["written"] + counts["dropped"] == 400
    assert sum(pq.read_metadata(file).num_rows for file in files(tmp_path)) == counts["written"]


def test_a_sample_is_a_share_of_the_requests(tmp_path: Path) -> None:
    none, counts = log(tmp_path / "none", sample=0.0)
    none.offer(payload())
    none.close()
    assert not counts
    assert not (tmp_path / "none").exists()
    some, counts = log(tmp_path / "some", sample=0.25)
    for number in range(2000):
        some.offer(payload(number, rows=ROWS[:1]))
    some.close()
    assert 350 < counts["written"] < 650


def test_a_folder_that_cannot_be_written_is_counted_and_the_log_recovers(tmp_path: Path) -> None:
    folder = tmp_path / "payloads"
    folder.write_text("in the way")
    writer, counts = log(folder, rotate_seconds=0.1)
    writer.offer(payload(1))
    deadline = time.monotonic() + 30
    while not counts["failed"] and time.monotonic() < deadline:
        time.sleep(0.02)
    assert counts == {"failed": 2}
    folder.unlink()
    writer.offer(payload(2))
    writer.close()
    assert counts == {"failed": 2, "written": 2}
    assert [pq.read_table(file)["prediction_id"].to_pylist() for file in files(folder)] == [["2-0", "2-1"]]


def test_files_of_processes_that_were_killed_are_removed_a_day_later(tmp_path: Path) -> None:
    day = tmp_path / "2026-05-01"
    day.mkdir()
    old, young = day / ".a.parquet.part", day / ".b.parquet.part"
    for file in (old, young):
        file.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 100_000,) * 2)
    writer, _ = log(tmp_path)
    writer.offer(payload())
    writer.close()
    assert (old.exists(), young.exists()) == (False, True)
