"""Spans are listed, told apart and opened alike in a folder and in buckets."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import storage
from components.span_example_gen.errors import SpanError
from components.span_example_gen.inspection import inspect
from components.span_example_gen.shards import Shard, read_batches
from components.span_example_gen.storage import fingerprint, list_files, list_quarantined, list_spans
from components.span_example_gen.window import QUARANTINE

pytestmark = pytest.mark.component


def write(file: Path, content: bytes) -> None:
    storage.make_folder(file.parent)
    file.write_bytes(content)


@pytest.fixture
def spans(place: Path) -> Path:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1, 2, 3, 4]}), sink, row_group_size=2)
    write(place / "span-001" / "rows.parquet", sink.getvalue().to_pybytes())
    write(place / "span-012" / "rows.csv", b"x\n5\n6\n")
    write(place / "span-012" / "_hidden", b"")
    write(place / "span-012" / "notes.txt", b"")
    write(place / "span-002" / QUARANTINE, b"odd")
    write(place / "other" / "rows.csv", b"")
    return place


def test_spans_and_their_files_are_found(spans: Path) -> None:
    folders = list_spans(str(spans))
    assert folders == {1: "span-001", 2: "span-002", 12: "span-012"}
    assert list_quarantined(str(spans), folders) == [2]
    files, problems = list_files(str(spans), 12, "span-012")
    assert [file.name for file in files] == ["span-012/rows.csv"]
    assert len(problems) == 1
    assert "notes.txt" in problems[0]


def test_a_place_without_spans_is_a_sentence(place: Path) -> None:
    with pytest.raises(SpanError, match="does not exist"):
        list_spans(str(place))


def test_a_file_is_read_from_where_it_is_and_is_the_same_wherever_that_is(spans: Path) -> None:
    (parquet,), _ = list_files(str(spans), 1, "span-001")
    (csv,), _ = list_files(str(spans), 12, "span-012")
    with storage.on_disk(spans) as copy:
        copies = [file for span in (1, 12) for file in list_files(str(copy), span, f"span-{span:03d}")[0]]
        assert fingerprint([parquet, csv]) == fingerprint(copies)
    assert inspect(parquet).row_groups == (2, 2)
    for file, group, expected in ((parquet, 1, [3, 4]), (csv, None, [5, 6])):
        (batch,) = read_batches(Shard("train", 0, 1, file, group, columnar=True), {"x": "int64"})
        assert batch["x"].to_pylist() == expected
