"""What one execution is asked to ingest, resolved against the spans that are there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from components.span_example_gen.columns import check_declared
from components.span_example_gen.errors import SpanError, refuse
from components.span_example_gen.inspection import (
    FileSummary,
    all_null_columns,
    column_problems,
    inspect,
    unreadable,
)
from components.span_example_gen.storage import SpanFile, list_files, list_quarantined, list_spans
from components.span_example_gen.window import Window, split_spans

# Keys of execution properties, of artifact properties, or of both.
INPUT_BASE = "input_base"
COLUMNS = "columns"
WINDOW = "window"
EVAL_SPANS = "eval_spans"
IGNORED = "ignored"
PAYLOAD_FORMAT = "payload_format"
EXAMPLES = "examples"
SPAN = "span"
SPANS = "spans"
QUARANTINED = "quarantined"
INPUT_FINGERPRINT = "input_fingerprint"
ROW_COUNTS = "row_counts"

# The values of `payload_format`, as TFX names them.
PARQUET = "FORMAT_PARQUET"
TF_EXAMPLE = "FORMAT_TF_EXAMPLE"


@dataclass(frozen=True)
class Request:
    """The component's parameters.

    Raises:
        SpanError: If the declared columns, the number of evaluation spans or the payload format make no sense.
    """

    input_base: str
    columns: Mapping[str, str]
    window: str
    eval_spans: int
    ignored: tuple[str, ...]
    payload_format: str

    def __post_init__(self) -> None:
        """Checks what can be checked without the files."""
        check_declared(self.columns, self.ignored)
        if self.eval_spans < 0:
            raise SpanError(f"eval_spans is {self.eval_spans}; it must be 0 (one split) or more.")
        if self.payload_format not in (PARQUET, TF_EXAMPLE):
            raise SpanError(f"The payload format {self.payload_format!r} is unknown; use {PARQUET} or {TF_EXAMPLE}.")

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> "Request":
        """Reads the parameters from the execution properties of TFX."""
        columns, ignored = (json.loads(properties[name]) for name in (COLUMNS, IGNORED))
        return cls(
            properties[INPUT_BASE],
            columns,
            properties[WINDOW],
            properties[EVAL_SPANS],
            tuple(ignored),
            properties[PAYLOAD_FORMAT],
        )

    @property
    def where(self) -> str:
        """The window and its folder, for messages."""
        return f"window {self.window} of {self.input_base}"

    @property
    def columnar(self) -> bool:
        """Whether the rows are written in columns rather than as tf.Examples."""
        return self.payload_format == PARQUET

    @property
    def refuses_all_null(self) -> bool:
        """Whether a column without any value is an error: all rows of a small batch for inference may lack one."""
        return self.eval_spans > 0

    def resolve(self) -> "Resolution":
        """Resolves the window and checks every file of it by its footer or header only.

        Raises:
            SpanError: If anything is wrong with the window or its files; one error holds all problems found.
        """
        folders = list_spans(self.input_base)
        left_out = list_quarantined(self.input_base, folders)
        spans = Window.parse(self.window).resolve(list(folders), self.input_base, left_out)
        splits = split_spans(spans, self.eval_spans, self.window)
        problems: list[str] = []
        summaries: list[FileSummary] = []
        for span in spans:
            found, wrong = self._inspect_span(span, folders[span])
            summaries += found
            problems += wrong
        refuse(problems, self.where)
        within = tuple(span for span in left_out if span >= spans[0])
        return Resolution(splits=splits, summaries=tuple(summaries), quarantined=within)

    def _inspect_span(self, span: int, folder: str) -> tuple[list[FileSummary], list[str]]:
        files, problems = list_files(self.input_base, span, folder)
        summaries: list[FileSummary] = []
        for file in files:
            try:
                summaries.append(inspect(file))
            except (pa.ArrowException, OSError) as error:
                problems.append(unreadable(file, error))
        for summary in summaries:
            problems += column_problems(summary, self.columns, self.ignored)
        if not problems and all(summary.is_empty for summary in summaries):
            problems.append(f"{folder} holds no row")
        if self.refuses_all_null and len(summaries) == len(files):
            problems += [all_null(column, folder) for column in all_null_columns(summaries, self.columns)]
        return summaries, problems


@dataclass(frozen=True)
class Resolution:
    """The window as it is on disk: ascending span numbers per split, and all files by span and name.

    `quarantined` are the spans in quarantine that are newer than the window's oldest: what it leaves out.
    """

    splits: Mapping[str, list[int]]
    summaries: tuple[FileSummary, ...]
    quarantined: tuple[int, ...] = ()

    @property
    def spans(self) -> list[int]:
        """The ascending span numbers of the window."""
        return sorted(span for spans in self.splits.values() for span in spans)

    @property
    def files(self) -> list[SpanFile]:
        """All files, by span and name."""
        return [summary.file for summary in self.summaries]


def all_null(column: str, folder: str) -> str:
    """Returns the sentence for a column without any value in a span."""
    return f"the column {column!r} holds no value in all of {folder}"
