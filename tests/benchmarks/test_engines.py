"""The page of the engines, made from figures that are as simple as their straight lines."""

import json
import subprocess
import sys

import psutil
import pytest

from benchmarks import engines, engines_page, pipeline

pytestmark = pytest.mark.unit
MACHINE = {"cores": 2, "processor": "a chip", "memory_gb": 24.2, "commit": "abc", "date": "2026-01-02"}
# Engine -> seconds of no rows, and of a thousand.
COSTS = {"local": (1.0, 4.0), "1": (3.0, 6.0), "2": (3.0, 4.0)}


def run(fixed: float, per_thousand: float, thousands: int) -> dict:
    node = {"cpu_seconds": 1.0, "peak_mb": 500.0 + 1024 * thousands}
    return {
        "seconds": 60.0,
        "cpu_seconds": 40.0,
        "engine_cpu_seconds": 2.0,
        "together_mb": 2400.0,
        "rows": {"train": 900 * thousands, "eval": 100 * thousands},
        "nodes": {
            "StatisticsGen": {**node, "seconds": fixed + per_thousand * thousands},
            "Trainer": {**node, "seconds": 60.0 * thousands},
        },
    }


@pytest.fixture
def document() -> dict:
    sizes = {str(size): {engine: run(*taken, size) for engine, taken in COSTS.items()} for size in (1, 4, 16)}
    return {"machine": MACHINE, "sizes": sizes}


def test_the_page_says_when_an_engine_pays_and_what_the_largest_job_would_take(document):
    page = engines_page.page(document)

    assert "| 16,000 | local | 65.0 | 42.0 | 2,400 |" in page
    assert "| StatisticsGen | 65.0, 1.0 | 99.0, 3.0 | 67.0, 3.0 |" in page
    assert "The second one, on a core of its own, gains 50% of what it could." in page
    # 6 s per thousand rows of one worker: 4 of two, 2.4 of four, 0.71 of sixteen; 2 s more than here at no rows.
    assert "| 2 | never |\n| 4 | 1,250 |\n| 16 | 607 |" in page
    assert "| StatisticsGen | 400,001 | 70,591 |" in page
    assert "It keeps the transformed rows in memory, 1000.00 GB for each million" in page
    assert "on 2 cores (a chip) with 24 GB, commit `abc`" in " ".join(page.split())


def test_the_page_shows_what_was_measured():
    docs = pipeline.ROOT / "docs"
    assert (docs / "engines.md").read_text() == engines_page.page(json.loads((docs / "engines.json").read_text()))


def test_what_is_written_can_be_drawn_again(document, tmp_path):
    (tmp_path / "assets").mkdir()
    engines_page.write(document, tmp_path)

    assert json.loads((tmp_path / "engines.json").read_text()) == document
    assert (tmp_path / "engines.md").read_text() == engines_page.page(document)
    drawn = {(row["engine"], row["flights"]): row["seconds"] for row in engines_page.plot(document).data.values}
    assert drawn["1 worker", 4000] == 27.0
    assert (tmp_path / "assets" / "engines.svg").read_text().startswith("<svg")


def test_cpu_seconds_include_those_of_processes_that_have_ended():
    program = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'sum(range(10**7))']); print(); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        parent = psutil.Process(process.pid)
        taken, own = engines.cpu_seconds([parent]), sum(parent.cpu_times()[:2])
        process.stdin.close()

    assert taken > own + 0.05
