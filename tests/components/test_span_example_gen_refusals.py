"""What is refused before a row is read, and the sentence that says so."""

import os
import shutil

import pyarrow as pa
import pytest

from components.span_example_gen.columns import ingested
from components.span_example_gen.component import SpanExampleGen
from components.span_example_gen.errors import MOST_LISTED, SpanError
from components.span_example_gen.request import PARQUET, Request
from components.span_example_gen.storage import fingerprint
from tests.components.span_folders import COLUMNS, parcels, write_span, write_spans

pytestmark = pytest.mark.unit


@pytest.fixture
def base(tmp_path):
    return write_spans(tmp_path, [1, 2])


def resolve(base, window="oldest:newest", eval_spans=1, ignored=()):
    return Request(str(base), COLUMNS, window, eval_spans, tuple(ignored), PARQUET).resolve()


def refusal(base, **asked) -> str:
    with pytest.raises(SpanError) as caught:
        resolve(base, **asked)
    return str(caught.value)


def replaced(span, column, values):
    table = parcels(span)
    return table.set_column(table.schema.get_field_index(column), column, values)


def test_sound_spans_resolve_to_splits_and_files(tmp_path):
    write_spans(tmp_path, [1, 2, 3])
    write_span(tmp_path, 3, name="more.csv")
    resolution = resolve(tmp_path)
    assert resolution.splits == {"train": [1, 2], "eval": [3]}
    assert [file.name for file in resolution.files] == [
        "span-001/parcels.parquet",
        "span-002/parcels.parquet",
        "span-003/more.csv",
        "span-003/parcels.parquet",
    ]


def test_folders_with_other_numbers_of_digits_and_other_names_are_told_apart(tmp_path):
    write_spans(tmp_path, [9])
    (tmp_path / "span-009").rename(tmp_path / "span-9")
    write_spans(tmp_path, [10])
    (tmp_path / "notes").mkdir()
    (tmp_path / "span-011").write_text("a file is no span")
    assert resolve(tmp_path).spans == [9, 10]


def test_two_folders_for_the_same_span_and_a_base_that_is_not_there_are_refused(tmp_path):
    write_spans(tmp_path, [1, 2])
    shutil.copytree(tmp_path / "span-002", tmp_path / "span-2")
    with pytest.raises(SpanError, match=r"span-002 and span-2 in .* are the same span"):
        resolve(tmp_path)
    assert f"The folder of spans {tmp_path / 'nowhere'} does not exist" in refusal(tmp_path / "nowhere")


def test_a_span_without_a_data_file_is_refused_and_hidden_files_do_not_count(base):
    (base / "span-003").mkdir()
    (base / "span-003" / "_SUCCESS").touch()
    (base / "span-003" / ".parcels.parquet.crc").touch()
    assert "span-003 holds no Parquet or CSV file" in refusal(base)


@pytest.mark.parametrize("name", ["readme.txt", "parcels.csv.gz"])
def test_a_file_of_another_kind_is_refused(base, name):
    (base / "span-002" / name).touch()
    assert f"span-002/{name} is neither Parquet nor CSV" in refusal(base)


def test_a_truncated_parquet_file_is_refused(base):
    path = write_span(base, 3)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(SpanError, match=r"span-003/parcels\.parquet cannot be read as Parquet: .*; write it again"):
        resolve(base)


DAMAGED = {
    "without a row": (parcels(3, rows=0), "span-003 holds no row"),
    "without a column": (parcels(3).drop_columns(["weight"]), "span-003/{} lacks the column 'weight'"),
    "with another column": (
        parcels(3).append_column("damaged", pa.array([0, 1, 0, 1])),
        "span-003/{} has the column 'damaged', which is declared neither",
    ),
    "with a column twice": (
        parcels(3).append_column("depot", parcels(3)["depot"]),
        "span-003/{} has the column 'depot' more than once",
    ),
    "of zero bytes": (None, "span-003/{} cannot be read"),
}


