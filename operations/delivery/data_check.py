"""Whether the data fits its contract and its curated schema, without a run of the pipeline.

The rules are those of the pipeline's own gate, applied to the same window and splits by the same code, so that what
passes here passes there. Statistics are taken in memory, which is an order of magnitude faster than with Beam.
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import storage
from components.span_example_gen.window import QUARANTINE, Window, split_spans
from data import schema_diff, spans
from data.contract import Contract, ContractError
from data.schema_diff import SchemaDifference, diff

if TYPE_CHECKING:
    import pyarrow as pa

    from components.data_gate.report import Report
    from pipeline.settings import Settings


@dataclasses.dataclass(frozen=True)
class DataCheck:
    """What a check found.

    Attributes:
        spans: of each split.
        violations: of the contract, one sentence each.
        report: of the gate.
        differences: between the curated schema and one inferred from this data. They are questions for the owner of
            the schema, and no failure: it may know more than this window shows.
    """

    window: str
    spans: dict[str, list[int]]
    violations: tuple[str, ...]
    report: Report
    differences: tuple[SchemaDifference, ...]

    @property
    def fits(self) -> bool:
        """Whether a run on this data would pass the gate."""
        return not self.violations and not self.report.closed


def check(settings: Settings, progress: Callable[[str], None] | None = None) -> DataCheck:
    """Checks the spans of the settings' window, and tells ``progress`` what goes on.

    Raises:
        SpanError: a span is missing or damaged, or the window has none that is not in quarantine.
        ContractError: the contract itself is wrong.
    """
    say = progress or (lambda _: None)
    say("Loading TensorFlow Data Validation")
    import tensorflow_data_validation as tfdv

    from components.data_gate import findings
    from components.data_gate.report import Report

    folder = storage.at(settings.spans)
    contract = Contract.load(settings.use_case.contract)
    curated = settings.use_case.schema_file
    schema = schema_diff.curated(curated, contract)
    window = Window.parse(settings.data.window)
    known = spans.folders(folder)
    left_out = [number for number, place in known.items() if (place / QUARANTINE).exists()]
    resolved = window.resolve(list(known), str(folder), left_out)
    chosen = split_spans(resolved, settings.data.eval_spans, window.text)
    violations: list[str] = []
    examined, anomalies = {}, []
    statistics: dict[str, Any] = {}
    for split, numbers in chosen.items():
        say(f"Checking {split}: spans {', '.join(map(str, numbers))}")
        tables = []
        for number in numbers:
            table = spans.read(folder, number)
            if problem := _shape_violation(table, contract, f"span {number}"):
                violations.append(problem)  # and nothing else can be said of it
                continue
            tables.append(table)
            try:
                spans.require_conformity(table, contract, f"span {number}")
            except ContractError as error:
                violations.append(str(error))
        if not tables:
            continue
        statistics[split] = _statistics(tables, contract)
        differing = tfdv.validate_statistics(statistics[split], schema)
        examined[split] = findings.examined(statistics[split])
        anomalies += findings.find(split, differing, statistics[split], schema)
    first = next(iter(statistics.values()), None)  # from which SchemaGen infers a schema, too
    return DataCheck(
        window=window.text,
        spans=chosen,
        violations=tuple(violations),
        report=Report.of(settings.gate.severity, examined, anomalies),
        differences=tuple(_differences(curated, first, contract.ignored())) if first is not None else (),
    )


def _shape_violation(table: pa.Table, contract: Contract, where: str) -> str | None:
    wanted = spans.arrow_schema(contract)
    if missing := [name for name in wanted.names if name not in table.column_names]:
        return f"In {where}, columns of the contract are missing: {', '.join(missing)}."
    kinds = [(field.name, table.schema.field(field.name).type, field.type) for field in wanted]
    if wrong := [f"{name} is {kind}, not {declared}" for name, kind, declared in kinds if kind != declared]:
        return f"In {where}, columns are not of the type that the contract declares: {', '.join(wrong)}."
    return None


def _statistics(tables: Sequence[pa.Table], contract: Contract) -> Any:
    """TFDV's statistics of the ingested columns, as tf.Examples would have them."""
    import pyarrow as pa
    import tensorflow_data_validation as tfdv
    from tensorflow_data_validation.statistics import stats_impl

    from components.examples import as_lists
    from components.span_example_gen.columns import ingested

    columns = contract.ingested()
    batches = [ingested(batch, columns) for table in tables for batch in table.to_batches()]
    (batch,) = pa.Table.from_batches(batches).combine_chunks().to_batches()
    lists = pa.record_batch([as_lists(column) for column in batch.columns], names=batch.schema.names)
    return stats_impl.generate_statistics_in_memory(lists, tfdv.StatsOptions())


def _differences(curated: Path, statistics: Any, ignored: Sequence[str]) -> list[SchemaDifference]:
    import tensorflow_data_validation as tfdv

    with tempfile.TemporaryDirectory() as folder:
        inferred = Path(folder) / "schema.pbtxt"
        tfdv.write_schema_text(tfdv.infer_schema(statistics, infer_feature_shape=True), str(inferred))
        return diff(curated, inferred, ignored)
