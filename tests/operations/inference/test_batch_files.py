"""Files to be predicted: what is read, in which types, and what is refused and how."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

import storage
from data.contract import Contract
from operations.inference import batch_files as files
from operations.inference import contract as contracts
from operations.inference.batch_files import InputError
from tests.operations.serving import small_model

pytestmark = pytest.mark.unit

TYPES = small_model.COLUMNS


def contract(*keys: str) -> Contract:
    facts = {"known": "at_once", "meaning": "Test."}
    return Contract.model_validate(
        {
            "dataset": "orders",
            "label": "late",
            "prediction_time": "at once",
            "stages": [{"name": "at_once", "feasible": True, "meaning": "Test."}],
            "columns": [
                *({"name": key, "type": "string", "role": "key", **facts} for key in keys),
                {"name": "amount", "type": "float32", "role": "feature", **facts},
                {"name": "count", "type": "int64", "role": "feature", "nullable": True, **facts},
                {"name": "colour", "type": "string", "role": "feature", "nullable": True, **facts},
                {"name": "late", "type": "int64", "role": "label", **facts},
            ],
        }
    )


def table(**columns: list) -> pa.Table:
    return pa.table({"amount": [1.0, 2.0, 3.0], "count": [1, None, 3], "colour": ["red", None, ""]} | columns)


def read(*paths: Path, keys: tuple[str, ...] = ("order",)) -> list[tuple[dict, dict]]:
    checked = files.check([files.inspect(path) for path in paths], TYPES, contract(*keys))
    return [(batch.to_pydict(), ids.to_pydict()) for batch, ids in checked.batches()]


def write(path: Path, content: pa.Table) -> Path:
    storage.make_folder(path.parent)
    with path.open("wb") as stream:
        pa_csv.write_csv(content, stream) if path.suffix == ".csv" else pq.write_table(content, stream)
    return path


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_rows_come_in_the_types_of_the_model_with_their_keys(place, name):
    path = write(place / name, table(order=["x", "y", "z"], other=[0, 0, 0]))
    ((batch, ids),) = read(path)
    assert batch["amount"] == [1.0, 2.0, 3.0]
    assert batch["count"] == [1, None, 3]
    assert batch["colour"][:2] == ["red", None]
    assert ids == {"order": ["x", "y", "z"]}


def test_rows_of_several_files_keep_their_order_and_large_files_come_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    paths = [write(tmp_path / f"{name}.parquet", table(order=[f"{name}{row}" for row in range(3)])) for name in "ba"]
    assert [ids["order"] for _, ids in read(*paths)] == [["b0", "b1"], ["b2"], ["a0", "a1"], ["a2"]]


def test_rows_without_keys_are_named_by_their_file_and_number(tmp_path):
    one, two = write(tmp_path / "one.parquet", table()), write(tmp_path / "two.csv", table(order=["x", "y", "z"]))
    assert [ids for _, ids in read(one, two)] == [
        {"row_id": ["one.parquet:0", "one.parquet:1", "one.parquet:2"]},
        {"row_id": ["two.csv:0", "two.csv:1", "two.csv:2"]},
    ]


def test_types_that_pandas_writes_are_understood(tmp_path):
    content = table(count=pa.array([1.0, float("nan"), 3.0]), amount=pa.array([1.0, 2.0, 3.0], pa.float64()))
    content = content.set_column(2, "colour", content["colour"].dictionary_encode())
    ((batch, _),) = read(write(tmp_path / "a.parquet", content))
    assert batch["count"] == [1, None, 3]
    assert batch["colour"] == ["red", None, ""]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.parquet", table().drop_columns(["colour"]), r"a\.parquet lacks the column colour"),
        ("a.parquet", table(amount=["1", "2", "3"]), r"a\.parquet: the column amount is string, and float32"),
        ("a.parquet", table(count=[1.0, 2.5, 3.0]), r"a\.parquet: the column count is not int64"),
        ("a.parquet", table(amount=[1.0, None, 3.0]), r"a\.parquet: the column amount has missing values"),
        ("a.parquet", table(amount=[1.0, float("nan"), 3.0]), "the column amount has missing values"),
        ("a.parquet", table(amount=[1.0, 1e300, 3.0]), "the column amount holds a number that does not fit"),
        ("a.csv", table(count=["1", "many", "3"]), r"a\.csv cannot be read: in the column count: .*many"),
        ("a.csv", table(amount=[1.0, None, 3.0]), r"a\.csv: the column amount has missing values"),
    ],
)
def test_a_bad_file_is_refused_by_its_name_and_column(tmp_path, name, content, message):
    write(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value)


def guarded(mode, *paths: Path) -> files.Inputs:
    of_version = contracts.of_document(small_model.CONTRACT, TYPES)
    return files.check([files.inspect(path) for path in paths], TYPES, contract("order"), of_version, mode)


@pytest.mark.parametrize("name", ["a.parquet", "a.csv"])
def test_a_file_with_rows_that_break_the_contract_is_refused_with_all_of_them(tmp_path, monkeypatch, name):
    monkeypatch.setattr(files, "BATCH_ROWS", 2)
    amounts, colours = [1.0, None, 3.0, 1001.0], ["red", None, "blue", "red"]
    content = pa.table({"amount": amounts, "count": [1, 2, 3, 4], "colour": colours, "order": list("wxyz")})
    path = write(tmp_path / name, content)
    given = []
    with pytest.raises(InputError) as caught:
        given += guarded("refuse", path).batches()
    sentence = str(caught.value)
    assert sentence.startswith(f"{path} is refused, because 3 of its rows break the contract")
    for fault in (
        "`amount` in row 1 is missing (allowed: a number from 0 to 1000)",
        "`colour` in row 2 is 'blue' (allowed: one of red, green)",
        "`amount` in row 3 is 1001.0 (allowed: a number from 0 to 1000)",
    ):
        assert fault in sentence
    assert "\n" not in sentence
    # None of what comes after the first fault is predicted in vain.
    assert given == []


def test_a_file_of_nothing_but_faults_is_refused_with_the_first_of_them(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "BATCH_ROWS", 7)
    path = write(tmp_path / "a.parquet", table(amount=[-1.0, -1.0, -1.0]).slice(0, 3))
    rows = pa.concat_tables([pq.read_table(path)] * 100)
    pq.write_table(rows, path)
    with pytest.raises(InputError, match=r"300 of its rows .*`amount` in row 19 is -1\.0 .*; and 280 more\.") as caught:
        list(guarded("refuse", path).batches())
    assert "row 20 " not in str(caught.value)


def test_rows_that_break_the_contract_are_marked_beside_their_keys_where_they_are_flagged(tmp_path):
    content = table(order=["x", "y", "z"], amount=[1.0, None, 1001.0], colour=["red", "blue", None])
    ((batch, ids),) = guarded("flag", write(tmp_path / "a.parquet", content)).batches()
    assert batch["amount"].to_pylist() == [1.0, None, 1001.0]
    assert ids.to_pydict() == {"order": ["x", "y", "z"], "contract_faults": [None, "amount, colour", "amount"]}
    good = write(tmp_path / "b.parquet", table(order=["x", "y", "z"]))
    ((_, ids),) = guarded("refuse", good).batches()
    assert ids.to_pydict() == {"order": ["x", "y", "z"]}


def test_what_is_no_table_is_refused(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing else")
    (tmp_path / "a.txt").write_text("x")
    for name, message in (("a.parquet", "cannot be read as Parquet"), ("a.txt", "neither"), ("b.csv", "no file")):
        with pytest.raises(InputError, match=message):
            files.inspect(tmp_path / name)


def test_the_files_of_a_window_are_those_of_its_spans_in_order(place):
    for span in (1, 2, 10):
        folder = place / f"span-{span:03d}"
        storage.make_folder(folder)
        for name in ("b.csv", "a.parquet", "_ignored.csv"):
            (folder / name).touch()
    window = files.of_window(str(place), "newest:newest")
    assert window == [(place / "span-010" / name, 10) for name in ("a.parquet", "b.csv")]
    assert len(files.of_window(str(place), "1:2")) == 4
    with pytest.raises(ValueError, match="missing between"):
        files.of_window(str(place), "1:10")
    with pytest.raises(InputError, match="no span"):
        files.of_window(str(place / "nowhere"), "1:2")


# Files by the span that they belong to and their rows -> where their rows are staged.
STAGED = {
    "spans keep their numbers": ([(11, 3), (12, 3), (12, 3)], ["span-011/1", "span-012/2", "span-012/3"]),
    "an empty one may be at an end": ([(10, 0), (11, 3), (12, 3)], ["span-011/1", "span-012/2"]),
    "an empty one between them leaves no gap": ([(10, 3), (11, 0), (12, 3)], ["span-001/1", "span-002/2"]),
    "files of no span are numbered": ([(None, 3), (None, 0), (None, 3)], ["span-001/1", "span-002/2"]),
}


@pytest.mark.parametrize("case", STAGED)
def test_rows_are_staged_in_the_spans_that_they_come_from(tmp_path, case):
    from operations.inference import batch_prediction as prediction

    given, expected = STAGED[case]
    paths = [write(tmp_path / f"{place}.parquet", table()[:rows]) for place, (_, rows) in enumerate(given)]
    inspected = [files.inspect(path, span) for path, (span, _) in zip(paths, given, strict=True)]
    folder = tmp_path / "staged"

    prediction.stage(files.check(inspected, TYPES, contract()), folder)

    staged = sorted(folder.glob("*/*"))
    assert [str(file.relative_to(folder)) for file in staged] == [
        f"{span}/rows-{place}.parquet" for span, _, place in (place.partition("/") for place in expected)
    ]
    numbers = [number for file in staged for number in pq.read_table(file)[prediction.ROW].to_pylist()]
    assert numbers == list(range(sum(rows for _, rows in given)))


def test_arrays_say_what_is_missing_as_the_signature_does():
    columns = {"amount": pa.array([1.0, None], pa.float32()), "count": pa.array([None, 2]), "colour": ["red", None]}
    arrays = files.to_arrays(pa.record_batch(columns))
    assert {values.shape for values in arrays.values()} == {(2, 1)}
    assert [values.dtype for values in arrays.values()] == [np.float32, np.int64, object]
    assert np.isnan(arrays["amount"][1, 0])
    assert arrays["count"].tolist() == [[-(2**63)], [2]]
    assert arrays["colour"].tolist() == [["red"], [""]]
