"""What columns seem to be: a case per judgement, and the reasons that a person is told."""

import datetime
import decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from teaching.new_project import creation, plan
from teaching.new_project.columns import infer, tensor_names
from teaching.new_project.tasks import BinaryLabel
from tests.teaching.new_project.projects import contract_of, prepared

pytestmark = pytest.mark.unit

ROWS = 400
DAYS = pd.date_range("2024-01-01", periods=ROWS, freq="D")
RANDOM = np.random.default_rng(0)
LABEL = pd.Series(RANDOM.integers(0, 2, ROWS)).astype("Int64")
TOLD = BinaryLabel("the label", "1", "0", 0.5)
WORDS = ["red", "green", "blue", "late", "early", "small", "large", "old", "new", "round"]


def column(name: str, values, **options):
    """The one column's judgement, as the values of a CSV or of a Parquet file."""
    series = pd.Series(values if isinstance(values, pd.Categorical) else list(values), name=name)
    if series.map(lambda value: value is None or isinstance(value, str)).all() and series.dtype == object:
        series = series.astype("string")
    judged, dropped = infer(pd.DataFrame({name: series}), LABEL, TOLD, options.pop("time", None), **options)
    return (judged[0] if judged else None), dropped.get(name)


def texts(few: int, words: int):
    return [" ".join(RANDOM.choice(WORDS, words)) + f" {number % few}" for number in range(ROWS)]


