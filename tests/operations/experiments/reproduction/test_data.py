"""Each data file that is not what a run read is named, with its span."""

import dataclasses
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.run_record import RunRecord
from operations.experiments.reproduction import circumstances
from operations.experiments.reproduction.circumstances import Original, ReproductionError
from tests.ledger.seeding import BEGIN

pytestmark = pytest.mark.component


@pytest.fixture
def spans(tmp_path):
    folder = tmp_path / "spans"
    for number in (1, 2, 3, 4):
        (folder / f"span-00{number}").mkdir(parents=True)
        pq.write_table(pa.table({"x": [number, number + 1, 7]}), folder / f"span-00{number}" / "rows.parquet")
    return folder


@pytest.fixture
def original(spans):
    from components.span_example_gen import storage
    from pipeline.results import ingested

    names = storage.list_spans(str(spans))
    files = [file for span in (1, 2, 3) for file in storage.list_files(str(spans), span, names[span])[0]]
    fingerprint = storage.fingerprint(files)
    record = RunRecord(run_id="r", started=BEGIN, spans={"train": [1, 2], "eval": [3]}, data=fingerprint)
    return Original(record, {}, {}, {}, ingested(str(spans), [1, 2, 3], fingerprint), [], None, "/model", None)


def test_the_same_files_in_another_folder_are_the_same_and_newer_spans_do_not_matter(original, spans, tmp_path):
    shutil.copytree(spans, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "span-004")

    assert circumstances.data_differences(original, str(spans)) == []
    assert circumstances.data_differences(original, str(tmp_path / "copy")) == []


def test_one_changed_row_of_as_many_is_found_with_its_span(original, spans):
    pq.write_table(pa.table({"x": [2, 3, 8]}), spans / "span-002" / "rows.parquet")

    (difference,) = circumstances.data_differences(original, str(spans))

    assert (difference.name, difference.span) == ("span-002/rows.parquet", 2)
    assert None not in (difference.recorded, difference.now)
    assert difference.sentence().startswith("span-002/rows.parquet (span 2) is ")


def test_files_that_came_or_went_are_named(original, spans):
    (spans / "span-001" / "rows.parquet").rename(spans / "span-001" / "other.parquet")
    shutil.rmtree(spans / "span-003")

    differences = circumstances.data_differences(original, str(spans))

    assert [difference.sentence() for difference in differences] == [
        "span-001/other.parquet (span 1) is new",
        "span-001/rows.parquet (span 1) is missing",
        "span-003/rows.parquet (span 3) is missing",
    ]


def test_with_the_fingerprint_alone_a_change_is_found_too(original, spans):
    original = dataclasses.replace(original, files=None)
    assert circumstances.data_differences(original, str(spans)) == []

    pq.write_table(pa.table({"x": [2, 3, 8]}), spans / "span-002" / "rows.parquet")
    (difference,) = circumstances.data_differences(original, str(spans))
    assert difference.name == "the content of spans 1-3"

    shutil.rmtree(spans / "span-002")
    (difference,) = circumstances.data_differences(original, str(spans))
    assert (difference.name, difference.now) == ("span-002", None)


def test_data_that_is_nowhere_is_one_sentence_with_what_to_do(original, tmp_path):
    with pytest.raises(ReproductionError, match=r"does not exist.*--set data.spans=FOLDER"):
        circumstances.data_differences(original, str(tmp_path / "none"))
