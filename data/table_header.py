"""Why a table cannot be read, where the reason is in its first line: separators, and names of columns."""

from __future__ import annotations

import csv
import zipfile
import zlib
from pathlib import Path

_SEPARATORS = {";": "';'", "\t": "tabs"}


def problem(path: Path) -> str:
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


def first_line(path: Path) -> tuple[str, str]:
    """The first line of a CSV, and the character that ends its lines.

    That is a line feed, before which Windows writes a carriage return; or a carriage return alone, as old programs for
    the Macintosh write it. In a file with line feeds, one alone is part of a text.
    """
    import pandas as pd

    # By pandas, which knows archives, as the one field that it is for a separator that no text has.
    options: dict = {"header": None, "nrows": 1, "dtype": "string", "keep_default_na": False, "lineterminator": "\n"}
    line = str(pd.read_csv(path, sep="\x1f", quoting=csv.QUOTE_NONE, **options).iloc[0, 0]).strip("\r")
    first, carriage_return, _ = line.partition("\r")
    return first, carriage_return or "\n"


def _of_csv(path: Path) -> tuple[str, list[str]]:
    """The first line, and the names in it."""
    line, _ = first_line(path)
    return line, [name.strip() for name in next(csv.reader([line], skipinitialspace=True))]


def _of_parquet(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    return [str(name).strip() for name in pq.read_schema(path).names]
