"""Span files: one Parquet file per span, in the types of the contract, written whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import storage
from data.contract import Column, Contract, ContractError
from errors import FlightdeckError

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = "flights.parquet"
ROW_GROUP_ROWS = 16_384
_STAGING = ".preparing"
_RECORD = "preparation.json"
_KNOWN = "known"  # which record there was when the writing began

Kind = TypeVar("Kind")


class SpanError(FlightdeckError):
    """Spans that cannot be read or written where the user asked."""


@dataclass(frozen=True)
class WrittenSpan:
    """One span as it was written: its number, its Parquet file and the SHA-256 digest of that."""

    span: int
    path: Path
    sha256: str


@dataclass(frozen=True)
class Preparation:
    """What a preparation wrote, or found already written.

    Attributes:
        path: The folder of spans.
        source: What the rows were made from.
        fingerprint: SHA-256 digest of all that decides the content: the source, the code, the contract.
        skipped: Whether everything was already in place and nothing was written.
    """

    path: Path
    source: str
    fingerprint: str
    spans: tuple[Any, ...]
    skipped: bool


def span_file(folder: Path, span: int, name: str = FILE_NAME) -> Path:
    """Returns e.g. ``<folder>/span-001/flights.parquet``."""
    return folder / f"span-{span:03d}" / name


def folders(folder: Path) -> dict[int, Path]:
    """Returns the folder of each span, by ascending number; raises an OSError if they cannot be listed."""
    matches = ((re.fullmatch(r"span-([0-9]+)", entry.name), entry) for entry in storage.entries(folder))
    return dict(sorted((int(match[1]), entry) for match, entry in matches if match and entry.is_dir()))


def arrow_schema(contract: Contract) -> pa.Schema:
    """Returns the Parquet schema: all columns of the contract, in its order, nullable where it says so."""
    import pyarrow as pa

    types = {
        "int64": pa.int64(),
        "float32": pa.float32(),
        "string": pa.string(),
        "timestamp": pa.timestamp("us", tz="UTC"),
    }
    return pa.schema([pa.field(column.name, types[column.type], column.nullable) for column in contract.columns])


def require_conformity(table: pa.Table, contract: Contract, where: str) -> None:
    """Raises a ContractError at the first column with a value that is missing, out of range or unlisted against it."""
    for column in contract.columns:
        values = table.column(column.name)
        bounds = column.range
        if contract.classes and column.role == "label":
            bounds = (0, len(contract.classes) - 1)
        problem = _missing(values, column) or _outside(values, bounds) or _unlisted(values, column)
        if problem:
            remedy = "correct the data, or the contract if that is wrong"
            raise ContractError(f"Column '{column.name}' of {where} {problem}; {remedy}.")


def _missing(values: pa.ChunkedArray, column: Column) -> str | None:
    if column.nullable or not values.null_count:
        return None
    return f"has {values.null_count} missing values but may have none"


def _outside(values: pa.ChunkedArray, bounds: tuple[float, float] | None) -> str | None:
    import pyarrow.compute as pc

    if bounds is None or values.null_count == len(values):
        return None
    low, high = pc.min(values).as_py(), pc.max(values).as_py()
    if low >= bounds[0] and high <= bounds[1]:
        return None
    return f"reaches from {low:g} to {high:g}, outside its range {bounds[0]:g} to {bounds[1]:g}"


def _unlisted(values: pa.ChunkedArray, column: Column) -> str | None:
    if column.values is None or column.open:
        return None
    unlisted = sorted({value for value in values.unique().to_pylist() if value is not None} - set(column.values))
    return f"has the unlisted category '{unlisted[0]}'" if unlisted else None


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """Creates and locks a folder of spans, and yields a staging folder inside it, from which publishing is one rename.

    It is removed at the end, as are the remains of a writer that was killed. A folder in a bucket cannot be locked; the
    staging folder is on this machine then, and of two writers at a time `record` tells the later one.

    Raises:
        SpanError: If the folder cannot be written, or another process is writing there.
    """
    if storage.is_bucket(folder):
        with tempfile.TemporaryDirectory() as temporary:
            try:
                (Path(temporary) / _KNOWN).write_text(storage.state(folder / _RECORD) or "")
                yield Path(temporary)
            except OSError as error:
                raise _unwritable(folder, error) from error
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        _lock(handle, folder)
        staging = folder / _STAGING
        try:
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            yield staging
        except OSError as error:
            raise _unwritable(folder, error) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    finally:
        os.close(handle)


def read(folder: Path, span: int) -> pa.Table:
    """Reads the Parquet files of a span, by name; a SpanError says if it is missing or damaged, or columns differ."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    home = span_file(folder, span).parent
    tables = []
    for path in (entry for entry in storage.entries(home) if entry.suffix == ".parquet"):
        try:
            with storage.opened(path) as file:
                tables.append(pq.ParquetFile(file).read())
        except (OSError, pa.ArrowException) as error:
            raise SpanError(f"Span {span} cannot be read: {path} is not whole. Prepare the data again.") from error
    if not tables:
        raise SpanError(f"Span {span} is not in {folder}: there is no Parquet file in {home}. Prepare the data first.")
    try:
        return pa.concat_tables(tables)
    except pa.ArrowInvalid as error:
        raise SpanError(f"Span {span} cannot be read: the files in {home} do not have the same columns.") from error


