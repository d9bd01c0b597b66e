"""A table as spans of its contract: what is kept, what is refused, and what a second preparation does."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from data import spans, table
from data.contract import ContractError
from data.table import Preparation, TableError
from data.table_spans import Hashed, Parts, Periods
from tests.data.loans import TABLE

pytestmark = pytest.mark.unit

MONTHS = Periods("day", "month", "2024-01")
CSV = """id,day,income,cars,defaulted
007,2024-01-05,1200.5,1,no
008,2024-01-09T10:00:00+02:00,NA,0,yes
009,2024-02-01,?,2.0,no
010,2024-02-11,inf,true,yes
011,2024-03-01,800,3,
"""


@pytest.fixture
def loans(tmp_path: Path) -> Path:
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(TABLE))
    (tmp_path / "loans.csv").write_text(CSV)
    return tmp_path / "loans.csv"


def rows(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(defaulted=table.label(frame["defaulted"], "yes", "no"))


def prepare(source: Path, rule=MONTHS, **changes) -> Preparation:
    given = {"rows": rows, "spans": rule, "code": [Path(__file__)]} | changes
    return table.prepare(source, source.with_name("contract.yaml"), source.with_name("spans"), **given)


def test_rows_are_typed_by_the_contract_and_those_without_a_label_left_out(loans: Path):
    done = prepare(loans)

    assert [(span.span, span.rows, span.positive_rate) for span in done.spans] == [(1, 2, 0.5), (2, 2, 0.5)]
    assert done.unlabelled == 1
    first, second = (spans.read(done.path, span).to_pylist() for span in (1, 2))
    assert [row["id"] for row in first] == ["007", "008"]
    assert first[1]["day"].isoformat() == "2024-01-09T08:00:00+00:00"
    assert [row["income"] for row in (*first, *second)] == [1200.5, None, None, None]
    assert [row["cars"] for row in (*first, *second)] == [1, 0, 2, 1]
    assert [row["defaulted"] for row in (*first, *second)] == [0, 1, 0, 1]


def test_a_second_preparation_writes_nothing_and_a_changed_table_is_prepared_again(loans: Path):
    first = prepare(loans)
    written = first.spans[0].path.stat().st_mtime_ns

    again = prepare(loans)
    assert again.skipped
    assert again.spans == first.spans
    assert again.spans[0].path.stat().st_mtime_ns == written

    loans.write_text(CSV.replace("800,3,", "800,3,yes"))
    assert [span.rows for span in prepare(loans).spans] == [2, 2, 1]


CLASSES = {"task": "multiclass", "classes": ["no", "late", "yes"]}
CLASSED = CSV.replace("1,no", "1,late").replace(",3,\n", ",3,no\n")


def classed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(defaulted=table.class_numbers(frame["defaulted"], CLASSES["classes"]))


def test_rows_of_classes_are_counted_by_class_and_told_by_the_largest(loans: Path):
    loans.with_name("contract.yaml").write_text(yaml.safe_dump(TABLE | CLASSES))
    loans.write_text(CLASSED)
    told: list[str] = []
    done = prepare(loans, rows=classed, progress=told.append)

    assert [span.class_rows for span in done.spans] == [
        {"no": 0, "late": 1, "yes": 1},
        {"no": 1, "late": 0, "yes": 1},
        {"no": 1, "late": 0, "yes": 0},
    ]
    assert "Wrote span 3: 1 rows, largest class no, 100.0%" in told
    assert [row["defaulted"] for row in spans.read(done.path, 1).to_pylist()] == [1, 2]
    again = prepare(loans, rows=classed)
    assert (again.skipped, again.spans) == (True, done.spans)


def test_a_label_that_is_no_class_is_refused(loans: Path):
    loans.with_name("contract.yaml").write_text(yaml.safe_dump(TABLE | CLASSES))
    loans.write_text(CLASSED.replace("true,yes", "true,maybe"))
    with pytest.raises(
        TableError, match="The label 'defaulted' is 'maybe', which is none of the classes no, late, yes"
    ):
        prepare(loans, rows=classed)

    def numbered(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(defaulted=frame["defaulted"].notna().astype(int) * 3)

    with pytest.raises(ContractError, match="'defaulted' of span 1 reaches from 3 to 3, outside its range 0 to 2"):
        prepare(loans, rows=numbered)
    assert not list(loans.with_name("spans").glob("span-*"))


def test_numbers_to_predict_are_told_by_mean_and_std(loans: Path):
    loans.with_name("contract.yaml").write_text(
        yaml.safe_dump(TABLE | {"task": "regression", "label": "cars", "columns": [
            column | {"role": {"cars": "label", "defaulted": "outcome"}.get(column["name"], column["role"])}
            for column in TABLE["columns"]
        ]})
    )  # fmt: skip
    loans.write_text(CSV.replace(",3,\n", ",3,no\n"))
    told: list[str] = []
    done = prepare(loans, progress=told.append)

    assert [(span.label_mean, span.label_std) for span in done.spans] == [(0.5, 0.5), (1.5, 0.5), (3.0, 0.0)]
    assert "Wrote span 2: 2 rows, mean 1.5, std 0.5" in told
    assert prepare(loans).spans == done.spans


def test_a_contract_that_another_one_extends_is_part_of_what_decides(loans: Path):
    base = loans.with_name("base.yaml")
    base.write_text(yaml.safe_dump(TABLE))
    loans.with_name("contract.yaml").write_text("extends: base.yaml\n")
    prepare(loans)
    assert prepare(loans).skipped

    base.write_text(yaml.safe_dump(TABLE | {"prediction_time": "later"}))
    assert not prepare(loans).skipped


def test_a_span_that_is_no_longer_there_is_removed_but_not_what_somebody_else_put_there(loans: Path):
    loans.write_text(CSV.replace("800,3,", "800,3,yes"))
    folder = prepare(loans).path
    (folder / "span-004").mkdir()
    (folder / "span-004" / "theirs.parquet").write_bytes(b"theirs")

    # The rule is part of the code in a project, so that another rule is other code.
    prepare(loans, Parts("day", ["2024-02-01"]), code=[loans])

    assert sorted(path.name for path in folder.glob("span-*")) == ["span-001", "span-002", "span-004"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1200.5", "Plenty", "Column 'income' holds 'Plenty', which is not a number"),
        ("1200.5", "1e39", "Column 'income' holds 1e\\+39, and float32 ends at 3.4e\\+38"),
        (",2.0,", ",1e19,", "Column 'cars' holds 1e\\+19, and int64 ends at 9.2e\\+18"),
        ("2024-02-01", "Tomorrow", "'day' holds 'Tomorrow', which is not a moment in ISO 8601, such as 2024-01-05 or"),
        ("2024-02-01", "2024-02-30", "'day' holds '2024-02-30', which is not a moment"),
        ("2024-02-01", "9999-12-31", "'day' holds 9999-12-31, and rows are put in order from 1678 to 2261"),
        ("2024-01-05", "2023-12-31", "before span 1, which begins 2024-01"),
        ("2024-02-11", "", "'day' is missing in 1 rows"),
        (",2.0,", ",2.5,", "'cars' is whole numbers by its contract"),
        ("inf,true,yes", "inf,true,maybe", "The label 'defaulted' is 'maybe', neither yes nor no"),
        ("income", "incomes", "The rows have no column 'income'; they have id, day, incomes"),
        ("income", "cars", "has two columns 'cars'"),
        ("1200.5", "-3", "'income' of span 1 reaches from -3"),
    ],
)
def test_what_the_table_cannot_hold_is_refused_by_name_and_nothing_is_written(loans: Path, old, new, message):
    loans.write_text(CSV.replace(old, new, 1))

    with pytest.raises((TableError, ContractError), match=message):
        prepare(loans)
    assert not list(loans.with_name("spans").glob("span-*"))


def test_a_table_without_any_label_is_refused_and_what_is_there_stays(loans: Path):
    folder = prepare(loans).path
    lines = CSV.splitlines()
    loans.write_text("\n".join([lines[0], *(f"{line.rpartition(',')[0]}," for line in lines[1:])]))

    with pytest.raises(TableError, match=r"no row of .*loans\.csv has a label"):
        prepare(loans)
    assert len(list(folder.glob("span-*"))) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("absent.csv", None, "There is no table"),
        ("rows.xlsx", b"x", "neither CSV"),
        ("rows.parquet", b"x", "cannot be read"),
        ("rows.csv", b"", "cannot be read"),
        ("rows.csv", b"\r\n\r\n", "cannot be read: it has no line with a value"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "cannot be read"),
        ("rows.csv", b"a,b\n", "has no row"),
        ("rows.csv.gz", b"\x1f\x8bxxxx", "cannot be read"),
        ("rows.csv.gz", b"a,b\n1,2\n", "cannot be read"),
        ("rows.csv.zip", b"PKxx", "cannot be read"),
        ("rows.csv.bz2", b"a,b\n1,2\n", "cannot be read"),
    ],
)
def test_a_table_that_is_none_is_refused_in_one_sentence(tmp_path: Path, name: str, content, message: str):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(TableError, match=message) as caught:
        table.read(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'\xef\xbb\xbfa, b,c\n1, ?, x y \n ,NA,"two\nlines"\n', [["1", None, "x y"], [None, None, "two\nlines"]]),
        (b"a,b,c\n1,2,x\r y\n3,4,z\n", [["1", "2", "x\r y"], ["3", "4", "z"]]),
        (b"a,b,c\n1,2,x\ry\n3,4,z\n", [["1", "2", "x\ry"], ["3", "4", "z"]]),
        (b"a,b,c\r 1,2,x\r\r 3,4,z\r", [["1", "2", "x"], ["3", "4", "z"]]),
        (b'a,b,c\r1,2,"x\ny"\r3,4,z', [["1", "2", "x\ny"], ["3", "4", "z"]]),
        (b'a,b,c\r\n1,2,"x\r\ny"\r\n\r\n3,4,z\r\n\r\n', [["1", "2", "x\r\ny"], ["3", "4", "z"]]),
    ],
    ids=["blanks", "return in a text", "in a word", "ends lines", "ends lines, but not in a text", "as Windows writes"],
)
def test_blanks_are_dropped_and_a_carriage_return_ends_a_line_where_all_end_with_it(
    tmp_path: Path, content: bytes, expected
):
    (tmp_path / "rows.csv").write_bytes(content)

    frame = table.read(tmp_path / "rows.csv")

    assert list(frame.columns) == ["a", "b", "c"]
    assert frame.astype(object).where(frame.notna(), None).to_numpy().tolist() == expected


def test_what_stands_for_nothing_is_missing_and_what_may_be_a_name_is_not(tmp_path: Path):
    nothing = ["N/A", "n/a", "N/a", "NA", "na", "NaN", "nan", "NULL", "null", "#N/A", "<NA>", "?"]
    names = ["None", "-", "Na", "Nan", "naan"]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b", *(f"{value},1" for value in nothing + names)]))

    assert table.read(tmp_path / "rows.csv")["a"].dropna().tolist() == names


def test_numbers_are_missing_where_a_word_for_nothing_stands_and_refused_where_there_are_none():
    words = pd.Series(["1.5", "-", "None", "n/a", " NULL ", "\u2013", "TRUE", "inf"], name="a")

    assert table.numbers(words).astype(object).where(table.numbers(words).notna(), None).tolist() == [
        1.5, None, None, None, None, None, 1.0, None,
    ]  # fmt: skip
    days = pd.Series(pd.date_range("2024-01-01", periods=2), name="a")
    for values in (days, days.dt.tz_localize("UTC"), days - days[0]):
        with pytest.raises(TableError, match=r"Column 'a' holds (moments|lengths of time), which are not numbers"):
            table.numbers(values)


def test_moments_of_all_kinds_are_read_alike():
    texts = ["2021-01-29 10:00:00 UTC", "2021-01-29T11:00:00.000+0100", "2021-01-29 10:00", "2021-01-29 10:00:00Z"]
    fractions = table.moments(pd.Series(["2021-01-29 10:00:00.123456 UTC", None, " 9999-12-31 23:59:59 UTC"]))

    assert table.moments(pd.Series(texts)).unique().tolist() == [pd.Timestamp("2021-01-29 10:00", tz="UTC")]
    assert fractions.isna().tolist() == [False, True, False]
    assert [fractions[0].microsecond, fractions[2].year] == [123456, 9999]


def test_a_moment_of_parquet_has_one_name_whatever_the_others_and_their_resolution():
    days = pd.Series(pd.to_datetime(["2024-01-01T00:00", "2024-01-02T10:00"]))
    names = table.plain(days)

    assert table.plain(days[:1]).tolist() == names[:1].tolist()
    for unit in ("s", "ms", "us"):
        assert table.plain(days.dt.as_unit(unit).dt.tz_localize("UTC")).equals(names)
    assert table.plain(pd.Series([pd.NaT, days[0]])).isna().tolist() == [True, False]


def test_a_frame_of_arrow_is_read_like_any_other_and_its_named_index_is_a_column(tmp_path: Path):
    frame = pd.DataFrame({"a": [1.5, None], "b": pd.to_datetime(["2024-01-01", "2024-01-02"]), "c": ["x", "y"]})
    frame.index = pd.Index(["first", "second"], name="id")
    frame.convert_dtypes(dtype_backend="pyarrow").to_parquet(tmp_path / "rows.parquet")
    read = table.read(tmp_path / "rows.parquet")

    assert list(read.columns) == ["id", "a", "b", "c"]
    assert not [kind for kind in read.dtypes if isinstance(kind, pd.ArrowDtype)]
    assert table.numbers(read["a"])[0] == 1.5
    assert table.moments(read["b"])[1].day == 2
    assert table.plain(read["c"]).tolist() == ["x", "y"]


def test_csv_and_parquet_give_the_same_rows(loans: Path):
    frame = pd.read_csv(loans, dtype={"id": str}, na_values=["?"]).replace([np.inf], np.nan)
    frame["day"] = pd.to_datetime(frame["day"], format="ISO8601", utc=True)
    frame["cars"] = frame["cars"].replace("true", 1).astype(float)
    frame.to_parquet(loans.with_suffix(".parquet"))
    csv = [spans.read(prepare(loans).path, span) for span in (1, 2)]

    assert [spans.read(prepare(loans.with_suffix(".parquet")).path, span) for span in (1, 2)] == csv


def test_rows_are_named_by_their_content_wherever_they_are():
    frame = pd.DataFrame({"a": [1.0, 2.0, 1.0, None], "b": ["x", "y", "x", "z"]})
    names = table.counted(table.content(frame, ["a", "b"]))
    turned = table.counted(table.content(frame.iloc[::-1], ["a", "b"]))

    assert names.is_unique
    assert set(names) == set(turned)
    assert names[2] == f"{names[0]}-2"
    with pytest.raises(TableError, match="The rows have no column 'c'; they have a, b"):
        table.content(frame, ["a", "c"])


@pytest.mark.parametrize(
    ("rule", "values", "expected"),
    [
        (Periods("t", "month", "2023-11"), ["2023-11-01", "2023-12-31T23:59:59", "2024-02-01"], [1, 2, 4]),
        (Periods("t", "quarter", "2023-10"), ["2023-11-01", "2023-12-31", "2024-01-01"], [1, 1, 2]),
        (Periods("t", "year", "2023-01"), ["2023-11-01", "2024-01-01", "2026-01-01"], [1, 2, 4]),
        (Parts("t", ["2024-01-01T00:00:00+00:00"]), ["2023-12-31", "2024-01-01", "2030-01-01"], [1, 2, 2]),
        (Parts("t", [1990.0, 2000.0]), [1989, 1990, 2024], [1, 2, 3]),
    ],
)
def test_a_moment_belongs_to_one_span_whatever_comes_later(rule, values, expected):
    assert rule(pd.DataFrame({"t": values})).tolist() == expected


def test_moments_of_any_resolution_are_shared_out_alike():
    rule = Parts("t", ["2024-01-01T00:00:00+00:00"])
    moments = pd.to_datetime(pd.Series(["2023-12-31", "2024-01-02"]), utc=True)

    for unit in ("s", "ms", "us", "ns"):
        assert rule(pd.DataFrame({"t": moments.dt.as_unit(unit)})).tolist() == [1, 2]


def test_parts_by_chance_keep_equal_rows_together_and_rows_where_they_are():
    frame = pd.DataFrame({"id": [str(number // 2) for number in range(2000)]})
    rule = Hashed(("id",), 5)
    parts = rule(frame)

    assert set(parts) == {1, 2, 3, 4, 5}
    assert parts.value_counts().min() > 320
    assert parts.groupby(frame["id"]).nunique().max() == 1
    assert rule(frame.iloc[::-1].head(100)).sort_index().equals(parts.tail(100))