CASES = {
    "decimals": ("size", [str(value) for value in RANDOM.normal(5, 1, ROWS)], "float32", "number"),
    "whole numbers": ("rooms", [str(row % 7) for row in range(ROWS)], "int64", "number"),
    "whole numbers with a fraction of zero": ("rooms", [float(row % 7) for row in range(ROWS)], "int64", "number"),
    "truth": ("garden", [row % 3 == 0 for row in range(ROWS)], "int64", "number"),
    "words for truth": ("garden", ["True", "False"] * (ROWS // 2), "int64", "number"),
    "codes by their name": ("zip_code", [str(10_000 + row % 30) for row in range(ROWS)], "int64", "category"),
    "a word that ends like a code": ("humid", [str(row % 60) for row in range(ROWS)], "int64", "number"),
    "numbers too long to be counted": ("tweet", [str(10**17 + 37 * row) for row in range(ROWS)], "string", "key"),
    "categories of Parquet": ("kind", pd.Categorical([WORDS[row % 4] for row in range(ROWS)]), "string", "category"),
    "digits with leading zeros": ("district", [f"{row % 40:03d}" for row in range(ROWS)], "string", "category"),
    "few words": ("colour", [WORDS[row % 5] for row in range(ROWS)], "string", "category"),
    "many different words": ("shop", [f"shop{row % 90}" for row in range(ROWS)], "string", "category"),
    "unique words": ("ticket", [f"T{row}" for row in range(ROWS)], "string", "key"),
    "unique whole numbers called an id": ("CustomerId", [str(7 * row) for row in range(ROWS)], "string", "key"),
    "unique whole numbers called otherwise": ("revenue", [str(7 * row) for row in range(ROWS)], "int64", "number"),
    "sentences": ("remark", texts(ROWS, 6), "string", "text"),
    "few sentences": ("answer", [f"I do not {WORDS[row % 4]} it" for row in range(ROWS)], "string", "category"),
    "dates": ("signed", [f"2024-0{1 + row % 9}-11" for row in range(ROWS)], "timestamp", "key"),
    "dates of BigQuery": ("signed", [f"{day} 10:00:00.25 UTC" for day in DAYS.date], "timestamp", "key"),
    "a date for never": ("ends", ["9999-12-31"] + [str(day) for day in DAYS.date[1:]], "timestamp", "key"),
    "moments of Parquet": ("signed", DAYS, "timestamp", "key"),
    "moments with a zone": ("signed", DAYS.tz_localize("Asia/Tokyo"), "timestamp", "key"),
    "dates of Parquet": ("signed", DAYS.date, "timestamp", "key"),
    "decimals of Parquet": ("size", [decimal.Decimal(row) / 4 for row in range(ROWS)], "float32", "number"),
    "times of a day": ("opens", [datetime.time(row % 24) for row in range(ROWS)], "string", "category"),
    "a rank that is none": ("rank", RANDOM.normal(0, 1, ROWS), "float32", "number"),
    "numbers of rows with gaps": ("rownames", [str(7 * row) for row in range(ROWS)], "string", "key"),
    "numbers of rows with gaps, as R writes them": ("row.names", 3 * RANDOM.permutation(ROWS), "string", "key"),
    "numbers of rows with gaps, as pandas writes them": ("Unnamed: 0", 3 * RANDOM.permutation(ROWS), "string", "key"),
    "numbers called rows that are not unique": ("row_number", [row % 9 for row in range(ROWS)], "int64", "number"),
    "unique prices in order": ("price", [str(7 * row) for row in range(ROWS)], "int64", "number"),
    "a rank with gaps": ("rank", 3 * RANDOM.permutation(ROWS), "int64", "number"),
    "an row of prices": ("Index", [str(100 + 7 * row) for row in range(ROWS)], "int64", "number"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_column_is_what_its_values_and_its_name_say(case: str):
    name, values, kind, use = CASES[case]
    judged, dropped = column(name, values)

    assert dropped is None
    assert (judged.type, judged.use, judged.nullable) == (kind, use, False)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("constant", ["same"] * ROWS, "it has the same value in every row"),
        ("empty", [None] * ROWS, "it has no value"),
        ("blank", [" ", None] * (ROWS // 2), "it has no value"),
        ("infinite", ["inf", None] * (ROWS // 2), "it has no finite number"),
        ("list", [[1, 2]] * ROWS, "its values are neither numbers, texts nor moments"),
        ("duration", pd.to_timedelta(range(ROWS), unit="s"), "its values are neither numbers, texts nor moments"),
        ("bytes", [b"\xff", b"a"] * (ROWS // 2), "its values are neither numbers, texts nor moments"),
        ("Unnamed: 0", [str(row) for row in range(ROWS)], "it numbers the rows of the file"),
        ("rank", RANDOM.permutation(ROWS) + 1.0, "it numbers the rows of the file"),
        ("huge", [1e39 * row for row in range(ROWS)], "it reaches 3.99e+41, and float32 ends at 3.4e+38"),
    ],
)
def test_a_column_that_says_nothing_or_cannot_be_stored_is_left_out_with_the_reason(name: str, values, reason: str):
    assert column(name, values) == (None, reason)


def test_numbers_of_rows_are_known_as_such_when_rows_without_a_label_are_gone():
    frame = pd.DataFrame({"Unnamed: 0": range(1, 2 * ROWS + 1)}).iloc[::2]

    assert infer(frame, LABEL.set_axis(frame.index), TOLD, None)[1] == {"Unnamed: 0": "it numbers the rows of the file"}


def test_the_largest_numbers_that_can_be_stored_have_a_range_that_can_be_stored():
    judged, _ = column("huge", [1.7e36 * row for row in range(-ROWS // 2, ROWS // 2)])

    assert judged.range == (-float(np.finfo("float32").max), float(np.finfo("float32").max))


@pytest.mark.parametrize("missing", ["n/a", "N/A", "NULL", "none", "None", "-", "\u2013"])
def test_a_word_for_nothing_among_numbers_is_a_missing_number(missing: str):
    judged, _ = column("amount", [missing] + [f"{row / 4}" for row in range(1, ROWS)])

    assert (judged.type, judged.use, judged.nullable) == ("float32", "number", True)
    assert judged.note == f"'{missing}' is taken for a missing value."
    assert not judged.untidy


@pytest.mark.parametrize("words", [("none", "none"), ("none", "-"), ("-", "+"), ("none", "red")])
def test_a_word_for_nothing_among_words_is_a_category(words):
    judged, _ = column("extras", [None] + [words[row % 2] for row in range(1, ROWS)])

    assert (judged.use, judged.nullable, set(judged.values)) == ("category", True, {*words})


ALMOST = {
    "a word": (["abc"], "{}", "Almost all values are numbers; 'abc' is not: "),
    "a word with a line of its own": (["a\u2028b\n#c"], "{}", "Almost all values are numbers; 'a b #c' is not: "),
    "separators": ([], "1,{:06.2f}", "as in '1,000.00': "),
    "decimal commas": ([], "{:.0f},5", "as in '0,5': "),
    "dollars": ([], "${:.2f}", "as in '$0.00': "),
    "per cent": ([], "{}%", "as in '0%': "),
    "blanks": ([], "1 {:03.0f},00", "as in '1 000,00': "),
    "both": (["unknown"], "{} €", "Almost all values are numbers; 'unknown' is not: "),
}


@pytest.mark.parametrize("case", ALMOST)
def test_almost_numbers_are_no_key_and_somebody_is_told(case: str):
    wrong, form, note = ALMOST[case]
    judged, _ = column("amount", [form.format(row) for row in range(ROWS - len(wrong))] + wrong)

    assert (judged.type, judged.use, judged.untidy) == ("string", "category", True)
    assert note in judged.note


@pytest.mark.parametrize("wrong", ["unknown", "None", "2024-13-01"])
def test_almost_moments_are_no_key_and_somebody_is_told(wrong: str):
    judged, _ = column("signed", [wrong] + [str(day) for day in DAYS[1:]])

    assert (judged.use, judged.untidy) == ("category", True)
    assert f"Almost all values are moments; '{wrong}' is not: " in judged.note


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("order_id", [f"C{row}" if row % 20 == 0 else str(row) for row in range(ROWS)]),
        ("order", [f"A{row}" if row % 5 == 0 else str(row) for row in range(ROWS)]),
        ("order", [f"{row:05d}" for row in range(ROWS - 1)] + ["A"]),
        ("version", [f"{row}.0.1" for row in range(ROWS)]),
        ("address", [f"10.0.0.{row}" for row in range(ROWS)]),
    ],
)
def test_names_with_digits_are_still_a_key(name: str, values):
    judged, _ = column(name, values)

    assert (judged.use, judged.untidy, judged.note) == ("key", False, "")


def test_a_file_with_every_type_of_parquet_becomes_a_project_that_prepares_it(tmp_path: Path):
    day, zone = datetime.datetime(2024, 1, 1, 10), "Europe/Berlin"
    each_day = [day + datetime.timedelta(days=number) for number in range(ROWS)]
    some = [None if number % 7 == 0 else moment for number, moment in enumerate(each_day)]
    made = {
        "naive": pa.array(each_day, pa.timestamp("ns")),
        "zoned": pa.array(each_day, pa.timestamp("us", tz=zone)),
        "missing": pa.array(some, pa.timestamp("ms")),
        "far": pa.array([datetime.datetime(9999, 12, 31), *each_day[1:]], pa.timestamp("us")),
        "date": pa.array([None if moment is None else moment.date() for moment in some], pa.date32()),
        "far_date": pa.array([datetime.date(9999, 12, 31)] + [day.date()] * (ROWS - 1), pa.date32()),
        "clock": pa.array([moment.time() for moment in each_day], pa.time64("us")),
        "truth": pa.array([None if number % 9 == 0 else number % 4 == 0 for number in range(ROWS)]),
        "money": pa.array([decimal.Decimal(number) / 4 for number in range(ROWS)], pa.decimal128(9, 2)),
        "wide": pa.array([1.7e36 * number for number in range(-ROWS // 2, ROWS // 2)]),
        "long": pa.array(range(2**63, 2**63 + ROWS), pa.uint64()),
        "length": pa.array([moment - day for moment in each_day], pa.duration("us")),
        "list": pa.array([[number] for number in range(ROWS)]),
        "parts": pa.array([{"a": number} for number in range(ROWS)]),
        "bytes": pa.array([b"a", b"b"] * (ROWS // 2)),
        "huge": pa.array([1e300 * number for number in range(ROWS)]),
        "label": pa.array([int(label) for label in LABEL]),
    }
    pq.write_table(pa.table(made), tmp_path / "rows.parquet")
    decided = plan.make(tmp_path / "rows.parquet", "label")
    project = creation.create(decided, tmp_path / "shop").path
    prepared_rows = prepared(project)

    keys = [key.name for key in decided.of("key")]
    assert keys == ["naive", "zoned", "missing", "far", "date", "far_date", "long"]
    assert [inferred.name for inferred in decided.of("number")] == ["truth", "money", "wide"]
    assert sorted(decided.dropped) == ["bytes", "clock", "huge", "length", "list", "parts"]
    rows = {int(row["long"]) - 2**63: row for row in prepared_rows}
    assert len(rows) == ROWS
    assert (
        rows[0].items()
        >= {
            **dict.fromkeys(("naive", "zoned"), "2024-01-01 10:00:00+00:00"),
            **dict.fromkeys(("far", "far_date"), "9999-12-31 00:00:00+00:00"),
            **dict.fromkeys(("missing", "truth")),
        }.items()
    )
    contract_of(project)


def test_names_in_any_script_become_names_that_tell_columns_apart():
    expected = {
        "Größe": "Grosse_",
        "prix d'été": "prix_d_ete",
        "Øre": "Ore",
        "価格": "column_4_",
        "數量": "column_5",
        "2024 \u2013 Umsatz": "c_2024_Umsatz",
        "groesse": "groesse",
        "Grosse": "Grosse",
        "row_id": "row_id_",
        "column_4": "column_4",
    }

    assert tensor_names(list(expected), taken={"row_id"}) == expected


def test_a_value_that_is_constant_where_it_is_known_stays_because_its_absence_speaks():
    judged, _ = column("flag", ["yes", None] * (ROWS // 2))

    assert (judged.use, judged.nullable, judged.values) == ("category", True, ("yes",))


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 10], (0, 20)), ([-5, 5], (-15, 15)), ([900, 1000], (0, 1500)), ([0, 1], (0, 1)), ([1.5, 2.25], (0, 3.4))],
)
def test_a_range_has_room_on_either_side_but_not_below_zero(values, expected):
    judged, _ = column("size", [values[row % 2] for row in range(ROWS)])

    assert judged.range == expected


def test_a_category_is_closed_only_if_it_is_small_and_no_value_is_rare():
    many, few = [WORDS[row % 3] for row in range(ROWS)], ["rare"] + [WORDS[row % 3] for row in range(ROWS - 1)]

    assert not column("colour", many)[0].open
    assert column("colour", few)[0].open


def test_a_few_huge_values_are_told_apart_from_many_middling_ones():
    assert column("price", np.exp(RANDOM.normal(0, 2, ROWS)))[0].heavy_tailed
    assert not column("price", RANDOM.normal(0, 2, ROWS))[0].heavy_tailed


def leaking(share: float) -> list[str]:
    """The label's words, wrong in so many rows."""
    wrong = RANDOM.random(ROWS) < share
    return ["paid" if bool(label) != flip else "open" for label, flip in zip(LABEL, wrong, strict=True)]


@pytest.mark.parametrize(
    ("values", "aside"),
    [
        (leaking(0.0), True),
        (leaking(0.02), True),
        (leaking(0.2), False),
        (LABEL * 3.0 + RANDOM.normal(0, 0.1, ROWS), True),
        (5 - LABEL * 3.0 + RANDOM.normal(0, 0.1, ROWS), True),
        (np.where(LABEL == 1, 1, RANDOM.choice([0, 2], ROWS)), True),
        (np.where(LABEL == 1, RANDOM.uniform(4, 5, ROWS), RANDOM.choice([0, 9], ROWS) + RANDOM.random(ROWS)), True),
        (np.where(LABEL == 1, 0.0, RANDOM.normal(0, 1, ROWS)), True),
        (np.where(LABEL == 1, np.nan, RANDOM.normal(0, 1, ROWS)), True),
        (RANDOM.choice([0, 1, 2], ROWS), False),
        (RANDOM.integers(0, ROWS, ROWS), False),
        ([f"{texts(ROWS, 5)[n]} {'was paid' if label else 'is open'}" for n, label in enumerate(LABEL)], True),
        ([None if label else text for label, text in zip(LABEL, texts(ROWS, 6), strict=True)], True),
        (texts(ROWS, 6), False),
        (RANDOM.normal(0, 1, ROWS), False),
        ([None if label else 1.5 * n for n, label in enumerate(LABEL)], True),
        ([f"x{n}" if label else None for n, label in enumerate(LABEL // 1)], True),
    ],
)
def test_a_column_that_gives_the_label_away_is_set_aside_however_it_does_so(values, aside: bool):
    judged, _ = column("state", values)

    assert judged.suspect == aside
    assert (judged.use == "outcome") == aside
    assert ("Is it known at prediction time?" in judged.note) == aside


def test_a_category_of_one_row_each_does_not_seem_to_tell_the_label():
    judged, _ = column("house", [f"street {row}" for row in range(ROWS)])

    assert not judged.suspect


def test_whoever_knows_when_a_column_is_known_has_the_last_word():
    assert column("state", leaking(0.0), known=["state"])[0].use == "category"
    assert column("size", RANDOM.normal(0, 1, ROWS), after=["size"])[0].use == "outcome"


@pytest.mark.parametrize(
    ("values", "kind", "unit"),
    [
        ([f"2024-01-{1 + row % 28:02d}" for row in range(ROWS)], "timestamp", None),
        ([f"2024-01-{1 + row % 28:02d} 10:00:00.5 UTC" for row in range(ROWS)], "timestamp", None),
        (DAYS.tz_localize("UTC"), "timestamp", None),
        ([str(1_700_000_000 + 60 * row) for row in range(ROWS)], "timestamp", "s"),
        ([1_700_000_000_000 + 60 * row for row in range(ROWS)], "timestamp", "ms"),
        ([str(1900 + row) for row in range(ROWS)], "int64", None),
        ([1900.5 + row for row in range(ROWS)], "float32", None),
    ],
)
def test_time_is_moments_seconds_or_whatever_grows(values, kind: str, unit):
    judged, _ = column("when", values, time="when")

    assert (judged.type, judged.use, judged.unit) == (kind, "time", unit)


@pytest.mark.parametrize(
    ("good", "bad", "told"),
    [
        ("2024-01-01", None, "is missing in 1 rows"),
        (pd.Timestamp("2024-01-01"), pd.NaT, "is missing in 1 rows"),
        ("2020-10-18", "Soon", "'Soon', which is not a moment such as 2020-10-18 or 2020-10-18 09:30:00"),
        ("2020-10-18", "18.10.2020", "'18.10.2020', which is not a moment"),
        ("2020-10-18 10:00", "2020-13-18", "'2020-13-18', which is not a moment"),
        ("2020-10-18", "17", "'17', which is not a moment"),
        ("Soon", "Soon", "'Soon', which is not a moment"),
        ("1999", "MM", "'MM', which is not a number such as 1999"),
        ("1999", "-", "'-', which is not a number such as 1999"),
        ("2020-10-18", "9999-12-31", "holds 9999-12-31, and rows are put in order from 1678 to 2261"),
        (datetime.datetime(2024, 1, 1), datetime.datetime(9999, 12, 31), "holds 9999-12-31"),
    ],
)
def test_a_time_that_is_missing_or_cannot_be_read_is_refused_with_the_value_that_is_wrong(good, bad, told: str):
    with pytest.raises(ValueError, match=f"The time 'when' .*{told}"):
        column("when", [*[good] * (ROWS - 1), bad], time="when")
