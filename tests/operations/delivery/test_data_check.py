"""Spans against their contract and schema: real ones fit, and every kind of damage is named."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from components.span_example_gen.errors import SpanError as WindowError
from components.span_example_gen.window import QUARANTINE
from data.schema_diff import SchemaDifference
from flightdeck.settings import read_settings
from operations.delivery.data_check import DataCheck, check
from tests.damaged_spans import damaged
from tests.world import ROOT

pytestmark = pytest.mark.component


def checked(spans: Path, *overrides: str) -> DataCheck:
    return check(read_settings(ROOT / "config" / "small.yaml", [f"data.spans={spans}", *overrides]))


def test_real_spans_fit(small_spans):
    outcome = checked(small_spans)

    assert outcome.fits
    assert outcome.violations == outcome.report.findings == ()
    assert outcome.spans == {"train": [1, 2], "eval": [3]}
    assert outcome.report.splits["train"].examples == 3000
    # What only a person knows is a difference and no failure.
    assert SchemaDifference("distance", "range", "1 to 6000", "any number") in outcome.differences


def test_a_sensor_that_reports_another_unit_breaks_contract_and_schema_and_the_copy_does_not(small_spans, tmp_path):
    spans = damaged(small_spans, tmp_path, "pressure", lambda values: pc.multiply(values, pa.scalar(100, pa.float32())))
    outcome = checked(spans)

    assert not outcome.fits
    (violation,) = outcome.violations
    assert "pressure" in violation
    assert "span 2" in violation
    assert {(finding.column, finding.split) for finding in outcome.report.findings} == {("pressure", "train")}
    # Whatever the gate does with the schema, the contract stays in force.
    assert not checked(spans, "gate.severity=never").fits
    assert checked(damaged(small_spans, tmp_path / "again", "pressure", lambda values: values)).fits


def test_a_value_that_the_contract_allows_and_the_schema_does_not_know_is_found(small_spans, tmp_path):
    def renamed(values: pa.ChunkedArray) -> pa.ChunkedArray:
        return pc.replace_substring_regex(values, "^EWR$", "NWK")

    outcome = checked(damaged(small_spans, tmp_path, "origin", renamed))

    assert not outcome.fits
    assert "NWK" in outcome.report.text() + " ".join(outcome.violations)


@pytest.mark.parametrize(
    ("column", "change", "sentence"),
    [
        ("carrier", None, "In span 2, columns of the contract are missing: carrier."),
        ("distance", lambda values: values.cast(pa.string()), "distance is string, not"),
    ],
)
def test_a_span_of_another_form_is_named_and_the_others_are_examined(small_spans, tmp_path, column, change, sentence):
    outcome = checked(damaged(small_spans, tmp_path, column, change))

    assert not outcome.fits
    assert sentence in outcome.violations[0]
    assert outcome.report.splits["train"].examples == 1500


def test_a_span_in_quarantine_is_left_out_as_a_run_leaves_it_out(small_spans, tmp_path):
    spans = damaged(small_spans, tmp_path, "pressure", lambda values: pc.multiply(values, pa.scalar(100, pa.float32())))
    (spans / "span-002" / QUARANTINE).write_text("The sensor reports another unit.")
    outcome = checked(spans)

    assert outcome.fits
    assert outcome.spans == {"train": [1], "eval": [3]}


def test_a_window_that_is_not_there_is_refused(small_spans):
    with pytest.raises(WindowError, match="window 4:9"):
        checked(small_spans, "data.window=4:9")
