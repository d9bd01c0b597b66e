"""Months drawn anew: as large as asked for, valid, no copies, the same each time; and the page about runs on them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks import growth, growth_page
from data import spans
from data.contract import Contract
from data.prepare import CONTRACT

pytestmark = pytest.mark.unit

TIMES, SPAN = 3, 2


@pytest.fixture(scope="module")
def contract() -> Contract:
    return Contract.load(CONTRACT)


@pytest.fixture(scope="module")
def drawn(small_spans: Path, contract: Contract, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    growth.resample(small_spans, folder, contract, TIMES, seed=1)
    return folder


@pytest.fixture(scope="module")
def months(small_spans, drawn):
    return spans.read(small_spans, SPAN), spans.read(drawn, SPAN)


def test_every_span_grows_and_keeps_its_types_and_its_order(small_spans, drawn, months, contract):
    assert {path.name for path in drawn.glob("span-*")} == {path.name for path in small_spans.glob("span-*")}
    before, after = months
    assert after.schema == spans.arrow_schema(contract)
    assert len(after) == TIMES * len(before)
    original = [key.split("#")[0] for key in after["flight_id"].to_pylist()]
    order = {key: number for number, key in enumerate(before["flight_id"].to_pylist())}
    assert sorted(original, key=order.__getitem__) == original


def test_ids_are_unique_and_rows_drawn_twice_are_not_alike(months, contract):
    rows = months[1].to_pandas()
    assert rows["flight_id"].is_unique
    assert not rows[list(contract.ingested())].duplicated().any()


def test_features_stay_close_and_all_else_stays_as_it_is(months, contract):
    before, after = (table.to_pandas() for table in months)
    before = before.set_index("flight_id").loc[after.pop("flight_id").str.split("#").str[0]].reset_index(drop=True)
    for column in contract.columns[1:]:
        old, new = before[column.name], after[column.name]
        assert (old.isna() == new.isna()).all(), column.name
        if column.role == "feature" and column.type in ("int64", "float32"):
            assert new.dropna().between(old.min(), old.max()).all(), column.name
            assert np.nanstd(new - old) <= 0.05 * np.nanstd(old) + 1e-6, column.name
        else:
            assert old.equals(new), column.name


def test_a_seed_gives_the_same_bytes_and_another_one_does_not(small_spans, drawn, contract, tmp_path):
    digests = set()
    for seed in (1, 2):
        growth.resample(small_spans, tmp_path / str(seed), contract, TIMES, seed)
        digests.add(spans.file_digest(spans.span_file(tmp_path / str(seed), SPAN)))
    assert len(digests) == 2
    assert spans.file_digest(spans.span_file(drawn, SPAN)) in digests


def figures(times: int) -> dict:
    node = {"seconds": 2.0, "cpu_seconds": 1.5 * times, "peak_mb": 1000.0 + times}
    return {
        "seconds": 20.0 + times,
        "cpu_seconds": 30.0 * times,
        "peak_mb": 1200.0,
        "together_mb": 2400.0,
        "rows": {"train": 900 * times, "eval": 100 * times},
        "metrics": {"auc": 0.7},
        "nodes": {"Trainer": node},
    }


def test_the_section_shows_totals_and_nodes_by_size():
    machine = {"cores": 2, "processor": "a chip", "memory_gb": 24.2, "commit": "abc", "date": "2026-01-02"}
    document = {"machine": machine, "sizes": {str(times): figures(times) for times in (1, 4)}}
    section = growth_page.section(document)
    assert "| 4 | 4,000 | 24.0 | 120.0 | 30000.0 | 1,200 | 2,400 | 0.7000 |" in section
    assert "| Trainer | 1.5 | 6.0 | 1,001 | 1,004 |" in section
    assert "2 cores (a chip) with 24 GB, commit `abc`" in section
    lines = {
        row["line"]: row[unit]
        for chart, unit in zip(growth_page.plot(document).hconcat, ("seconds", "MB"), strict=True)
        for row in chart.data.values
        if row["flights"] == 4000
    }
    assert (lines["linear"], lines["wall"], lines["all processes"]) == (84.0, 24.0, 2400.0)