@pytest.mark.parametrize("name", ["parcels.parquet", "parcels.csv"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_refused(base, damage, name):
    table, sentence = DAMAGED[damage]
    path = write_span(base, 3, table, name=name)
    if table is None:
        path.write_bytes(b"")
    assert sentence.format(name) in refusal(base)
    if damage == "with another column":
        assert resolve(base, ignored=["damaged", "absent"]).spans == [1, 2, 3]


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("parcel", pa.array([1.0, 2.0, 3.0, 4.0], pa.float64()), "double"),
        ("parcel", pa.array([1, 2, 3, 4], pa.uint64()), "uint64"),
        ("parcel", pa.array(["1", "2", "3", "4"]), "string"),
        ("parcel", pa.array([1, 2, 3, 4], pa.timestamp("us", "UTC")), "timestamp[us, tz=UTC]"),
        ("weight", pa.array([1, 2, 3, 4], pa.int64()), "int64"),
        ("weight", pa.array([True, False, True, True]), "bool"),
        ("depot", pa.array([1, 2, 3, 4], pa.int64()), "int64"),
        ("depot", pa.array([["a"], ["b"], [], ["c"]]), "list<element: string>"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused_with_what_was_found_and_expected(base, column, values, found):
    write_span(base, 3, replaced(3, column, values))
    sentence = refusal(base)
    assert f"the column {column!r} of span-003/parcels.parquet is {found}" in sentence
    assert f", expected {COLUMNS[column]}" in sentence


@pytest.mark.parametrize("nothing", [pa.nulls(4, pa.float32()), pa.nulls(4)])
def test_a_column_without_a_value_in_a_span_is_refused_for_training_and_allowed_for_inference(base, nothing):
    write_span(base, 3, replaced(3, "weight", nothing))
    assert "the column 'weight' holds no value in all of span-003" in refusal(base)
    assert resolve(base, eval_spans=0).splits == {"all": [1, 2, 3]}


def test_all_problems_of_a_window_are_in_one_error(tmp_path):
    write_span(tmp_path, 1, parcels(1).drop_columns(["depot"]))
    write_span(tmp_path, 2, replaced(2, "parcel", pa.array(["a", "b", "c", "d"])))
    write_span(tmp_path, 3).write_bytes(b"PAR1")
    message = refusal(tmp_path)
    assert message.startswith(f"The window oldest:newest of {tmp_path} cannot be ingested, for 3 reasons:\n")
    assert "lacks the column 'depot'" in message
    assert "is string, expected int64" in message
    assert "span-003/parcels.parquet cannot be read" in message


def test_a_long_list_of_problems_is_cut_and_counted(tmp_path):
    for span in range(1, 15):
        write_span(tmp_path, span, parcels(span).drop_columns(["depot"]))
    message = refusal(tmp_path)
    assert "and 4 more" in message
    assert message.count("lacks the column") == MOST_LISTED


def test_an_empty_file_or_column_beside_one_with_values_and_a_broken_span_outside_the_window_are_fine(base):
    write_span(base, 2, parcels(2, rows=0), name="empty.csv")
    write_span(base, 2, replaced(2, "weight", pa.nulls(4, pa.float32())), name="late.parquet")
    write_span(base, 3)
    write_span(base, 1).write_bytes(b"broken")
    assert resolve(base, window="2:newest").spans == [2, 3]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"window": "all"}, "is not of the form FIRST:LAST"),
        ({"eval_spans": -1}, "eval_spans is -1"),
        ({"ignored": ["depot"]}, "'depot' is declared both as ingested and as ignored"),
        ({"columns": {"when": "timestamp"}}, "'when' is declared as 'timestamp'"),
        ({"columns": {}}, "no column to ingest"),
        ({"payload_format": "FORMAT_PROTO"}, "'FORMAT_PROTO' is unknown; use FORMAT_PARQUET or FORMAT_TF_EXAMPLE"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused_before_any_run(parameters, message):
    with pytest.raises(SpanError, match=message):
        SpanExampleGen(**{"input_base": "spans", "columns": COLUMNS, **parameters})


def test_the_fingerprint_follows_contents_and_names_but_not_times_or_the_place(tmp_path):
    write_spans(tmp_path / "here", [1, 2])
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    original = fingerprint(resolve(tmp_path / "here").files)
    os.utime(tmp_path / "there" / "span-001" / "parcels.parquet", (1, 1))
    assert fingerprint(resolve(tmp_path / "there").files) == original
    write_span(tmp_path / "there", 1, replaced(1, "parcel", pa.array([100, 101, 102, 104])))
    changed = fingerprint(resolve(tmp_path / "there").files)
    assert changed != original
    renamed = tmp_path / "here" / "span-001" / "parcels.parquet"
    renamed.rename(renamed.with_name("renamed.parquet"))
    assert fingerprint(resolve(tmp_path / "here").files) not in (original, changed)


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("int64", pa.array([1, None, 127], pa.int8()), [1, None, 127]),
        ("int64", pa.array([0, 2**32 - 1], pa.uint32()), [0, 2**32 - 1]),
        ("int64", pa.array([-(2**63), 2**63 - 1], pa.int64()), [-(2**63), 2**63 - 1]),
        ("int64", pa.array([True, False, None]), [1, 0, None]),
        ("float32", pa.array([1.5, float("nan"), None], pa.float64()), [1.5, None, None]),
        ("float32", pa.array([float("inf"), 0.1], pa.float64()), [float("inf"), 0.10000000149011612]),
        ("float32", pa.array([3, None], pa.int16()), [3.0, None]),
        ("string", pa.array(["é", "", None]), ["é".encode(), b"", None]),
        ("string", pa.array(["a", None, "a"]).dictionary_encode(), [b"a", None, b"a"]),
        ("string", pa.array(["a"], pa.large_string()), [b"a"]),
        ("float32", pa.nulls(2), [None, None]),
    ],
)
def test_columns_get_the_type_in_which_they_are_ingested(declared, values, expected):
    batch = pa.record_batch([values], names=["column"])
    assert ingested(batch, {"column": declared})["column"].to_pylist() == expected


def test_only_declared_columns_are_kept_sorted_by_name():
    batch = ingested(parcels(1).to_batches()[0], {"parcel": "int64", "depot": "string"})
    assert batch.schema.names == ["depot", "parcel"]
