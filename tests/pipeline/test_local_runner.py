"""The local runner: what it refuses before anything is recorded."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.component
ROOT = Path(__file__).parents[2]
PROCESSES = "--set", "beam.args=[--runner=FnApiRunner, --direct_running_mode=multi_processing]"


def test_worker_processes_are_refused_where_beam_cannot_start_them(small_spans, tmp_path):
    (tmp_path / "new folder").symlink_to(sys.prefix, target_is_directory=True)
    python = tmp_path / "new folder" / "bin" / "python"
    workspace = tmp_path / "workspace"
    places = "--set", f"workspace={workspace}", "--set", f"data.spans={small_spans}"

    told = subprocess.run(
        [python, "-m", "flightdeck", "run", "--window", "1:2", *places, *PROCESSES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert told.returncode == 2
    assert f"cannot start worker processes with {python}, because of the ' ' in its path" in told.stderr
    assert not (workspace / "metadata.sqlite").exists()


def test_they_are_allowed_in_a_folder_whose_name_a_shell_leaves_as_it_is(monkeypatch):
    from pipeline.runners.local import check_workers

    monkeypatch.setattr(sys, "executable", "/home/josé/late_flights-2/.venv/bin/python")
    check_workers(PROCESSES[1:])


def test_a_blank_matters_to_nobody_who_starts_no_processes(monkeypatch):
    from pipeline.runners.local import check_workers

    monkeypatch.setattr(sys, "executable", "/home/new folder/.venv/bin/python")
    check_workers(["--direct_running_mode=in_memory"])
