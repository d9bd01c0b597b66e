"""Spans as files: `<base>/span-NNN/*.parquet` or `*.csv`, in a folder or a bucket."""

import hashlib
import io
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tfx.dsl.io import fileio

import storage
from components.span_example_gen.errors import SpanError
from components.span_example_gen.window import QUARANTINE

PARQUET = ".parquet"
CSV = ".csv"

_SPAN_FOLDER = re.compile(r"span-([0-9]+)")
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, order=True)
class SpanFile:
    """One data file of a span; messages and fingerprints use its `name`, the path below the base folder with "/"."""

    span: int
    name: str
    uri: str

    @property
    def is_parquet(self) -> bool:
        """Whether the file is Parquet; it is CSV otherwise."""
        return self.name.endswith(PARQUET)


def list_spans(base: str) -> dict[int, str]:
    """Returns the folder name of every span below `base`, by ascending span number.

    Raises:
        SpanError: If the base folder is not there, or two folders have the same span number.
    """
    folders = [entry for entry in _entries(base) if _SPAN_FOLDER.fullmatch(entry.name) and entry.is_dir()]
    if not folders and not storage.at(base).is_dir():
        raise SpanError(f"The folder of spans {base} does not exist; prepare the data or correct the path.")
    spans: dict[int, str] = {}
    for folder in (entry.name for entry in folders):
        number = int(folder.partition("-")[2])
        if number in spans:
            raise SpanError(f"{spans[number]} and {folder} in {base} are the same span; remove one of them.")
        spans[number] = folder
    return dict(sorted(spans.items()))


def list_quarantined(base: str, folders: Mapping[int, str]) -> list[int]:
    """Returns the numbers, ascending, of the spans that hold the marker of a quarantine."""
    return sorted(span for span, name in folders.items() if (storage.at(base) / name / QUARANTINE).exists())


def list_files(base: str, span: int, folder: str) -> tuple[list[SpanFile], list[str]]:
    """Lists one span; hidden files and files that begin with an underscore are ignored.

    Returns:
        The data files by name, and one sentence per problem: no data file, or an entry that is not one.
    """
    files, problems = [], []
    for entry in (entry.name for entry in _entries(os.path.join(base, folder))):
        if entry.startswith((".", "_")):
            continue
        name = f"{folder}/{entry}"
        if entry.endswith((PARQUET, CSV)):
            files.append(SpanFile(span=span, name=name, uri=os.path.join(base, folder, entry)))
        else:
            problems.append(f"{name} is neither Parquet nor CSV; move it away or give its name a leading underscore")
    if not files and not problems:
        problems.append(f"{folder} holds no Parquet or CSV file")
    return files, problems


def fingerprint(files: Iterable[SpanFile]) -> str:
    """Returns one digest of names, sizes and contents, wherever the folder is and whenever the files were written."""
    return fingerprint_of((file.name, *content(file)) for file in sorted(files))


def fingerprint_of(contents: Iterable[tuple[str, int, str]]) -> str:
    """Returns the same of what `content` has said of each name, in the order of the files."""
    total = hashlib.sha256()
    for name, size, digest in contents:
        total.update(f"{name}\t{size}\t{digest}\n".encode())
    return f"sha256:{total.hexdigest()}"


def content(file: SpanFile) -> tuple[int, str]:
    """Returns how many bytes a file has, and their SHA-256 as hexadecimal digits."""
    with open_file(file) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
        return stream.tell(), digest


def open_file(file: SpanFile) -> io.BufferedReader:
    """Opens a file for random access as a standard binary stream, which is what pyarrow asks for."""
    return cast("io.BufferedReader", storage.at(file.uri).open("rb"))


def create_file(uri: str) -> io.BufferedWriter:
    """Opens a file of an artifact, where TFX keeps them, to be written as a standard binary stream."""
    return io.BufferedWriter(_GFileWriter(uri), buffer_size=_BUFFER_BYTES)


class _GFileWriter(io.RawIOBase):
    def __init__(self, uri: str) -> None:
        super().__init__()
        self._handle = fileio.open(uri, "wb")

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._handle.write(bytes(data))
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


def _entries(folder: str) -> list[Path]:
    try:
        return storage.entries(storage.at(folder))
    except OSError as error:
        raise SpanError(f"The folder of spans {folder} cannot be read: {storage.why(error)}.") from error
