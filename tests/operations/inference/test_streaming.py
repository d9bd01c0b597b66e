"""Streaming prediction with a small real model: an endless source in Beam's TestStream, and a directory."""

import dataclasses
import json
import os
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from apache_beam.io.gcp.pubsub import PubsubMessage
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.testing.test_stream import TestStream as Stream
from apache_beam.transforms.window import TimestampedValue

from operations.inference import payload_table, streaming
from operations.inference.model import load as model_of
from tests.operations.serving import small_model

pytestmark = pytest.mark.component

LOCAL = ["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"]
ROWS = [
    {"amount": 1.5, "count": 3, "colour": "red"},
    {"amount": -2.0, "count": None, "colour": "green"},
    {"amount": 0.0, "count": 7, "colour": None},
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_model.write(tmp_path_factory.mktemp("model") / "7", bias=0.25)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where files arrive."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def job(model: Path, tmp_path: Path) -> streaming.Job:
    return streaming.Job(
        model=str(model),
        version=7,
        types=small_model.COLUMNS,
        required=frozenset({"amount"}),
        keys=("order",),
        log=str(tmp_path / "payloads"),
        dead_letters=str(tmp_path / "dead"),
        seconds=10,
    )


def logged(job: streaming.Job) -> list[dict]:
    files = sorted(Path(job.log).glob("*/*.parquet"))
    return sorted((row for file in files for row in pq.read_table(file).to_pylist()), key=lambda row: row[streaming.ID])


def dead(job: streaming.Job) -> list[dict]:
    lines = [line for file in Path(job.dead_letters).glob("dead-*.jsonl") for line in file.read_text().splitlines()]
    return sorted(map(json.loads, lines), key=lambda letter: letter["origin"])


def once(job: streaming.Job, folder: Path) -> streaming.Tally:
    """Answers the files that have arrived."""
    return streaming.Directory(folder, job, LOCAL).watch(0.01, idle_seconds=0)


def expect_scores(rows: list[dict]) -> None:
    for row in rows:
        assert row["probability"] == pytest.approx(small_model.probability(0.25, row), abs=1e-6)


def test_messages_of_an_endless_source_are_logged_as_time_goes_on_and_bad_ones_are_dead_letters(job):
    def received(number: int, content: bytes, **attributes: str) -> TimestampedValue:
        message = PubsubMessage(content, attributes, message_id=f"m{number}")
        return TimestampedValue(message, 100 + number)

    good = [json.dumps(row).encode() for row in ROWS]
    source = (
        Stream()
        .advance_watermark_to(100)
        .add_elements([received(1, good[0]), received(2, b"{no json"), received(3, b'{"amount": "much"}')])
        .advance_watermark_to(120)  # the end of the first file
        .add_elements([received(21, good[1], prediction_id="mine"), received(22, b"{}"), received(23, b"\xff\xfe")])
        .add_elements([received(31, good[2])])
        .advance_watermark_to_infinity()
    )
    options = PipelineOptions(["--runner=BundleBasedDirectRunner"])
    options.view_as(StandardOptions).streaming = True
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | source | beam.Map(streaming.message) | streaming.Predict(job)

    rows = logged(job)
    assert [row[streaming.ID] for row in rows] == ["m1", "m31", "mine"]
    assert [{name: row[name] for name in ROWS[0]} for row in rows] == [ROWS[0], ROWS[2], ROWS[1]]
    expect_scores(rows)
    assert len(list(Path(job.log).glob("*/*.parquet"))) == 3  # 100-110, 120-130 and 130-140
    reasons = {letter["origin"]: letter["reason"] for letter in dead(job)}
    assert "no JSON" in reasons["m2"]
    assert "`amount` in row 0 is text" in reasons["m3"]
    assert "`amount` is missing" in reasons["m22"]
    assert set(reasons) == {"m2", "m3", "m22", "m23"}


def test_the_log_has_the_columns_of_the_services_log(job, folder):
    (folder / "a.jsonl").write_text(json.dumps(ROWS[0]))
    once(job, folder)
    (file,) = Path(job.log).glob("*/*.parquet")
    assert pq.read_schema(file).equals(payload_table.schema(small_model.INPUTS.columns, small_model.OUTPUTS))
    assert logged(job)[0]["model_version"] == 7


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_classes_and_numbers_are_logged_as_the_service_logs_them(job, folder, of_tasks, task):
    (folder / "a.jsonl").write_text("\n".join(json.dumps(dict(row, order=f"o{n}")) for n, row in enumerate(ROWS)))
    assert once(dataclasses.replace(job, model=str(of_tasks[task])), folder).rows == 3
    rows = logged(job)
    if task == "multiclass":
        assert [row["class"] for row in rows] == [small_model.class_of(0.0, row) for row in ROWS]
        for row, asked in zip(rows, ROWS, strict=True):
            assert row["probabilities"] == pytest.approx(small_model.probabilities(0.0, asked), rel=1e-6)
    else:
        assert [row["value"] for row in rows] == pytest.approx([small_model.value(0.0, row) for row in ROWS], rel=1e-6)
    loaded = model_of(of_tasks[task], 7)
    (file,) = Path(job.log).glob("*/*.parquet")
    assert pq.read_schema(file).equals(payload_table.schema(loaded.inputs.columns, loaded.outputs))
    loaded.close()


def test_files_of_each_kind_are_answered_alike_and_a_damaged_one_is_a_dead_letter(job, folder):
    named = [{"order": f"o{number}", **row, "late": 1} for number, row in enumerate(ROWS)]
    table = pa.Table.from_pylist(named)
    pq.write_table(table, folder / "a.parquet")
    pa_csv.write_csv(table.set_column(0, "order", pa.array(["c0", "c1", "c2"])), folder / "b.csv")
    lines = [json.dumps(dict(row, order=f"j{number}")) for number, row in enumerate(named)]
    (folder / "c.jsonl").write_text("\n".join([*lines, "[1]"]))
    (folder / "d.parquet").write_bytes(b"PAR1 and nothing else")
    (folder / ".e.jsonl").write_text("{}")  # still being written

    tally = once(job, folder)

    assert (tally.files, tally.rows, tally.dead) == (4, 9, 2)
    rows = logged(job)
    assert [row[streaming.ID] for row in rows] == ["c0", "c1", "c2", "j0", "j1", "j2", "o0", "o1", "o2"]
    expect_scores(rows)
    for kind in range(3):
        assert [{name: row[name] for name in ROWS[0]} for row in rows[3 * kind : 3 * kind + 3]] == ROWS
    assert [letter["origin"] for letter in dead(job)] == ["c.jsonl:3", "d.parquet"]


BAD = [
    {"order": "o1", "amount": None, "count": 3, "colour": "blue"},
    {"order": "o2", "amount": 1.0, "count": 3, "colour": "red"},
    {"order": "o3", "amount": 5000.0, "count": 3, "colour": None},
]

FAULTS = {"o1": "amount, colour", "o2": None, "o3": "amount"}


def answered(job: streaming.Job, folder: Path, **changes) -> tuple[streaming.Tally, dict[str, dict]]:
    """What becomes of BAD when the version carries a contract."""
    guarded = small_model.push(Path(job.model), folder.with_name("models"), 7, small_model.CONTRACT)
    (folder / "a.jsonl").write_text("\n".join(map(json.dumps, BAD)))
    job = dataclasses.replace(job, model=str(guarded), **changes)
    return once(job, folder), {row[streaming.ID]: row for row in logged(job)}


def test_rows_that_break_the_contract_are_dead_letters_and_logged_unanswered(job, folder):
    tally, rows = answered(job, folder)

    assert (tally.rows, tally.dead) == (1, 2)
    one, three = dead(job)
    for fault in ("`amount` in row 0 is missing", "`colour` in row 0 is 'blue' (allowed: one of red, green)"):
        assert fault in one["reason"]
    assert "`amount` in row 0 is 5000.0 (allowed: a number from 0 to 1000)" in three["reason"]
    assert {name: row["request_refused"] for name, row in rows.items()} == {"o1": True, "o2": False, "o3": True}
    assert {name: row["contract_faults"] for name, row in rows.items()} == FAULTS
    assert [rows[name].get("probability") is None for name in ("o1", "o2", "o3")] == [True, False, True]
    assert (rows["o1"]["colour"], rows["o3"]["amount"]) == ("blue", 5000.0)
    assert {row["request_caller"] for row in rows.values()} == {"stream"}


def test_rows_that_break_the_contract_are_answered_and_marked_where_they_are_flagged(job, folder):
    tally, rows = answered(job, folder, validation="flag")

    assert (tally.rows, tally.dead) == (3, 0)
    assert {name: row["contract_faults"] for name, row in rows.items()} == FAULTS
    expect_scores(list(rows.values()))


def test_files_arrive_later_and_none_is_answered_twice_also_after_a_restart(job, folder):
    (folder / "1.jsonl").write_text(json.dumps(ROWS[0]))
    groups = []

    def arrive(tally: streaming.Tally) -> None:
        groups.append(tally.rows)
        if len(groups) == 1:
            (folder / "2.jsonl").write_text(json.dumps(ROWS[1]) + "\n" + json.dumps(ROWS[2]))

    assert streaming.Directory(folder, job, LOCAL).watch(0.05, idle_seconds=1.0, on_files=arrive).rows == 3
    assert groups == [1, 2]
    assert once(job, folder).files == 0
    assert [row[streaming.ID] for row in logged(job)] == ["1.jsonl:0", "2.jsonl:0", "2.jsonl:1"]


def test_a_file_that_grows_is_left_until_it_is_complete(job, folder):
    file = folder / "1.jsonl"
    file.write_text("{")
    watched = streaming.Directory(folder, job, LOCAL)
    assert watched.arrived() == []
    file.write_text("{}")
    os.utime(file, ns=(1, 1))
    assert watched.arrived() == []
    assert watched.arrived() == ["1.jsonl"]


def test_a_missing_directory_is_a_sentence(job, tmp_path):
    with pytest.raises(streaming.StreamError, match="no directory"):
        streaming.Directory(tmp_path / "nowhere", job, LOCAL)
