"""`flightdeck serve` as a user meets it."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.flightdeck.conftest import refused
from tests.operations.serving import small_model
from tests.operations.serving.live_server import wait_for
from tests.world import ROOT

pytestmark = pytest.mark.e2e

FLIGHTDECK = [sys.executable, "-m", "flightdeck"]


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [("workspace={}", "There is no folder of models"), ("push.destination={}", "There is no version of a model")],
)
def test_without_a_version_it_says_how_to_get_one(flightdeck, tmp_path, setting, sentence):
    answer = flightdeck("serve", "--port", "0", "--grpc-port", "0", "--set", setting.format(tmp_path))

    refused(answer, sentence)
    assert answer[2].rstrip().endswith("flightdeck run")


def test_it_tells_its_addresses_and_a_request_that_works(tmp_path):
    small_model.push(small_model.write(tmp_path / "model"), tmp_path / "versions", 4)
    command = [*FLIGHTDECK, "serve", "--port", "0", "--grpc-port", "0"]
    command += ["--set", f"push.destination={tmp_path}/versions", "--set", f"workspace={tmp_path}/workspace"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            shown = "".join(iter(process.stdout.readline, "Ctrl+C ends it.\n"))
            assert shown.startswith("Version 4 of "), (tmp_path / "log").read_text()
            assert "no authentication" not in shown
            port = re.search(r"http://127\.0\.0\.1:(\d+)/metrics", shown)[1]
            listening = Path(f"/proc/{process.pid}/net/tcp").read_text()
            # 0A is LISTEN, and 0100007F is 127.0.0.1: nobody else can reach it.
            (local,) = re.findall(rf" (\w{{8}}):{int(port):04X} 00000000:0000 0A", listening)
            assert local == "0100007F"
            line = next(line for line in shown.splitlines() if line.strip().startswith("curl"))
            _, _, body, url = shlex.split(line)
            assert json.loads(body) == {"instances": [small_model.EXAMPLE]}
            request = urllib.request.Request(url, body.encode(), {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=60) as answer:
                ((probability,),) = json.load(answer)["predictions"]
            assert probability == pytest.approx(small_model.probability(0.0, small_model.EXAMPLE), abs=1e-6)
            # What it did, and nothing of what TensorFlow says about a machine without a GPU.
            for line in (tmp_path / "log").read_text().splitlines():
                assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO ", line), line
            (tmp_path / "versions" / "5").mkdir()
            (tmp_path / "versions" / "5" / "saved_model.pb").write_bytes(b"not a model")
            alerts = tmp_path / "workspace" / "alerts" / "alerts.jsonl"
            wait_for(lambda: alerts.exists() and alerts.read_text().endswith("\n"))
            alert = json.loads(alerts.read_text().splitlines()[0])
            assert (alert["severity"], alert["source"]) == ("critical", "serve")
            assert "version 5 cannot be served" in alert["title"]
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
            process.stdout.close()
    import pyarrow.dataset

    payloads = pyarrow.dataset.dataset(tmp_path / "workspace" / "payloads", format="parquet")
    assert payloads.count_rows() == 1
    assert sorted(os.listdir(tmp_path / "workspace")) == ["alerts", "payloads"]
