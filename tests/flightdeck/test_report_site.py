"""``flightdeck report serve``: the process that serves a report."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest
import requests

from tests.flightdeck.conftest import refused
from tests.world import ROOT

pytestmark = pytest.mark.unit


def test_it_serves_the_report_of_a_workspace_until_it_is_told_to_end(tmp_path):
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("all runs")
    command = [sys.executable, "-m", "flightdeck", "report", "serve", "--port", "0", "--json"]
    command += ["--set", f"workspace={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            deadline = time.monotonic() + 60
            while (answer := requests.get(url, timeout=30)).status_code == 503 and time.monotonic() < deadline:
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()

    assert (answer.status_code, answer.text) == (200, "all runs")
    assert process.returncode in (0, -signal.SIGTERM), said


def test_it_needs_neither_tensorflow_nor_the_libraries_that_write_reports():
    # The image `serve` has none of those.
    program = (
        "import sys, flightdeck.__main__, operations.report.hosting\n"
        "print(sorted({'tensorflow', 'tfx', 'jinja2', 'itables', 'vl_convert'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_an_address_that_is_taken_is_one_sentence(flightdeck, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(flightdeck("report", "serve", "--folder", str(tmp_path), "--port", port), "choose another with --port")
