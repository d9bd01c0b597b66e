"""``flightdeck metrics`` answers Prometheus without TensorFlow; ``flightdeck observe`` says what it lacks."""

import json
import signal
import subprocess
import sys

import pytest
import requests

from tests.flightdeck.conftest import imports_none_of, refused
from tests.world import ROOT

pytestmark = pytest.mark.unit


def test_the_exporter_needs_no_tensorflow(tmp_path):
    done = imports_none_of({"tensorflow", "tfx"}, "metrics", "--once", "--set", f"workspace={tmp_path}")
    assert 'flightdeck_exporter_failed{part="pipeline"} 1.0' in done.stdout


def test_it_answers_until_it_is_told_to_end(tmp_path):
    command = [sys.executable, "-m", "flightdeck", "metrics", "--port", "0", "--json", "--set", f"workspace={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            text = requests.get(f"{url}/metrics", timeout=30).text
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=30)
        finally:
            process.kill()

    assert "flightdeck_exporter_failed" in text
    assert process.returncode == 0
    assert "run the pipeline first" in said


def test_a_trial_without_a_version_is_one_sentence(flightdeck, tmp_path):
    refused(flightdeck("observe", "--set", f"workspace={tmp_path}"), "run the pipeline first")
