"""A dataset that is one table, CSV or Parquet, as spans of its contract: for use cases with nothing to join.

The use case says which rows there are and how they are split into spans; reading, types, checks and writing are here.
This module is light to import: pandas and Arrow are loaded only when there is something to prepare.
"""

from __future__ import annotations

import csv
import datetime
import hashlib
import re
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import storage
from data import spans as span_files
from data.contract import Column, Contract, Task, files
from errors import FlightdeckError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

FILE_NAME = "rows.parquet"
MISSING = (
    *("", "NA", "na", "N/A", "n/a", "N/a", "#N/A", "<NA>"),
    *("NaN", "nan", "NAN", "NULL", "null", "Null", "?"),
)
"""What stands for a missing value in a CSV, blanks around it or not.

"None" and "-" do not: they are honest categories. Nor do "Na" and "Nan", which are names.
"""
NO_NUMBER = frozenset({*(word.lower() for word in MISSING), "none", "-", "--", "\u2013", "\u2014", "."})
"""What stands for a missing value where numbers are expected, whatever its case."""
LARGEST = {"int64": 2.0**63 - 1024, "float32": float.fromhex("0x1.fffffep+127")}
"""The largest float64 that fits into a type."""
FIRST_YEAR, LAST_YEAR = 1678, 2261
"""From and to which moments put rows in order; what is further away stands for "never" or "unknown"."""

_SEPARATORS = {";": "';'", "\t": "tabs"}
_TRUTH = {"true": 1, "false": 0}
_UTC = re.compile(r"(?<=\d) ?(?:UTC|Z)$", re.IGNORECASE)
_ZONE = re.compile(r":.*(?:Z|[+-]\d\d(?::?\d\d)?)$")


class TableError(FlightdeckError):
    """A table that is missing or damaged, or does not hold what the contract says."""


@dataclass(frozen=True)
class SpanRows(span_files.WrittenSpan, ABC):
    """How many rows one span holds; `_SPAN_ROWS` has what is counted besides, which follows from the task."""

    rows: int

    @classmethod
    @abstractmethod
    def counts(cls, labels: pa.ChunkedArray, classes: Sequence[str]) -> dict[str, Any]:
        """Returns the further fields of a span with these labels."""

    @property
    @abstractmethod
    def phrase(self) -> str:
        """What a line of progress says of the labels."""


@dataclass(frozen=True)
class BinaryRows(SpanRows):
    """With the share of rows whose label is 1."""

    positive_rate: float

    @classmethod
    def counts(cls, labels: pa.ChunkedArray, classes: Sequence[str]) -> dict[str, Any]:
        """Returns the share."""
        import pyarrow.compute as pc

        return {"positive_rate": round(float(pc.mean(labels).as_py()), 6)}

    @property
    def phrase(self) -> str:
        """The share."""
        return f"{self.positive_rate:.1%} positive"


@dataclass(frozen=True)
class MulticlassRows(SpanRows):
    """With the number of rows of each class, in the order of the contract."""

    class_rows: dict[str, int]

    @classmethod
    def counts(cls, labels: pa.ChunkedArray, classes: Sequence[str]) -> dict[str, Any]:
        """Returns the numbers."""
        import numpy as np

        counts = np.bincount(labels.to_numpy(), minlength=len(classes))
        return {"class_rows": dict(zip(classes, counts.tolist(), strict=True))}

    @property
    def phrase(self) -> str:
        """The class with most rows."""
        largest = max(self.class_rows, key=self.class_rows.__getitem__)
        return f"largest class {largest}, {self.class_rows[largest] / self.rows:.1%}"


@dataclass(frozen=True)
class RegressionRows(SpanRows):
    """With the mean and the standard deviation of the label."""

    label_mean: float
    label_std: float

    @classmethod
    def counts(cls, labels: pa.ChunkedArray, classes: Sequence[str]) -> dict[str, Any]:
        """Returns both."""
        numbers = labels.to_numpy().astype("float64")
        return {"label_mean": round(float(numbers.mean()), 6), "label_std": round(float(numbers.std()), 6)}

    @property
    def phrase(self) -> str:
        """Both."""
        return f"mean {self.label_mean:.4g}, std {self.label_std:.4g}"


_SPAN_ROWS: dict[Task, type[SpanRows]] = {
    "binary": BinaryRows,
    "multiclass": MulticlassRows,
    "regression": RegressionRows,
}