def publish(table: pa.Table, folder: Path, span: int, staging: Path, name: str = FILE_NAME) -> str:
    """Writes a span in one step, and returns its SHA-256 digest: the same table always gives the same bytes.

    A file that already has the same bytes is left alone, so that caches keyed on its age stay valid.
    """
    import pyarrow.parquet as pq

    target = span_file(folder, span, name)
    staged = span_file(staging, span, name)
    staged.parent.mkdir()
    pq.write_table(table, staged, row_group_size=ROW_GROUP_ROWS, compression="zstd")
    digest = file_digest(staged)
    if target.is_file() and file_digest(target) == digest:
        return digest
    if storage.is_bucket(target) or target.parent.is_dir():
        storage.publish(staged, target)
    else:
        storage.publish(staged.parent, target.parent)
    return digest


def recorded(kind: Callable[..., Kind], span: Callable[..., Any], destination: Path, fingerprint: str) -> Kind | None:
    """Returns the recorded preparation if it is of this source and all of its files are as it left them."""
    try:
        record = json.loads((destination / _RECORD).read_text(encoding="utf-8"))
        if record["fingerprint"] != fingerprint:
            return None
        spans = tuple(span(path=destination / entry.pop("file"), **entry) for entry in record.pop("spans"))
        if any(file_digest(span.path) != span.sha256 for span in spans):
            return None
        return kind(path=destination, spans=spans, skipped=True, **record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # No record, or one that was damaged or written by another version: prepare again.
        return None


def record(preparation: Preparation, destination: Path, staging: Path) -> None:
    """Writes the record of a preparation into the folder of its spans.

    Raises:
        SpanError: If somebody else has written spans there meanwhile, which only a bucket allows.
    """
    content: dict[str, Any] = asdict(preparation)
    del content["path"], content["skipped"]
    for entry in content["spans"]:
        # Relative, so that the folder can be moved or mounted elsewhere.
        entry["file"] = entry.pop("path").relative_to(destination).as_posix()
    text = json.dumps(content, indent=2) + "\n"
    if not storage.is_bucket(destination):
        storage.write(destination / _RECORD, text)
        return
    try:
        storage.replace(destination / _RECORD, text, (staging / _KNOWN).read_text() or None)
    except storage.ChangedError as error:
        message = f"Another process has written spans to {destination} meanwhile; prepare the data again."
        raise SpanError(message) from error


def retire(destination: Path, kept: set[Path]) -> None:
    """Removes what the last preparation wrote and this one did not: a span of its own would stay the newest for ever.

    A file that somebody else has changed since, or put there, stays.
    """
    try:
        entries = json.loads((destination / _RECORD).read_text(encoding="utf-8"))["spans"]
        old = {destination / entry["file"]: entry["sha256"] for entry in entries}
    except (OSError, ValueError, KeyError, TypeError):
        return
    for path, digest in old.items():
        if path not in kept and path.is_file() and file_digest(path) == digest:
            path.unlink()
            if not storage.is_bucket(path):
                with contextlib.suppress(OSError):  # It holds files that are not ours.
                    path.parent.rmdir()


def file_digest(path: Path) -> str:
    """Returns the SHA-256 digest, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lock(handle: int, folder: Path) -> None:
    # A lock on the folder itself leaves no lock file behind and ends with the process, however it ends.
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        message = f"Another process is writing spans to {folder}; wait for it to finish, or choose another folder."
        raise SpanError(message) from error
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> SpanError:
    reason = storage.why(error)
    return SpanError(f"Cannot write spans to {folder}: {reason}. Choose a folder you may write to, with 50 MB free.")
