"""The local runner: what it refuses before anything is recorded, and the profiles that it has nodes write."""

import json
import shutil
import subprocess
import sys

import pytest

from data.spans import span_file
from tests.world import ROOT, World

pytestmark = pytest.mark.component
PROCESSES = "--set", "beam.args=[--runner=FnApiRunner, --direct_running_mode=multi_processing]"


def test_worker_processes_are_refused_where_beam_cannot_start_them(small_spans, tmp_path):
    (tmp_path / "new folder").symlink_to(sys.prefix, target_is_directory=True)
    python = tmp_path / "new folder" / "bin" / "python"
    workspace = tmp_path / "workspace"
    places = "--set", f"workspace={workspace}", "--set", f"data.spans={small_spans}"

    command = [python, "-m", "flightdeck", "run", "--window", "1:2", *places, *PROCESSES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)

    assert done.returncode == 2
    assert f"cannot start worker processes with {python}, because of the ' ' in its path" in done.stderr
    assert not (workspace / "metadata.sqlite").exists()


@pytest.mark.parametrize(
    ("python", "beam_args"),
    [
        ("/home/josé/late_flights-2/.venv/bin/python", PROCESSES[1:]),
        ("/home/new folder/.venv/bin/python", ["--direct_running_mode=in_memory"]),
    ],
)
def test_a_folder_that_a_shell_leaves_as_it_is_or_no_process_is_allowed(monkeypatch, python, beam_args):
    from pipeline.runners.local import check_workers

    monkeypatch.setattr(sys, "executable", python)
    check_workers(beam_args)


def test_each_node_that_runs_has_a_profile_also_when_it_fails_and_reused_ones_have_none(small_spans, tmp_path):
    spans = shutil.copytree(small_spans, tmp_path / "spans")
    span_file(spans, 2).write_bytes(b"damaged")
    world = World(tmp_path / "workspace", spans)

    summaries = [json.loads(world.flightdeck("run", "--json", "--profile").stdout) for _ in range(2)]

    for summary in summaries:
        states = {node["node_id"]: node["state"] for node in summary["nodes"]}
        assert states["SpanExampleGen"] == "failed"
        folder = world.workspace / "runs" / summary["run_id"] / "profile"
        ran = {node: str(folder / f"{node}.html") for node, state in states.items() if state != "cached"}
        assert summary["profiles"] == ran
        assert {str(page) for page in folder.iterdir()} == set(ran.values())
    assert [len(summary["profiles"]) for summary in summaries] == [2, 1]
