"""The usage of a command includes processes that it started, also those that it did not wait for."""

import json
import subprocess
import sys

import pytest

from tests.world import ROOT

pytestmark = pytest.mark.unit

# In a process of its own, which takes in orphans.
MEASURING = """
import atexit, json, subprocess, sys
from pathlib import Path
from benchmarks.processes import measure
# It is not waited for.
atexit.register(subprocess.Popen(["sleep", "600"]).kill)
print(json.dumps(measure([sys.executable, "-c", sys.argv[1]], Path.cwd(), Path(sys.argv[2]))))
"""
# Its child outlives it and works for about a CPU second with 200 MB.
COMMAND = """
import os, time
if os.fork() == 0:
    kept = b"x" * (200 << 20)
    while time.process_time() < 1:
        pass
"""


def test_orphans_are_counted(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURING, COMMAND, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    taken = json.loads(done.stdout)
    assert taken["cpu_seconds"] > 0.9
    assert taken["peak_mb"] > 200
    assert taken["together_mb"] > 150


def test_a_command_that_fails_is_quoted(tmp_path):
    command = "import sys; sys.exit('no spans')"
    done = subprocess.run(
        [sys.executable, "-c", MEASURING, command, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "no spans" in done.stderr