@dataclass(frozen=True)
class Preparation(span_files.Preparation):
    """What a preparation of a table wrote, or found already written.

    Attributes:
        unlabelled: Rows that were left out because nobody knows their label.
    """

    spans: tuple[SpanRows, ...]
    unlabelled: int


def read(path: Path) -> pd.DataFrame:
    """Reads a table; the columns of a CSV are text, so that no value is guessed into another one.

    A named index of a frame that wrote Parquet is a column.

    Raises:
        TableError: If it is missing, is neither CSV nor Parquet, or has no row.
    """
    import pyarrow as pa

    name = path.name.lower()
    if not name.endswith((".parquet", ".csv", ".csv.gz", ".csv.zip", ".csv.bz2")):
        raise TableError(f"{path} is neither CSV (.csv, .csv.gz, .csv.zip, .csv.bz2) nor Parquet (.parquet).")
    try:
        frame = _parquet(path) if name.endswith(".parquet") else _csv(path)
    except FileNotFoundError as error:
        raise TableError(f"There is no table {path}.") from error
    except UnicodeDecodeError as error:
        raise TableError(f"The table {path} cannot be read: it is not UTF-8 text.") from error
    # A ValueError is pandas' for what it cannot parse, and for an archive that holds none or several files.
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile, pa.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".") or "it is damaged"
        raise TableError(_header_problem(path) or f"The table {path} cannot be read: {reason}.") from error
    # With another separator than commas each row is one field, if no number has a comma.
    if len(frame.columns) == 1 and (problem := _header_problem(path)):
        raise TableError(problem)
    if frame.empty:
        raise TableError(f"The table {path} has no row.")
    frame.columns = [str(name).strip() for name in frame.columns]
    if twice := [name for name in frame.columns if (frame.columns == name).sum() > 1]:
        raise TableError(_header_problem(path) or f"The table {path} has two columns '{twice[0]}'.")
    return frame


def _csv(path: Path) -> pd.DataFrame:
    import pandas as pd

    _, line_end = _first_line(path)
    # Without a header first: pandas would rename the second of two columns with one name. It is told where lines end,
    # or a carriage return within a text would end one, too (pandas-dev/pandas#51141).
    frame = pd.read_csv(
        path, dtype="string", header=None, keep_default_na=False, skipinitialspace=True, lineterminator=line_end
    )
    # What is left of an empty line that ends as Windows' do.
    empty = frame[0].eq("\r") & frame.iloc[:, 1:].eq("").all(axis=1)
    frame = frame[~empty].apply(lambda values: values.str.strip())
    if frame.empty:
        raise ValueError("it has no line with a value")
    header = frame.iloc[0].fillna("").replace("", "index")  # What a frame writes without a name is its index.
    frame = frame.iloc[1:].reset_index(drop=True)
    frame.columns = header.tolist()
    return frame.mask(frame.isin(MISSING))


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    frame = pd.read_parquet(path)
    # What pandas keeps as Arrow does can do less than its own types, and is the same data.
    for place, kind in enumerate(frame.dtypes):
        if isinstance(kind, pd.ArrowDtype):
            frame.isetitem(place, pa.array(frame.iloc[:, place]).to_pandas().set_axis(frame.index))
    if any(name is not None for name in frame.index.names):
        frame = frame.reset_index(allow_duplicates=True)
    # A category of pandas is its value here, as it is in a CSV.
    categories = [place for place, kind in enumerate(frame.dtypes) if isinstance(kind, pd.CategoricalDtype)]
    return frame.astype({frame.columns[place]: object for place in categories})


def _header_problem(path: Path) -> str:
    """What is wrong with the first line of a CSV, or with the columns of a Parquet file; empty if nothing is."""
    try:
        line, names = ("", _of_parquet(path)) if path.name.lower().endswith(".parquet") else _of_csv(path)
    # What cannot even be opened has been told in other words. Those of pandas and Arrow are ValueErrors.
    except (OSError, ValueError, EOFError, zlib.error, zipfile.BadZipFile):
        return ""
    for mark, called in _SEPARATORS.items():
        if line.count(mark) > line.count(","):
            return f"The table {path} is separated by {called}: write it with commas."
    if names.count("") > 1:
        return f"{names.count('')} columns of the table {path} have no name: name them in its first line."
    if "" in names and "index" in names:
        return f"The table {path} has a column without a name, and one called 'index', as that would be: name both."
    twice = next((name for name in names if names.count(name) > 1), None)
    return f"The table {path} has two columns '{twice}': give one of them another name." if twice else ""


