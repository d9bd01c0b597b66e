"""Spans are written whole, and read again, in a folder and in buckets."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

import storage
from data import spans

pytestmark = pytest.mark.unit
TABLE = pa.table({"x": [1, 2, 3]})


@dataclass(frozen=True)
class Done(spans.Preparation):
    """A preparation with nothing of its own."""


def prepared(place: Path, *numbers: int, fingerprint: str = "f") -> Done:
    with spans.writing(place) as staging:
        written = []
        for number in numbers:
            digest = spans.publish(TABLE, place, number, staging)
            written.append(spans.WrittenSpan(number, spans.span_file(place, number), digest))
        done = Done(place, "here", fingerprint, tuple(written), False)
        spans.retire(place, {span.path for span in written})
        spans.record(done, place, staging)
    return done


def test_what_was_prepared_is_read_and_known_again(place: Path) -> None:
    done = prepared(place, 1, 2)
    assert spans.read(place, 2).equals(TABLE)
    again = spans.recorded(Done, spans.WrittenSpan, place, "f")
    assert again is not None
    assert (again.spans, again.skipped) == (done.spans, True)
    assert spans.recorded(Done, spans.WrittenSpan, place, "another source") is None
    files = ["preparation.json", "span-001/flights.parquet", "span-002/flights.parquet"]
    assert list(storage.files_below(place)) == files


def test_a_file_that_was_cut_short_is_written_again(place: Path) -> None:
    prepared(place, 1)
    file = spans.span_file(place, 1)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(spans.SpanError, match="Span 1 cannot be read"):
        spans.read(place, 1)
    assert spans.recorded(Done, spans.WrittenSpan, place, "f") is None
    prepared(place, 1)
    assert spans.read(place, 1).equals(TABLE)


def test_the_same_rows_leave_a_file_as_it_is(place: Path) -> None:
    prepared(place, 1)
    before = storage.state(spans.span_file(place, 1))
    prepared(place, 1, 2)
    assert storage.state(spans.span_file(place, 1)) == before


def test_a_span_that_is_no_longer_prepared_goes_unless_somebody_changed_it(place: Path) -> None:
    prepared(place, 1, 2, 3)
    spans.span_file(place, 2).write_bytes(b"mine")
    prepared(place, 1)
    files = ["preparation.json", "span-001/flights.parquet", "span-002/flights.parquet"]
    assert list(storage.files_below(place)) == files


@pytest.mark.parametrize("place", ["gs", "s3"], indirect=True)
def test_of_two_writers_to_a_bucket_the_later_one_is_told(place: Path) -> None:
    with spans.writing(place) as staging:
        spans.publish(TABLE, place, 1, staging)
        prepared(place, 1, 2, fingerprint="of the other")
        with pytest.raises(spans.SpanError, match=r"has written spans to .* meanwhile"):
            spans.record(Done(place, "here", "f", (), False), place, staging)
    assert spans.recorded(Done, spans.WrittenSpan, place, "of the other") is not None


def test_a_span_that_is_not_there_is_a_sentence(place: Path) -> None:
    with pytest.raises(spans.SpanError, match="Span 4 is not in"):
        spans.read(place, 4)