def _first_line(path: Path) -> tuple[str, str]:
    """The first line of a CSV, and the character that ends its lines.

    That is a carriage return, as old programs for the Macintosh write it, only in a file without line feeds.
    """
    import pandas as pd

    # By pandas, which knows archives, as the one field that it is for a separator that no text has.
    options: dict = {"header": None, "nrows": 1, "dtype": "string", "keep_default_na": False, "lineterminator": "\n"}
    line = str(pd.read_csv(path, sep="\x1f", quoting=csv.QUOTE_NONE, **options).iloc[0, 0]).strip("\r")
    first, carriage_return, _ = line.partition("\r")
    return first, carriage_return or "\n"


def _of_csv(path: Path) -> tuple[str, list[str]]:
    line, _ = _first_line(path)
    return line, [name.strip() for name in next(csv.reader([line], skipinitialspace=True))]


def _of_parquet(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return [str(name).strip() for name in pq.read_schema(path).names]


def column(frame: pd.DataFrame, name: str) -> Any:
    """Returns a column, a Series, or raises a TableError that names those that there are."""
    if name not in frame.columns:
        raise TableError(f"The rows have no column '{name}'; they have {', '.join(frame.columns)}.")
    return frame[name]


def numbers(values: pd.Series) -> pd.Series:
    """Returns the values as float64; truth becomes 1 and 0, what is infinite or stands for nothing becomes missing.

    Raises:
        TableError: If a value is no number.
    """
    import numpy as np
    import pandas as pd

    if isinstance(values.dtype, pd.StringDtype) or values.dtype == object:
        text: Any = plain(values)
        lowered = text.str.lower()
        converted = lowered.map(_TRUTH).astype("Float64").fillna(pd.to_numeric(lowered, errors="coerce"))
        if (wrong := text.notna() & converted.isna() & ~lowered.isin(NO_NUMBER)).any():
            raise TableError(f"Column '{values.name}' holds '{text[wrong].iloc[0]}', which is not a number.")
        values = converted
    elif values.dtype.kind in "mM":
        what = "moments" if values.dtype.kind == "M" else "lengths of time"
        raise TableError(f"Column '{values.name}' holds {what}, which are not numbers.")
    converted = values.astype("Float64").to_numpy("float64", na_value=np.nan)
    return pd.Series(np.where(np.isfinite(converted), converted, np.nan), index=values.index, name=values.name)


def moments(values: pd.Series, unit: str | None = None) -> pd.Series:
    """Returns the values as moments in UTC; a text or moment without a zone is taken for UTC.

    Args:
        values: Texts in ISO 8601, with or without UTC behind them, moments, or numbers.
        unit: Of numbers, which count from 1970: ``s``, ``ms``, ``us`` or ``ns``.

    Raises:
        TableError: If a value is no moment.
    """
    import pandas as pd

    if values.dtype.kind == "M":
        return pd.to_datetime(values, utc=True)
    known: Any
    if unit is not None:
        known = numbers(values)
        instants = pd.to_datetime(known, unit=unit, utc=True, errors="coerce")
    else:
        known = plain(values)
        instants = parsed(known)
    if (wrong := known.notna() & instants.isna()).any():
        text: Any = plain(values)
        right = "in ISO 8601, such as 2024-01-05 or 2024-01-05 09:30:00" if unit is None else f"in {unit} since 1970"
        raise TableError(f"Column '{values.name}' holds '{text[wrong].iloc[0]}', which is not a moment {right}.")
    return instants


def parsed(text: pd.Series) -> Any:
    """Returns texts as moments in UTC, a Series; those that are none in ISO 8601 as missing ones."""
    import numpy as np
    import pandas as pd

    cleaned = text.astype("string").str.replace(_UTC, "Z", regex=True)
    # Apart, because pandas gives a moment without a zone the offset of the row before it.
    zoned = cleaned.str.contains(_ZONE, regex=True, na=False)
    instants, plainly = (
        pd.to_datetime(texts, utc=True, format="ISO8601", errors="coerce")
        for texts in (cleaned.where(zoned), cleaned.mask(zoned))
    )
    instants: Any = instants.fillna(plainly)
    if not (left := cleaned.notna() & instants.isna()).any():
        return instants
    # Nanoseconds reach from 1677 to 2262; the microseconds of the contract reach further.
    far = np.array([_naive(moment) for moment in cleaned[left]], "datetime64[us]")
    if np.isnat(far).all():
        return instants
    instants = instants.dt.as_unit("us").copy()
    instants[left] = pd.Series(far).dt.tz_localize("UTC").array
    return instants


def _naive(text: str) -> datetime.datetime | None:
    """A moment without its zone, in UTC."""
    try:
        moment = datetime.datetime.fromisoformat(text)
        return moment if moment.tzinfo is None else moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def require_near(values: pd.Series, name: str) -> None:
    """Raises a TableError for a moment that cannot put rows in order, such as 9999-12-31 for "never"."""
    known: Any = values.dropna()
    if (far := ~known.dt.year.between(FIRST_YEAR, LAST_YEAR)).any():
        raise TableError(
            f"'{name}' holds {known[far].iloc[0].date()}, and rows are put in order from {FIRST_YEAR} to {LAST_YEAR}; "
            "correct it, or leave its row out."
        )


def label(values: pd.Series, positive: str, negative: str) -> pd.Series:
    """Returns 1 for the positive value, 0 for the negative one, and missing; raises a TableError at a third one."""
    import pandas as pd

    text = plain(values)
    third = text.notna() & ~text.isin([positive, negative])
    if third.any():
        raise TableError(f"The label '{values.name}' is '{text[third].iloc[0]}', neither {positive} nor {negative}.")
    return pd.Series(text.map({positive: 1, negative: 0}), index=values.index, name=values.name).astype("Int64")


def class_numbers(values: pd.Series, classes: Sequence[str]) -> pd.Series:
    """Returns the number of each value's class, from 0 on, and missing; raises a TableError at one that is no class."""
    import pandas as pd

    text = plain(values)
    if (other := text.notna() & ~text.isin(classes)).any():
        known = ", ".join(classes)
        raise TableError(f"The label '{values.name}' is '{text[other].iloc[0]}', which is none of the classes {known}.")
    numbers = text.map({name: number for number, name in enumerate(classes)})
    return pd.Series(numbers, index=values.index, name=values.name).astype("Int64")


def plain(values: pd.Series) -> pd.Series:
    """Returns the values as text: whole numbers without a fraction, so that 1.0 is the same category as 1.

    Moments are in UTC, to the microsecond, whatever their resolution and the other ones are.
    """
    import numpy as np
    import pandas as pd

    if isinstance(values.dtype, pd.StringDtype) or values.dtype == object:
        return values.astype("string").str.strip().replace("", pd.NA)
    if values.dtype.kind == "M":
        when: Any = pd.to_datetime(values, utc=True).dt.tz_localize(None)
        text = pd.Series(np.datetime_as_string(when.to_numpy("datetime64[us]")), values.index, "string", values.name)
        return text.mask(values.isna())
    if values.dtype.kind == "f" and (values.dropna() % 1 == 0).all():
        return values.astype("Int64").astype("string")
    return values.astype("string")


def content(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """Returns a name per row: 16 hexadecimal digits of the SHA-256 of its values as text, in any file and order.

    Raises:
        TableError: If the frame lacks one of the columns.
    """
    for name in columns:
        column(frame, name)
    return digests(frame, columns).map(lambda digest: digest.hex()[:16])


def digests(frame: pd.DataFrame, columns: Sequence[str]) -> Any:
    """Returns the SHA-256 of each row's values as text, a Series of bytes."""
    text: Any = frame[list(columns)].apply(plain).fillna("").agg("\x1f".join, axis=1)
    return text.map(lambda row: hashlib.sha256(row.encode()).digest())


def counted(names: pd.Series) -> pd.Series:
    """Returns names that are unique: the second row of a name gets ``-2`` behind it, and so on."""
    count = names.groupby(names).cumcount()
    return names.where(count == 0, names + "-" + (count + 1).astype(str)).astype("string")


def prepare(
    source: Path,
    contract: Path,
    destination: Path,
    *,
    rows: Callable[[pd.DataFrame], pd.DataFrame],
    spans: Callable[[pd.DataFrame], pd.Series],
    code: Sequence[Path],
    progress: Callable[[str], None] | None = None,
) -> Preparation:
    """Writes the spans of a table, and ``preparation.json``, unless they are already there and whole.

    Args:
        source: The table.
        contract: The contract; its columns are what is written.
        destination: The folder of spans; created if missing.
        rows: Makes rows with the columns of the contract from the table.
        spans: Says to which span a row belongs: whole numbers from 1 on.
        code: The files that decide the content besides this module.
        progress: Called with one line per step.

    Raises:
        TableError: If the table is missing or damaged, or cannot be made into the columns of the contract.
        SpanError: If the destination cannot be written, or another process is writing there.
        ContractError: If the contract is not valid, or the rows break it.
    """
    destination = storage.at(destination)
    tell = progress or (lambda line: None)
    if not source.is_file():
        raise TableError(f"There is no table {source}; put it there, and repeat the command.")
    modules = (Path(__file__).with_name(name) for name in ("table.py", "spans.py"))
    decisive = (source, *files(contract), *code, *modules)
    fingerprint = hashlib.sha256("\n".join(map(span_files.file_digest, decisive)).encode()).hexdigest()
    agreed = Contract.load(contract)
    stored = span_files.recorded(Preparation, _SPAN_ROWS[agreed.task], destination, fingerprint)
    if stored is not None:
        tell(f"{len(stored.spans)} spans are already in {destination}")
        return stored
    tell(f"Reading {source.name}")
    frame = rows(read(source))
    known = column(frame, agreed.label).notna()
    frame = frame.loc[known]
    if frame.empty:
        raise TableError(f"There is nothing to learn from: no row of {source} has a label.")
    numbered = spans(frame)
    # All of them are checked before the first one is written.
    parts = {
        int(str(span)): _checked(part, agreed, int(str(span))) for span, part in frame.groupby(numbered, sort=True)
    }
    counts = []
    with span_files.writing(destination) as staging:
        for span, part in parts.items():
            counts.append(_write(part, agreed, destination, span, staging))
            tell(f"Wrote span {span}: {counts[-1].rows:,} rows, {counts[-1].phrase}")
        done = Preparation(destination, source.name, fingerprint, tuple(counts), False, int((~known).sum()))
        span_files.retire(destination, {span.path for span in counts})
        span_files.record(done, destination, staging)
    if done.unlabelled:
        tell(f"Left out {done.unlabelled:,} rows without a label")
    return done


def as_contract(frame: pd.DataFrame, contract: Contract) -> pa.Table:
    """Returns the columns of the contract in their order and types.

    Raises:
        TableError: If a column is missing, or holds values of another type.
    """
    import pyarrow as pa

    schema = span_files.arrow_schema(contract)
    arrays = [
        _array(column(frame, declared.name), declared, schema.field(declared.name).type)
        for declared in contract.columns
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(values: pd.Series, declared: Column, kind: pa.DataType) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    if declared.type == "string":
        return pa.array(plain(values), type=kind, from_pandas=True)
    if declared.type == "timestamp":
        return pa.array(moments(values).dt.floor("us"), type=kind, from_pandas=True)
    converted: Any = numbers(values)
    largest = LARGEST[declared.type]
    if (beyond := converted.abs() > largest).any():
        reaches = f"{converted[beyond].iloc[0]:.3g}, and {declared.type} ends at {largest:.2g}"
        raise TableError(f"Column '{declared.name}' holds {reaches}.")
    if declared.type == "int64" and (np.mod(converted, 1) > 0).any():
        raise TableError(f"Column '{declared.name}' is whole numbers by its contract, and has fractions here.")
    stored = converted.astype({"int64": "Int64", "float32": "float32"}[declared.type])
    return pa.array(stored, type=kind, from_pandas=True)


def _checked(part: pd.DataFrame, contract: Contract, span: int) -> pa.Table:
    rows = as_contract(part, contract)
    span_files.require_conformity(rows, contract, f"span {span}")
    return rows


def _write(rows: pa.Table, contract: Contract, destination: Path, span: int, staging: Path) -> SpanRows:
    digest = span_files.publish(rows, destination, span, staging, FILE_NAME)
    counted = _SPAN_ROWS[contract.task]
    file = span_files.span_file(destination, span, FILE_NAME)
    return counted(span, file, digest, len(rows), **counted.counts(rows.column(contract.label), contract.classes))
