"""The packages of requirements/serve.txt alone: the service answers, and the ledger and the registry are read."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import serving
from tests.world import ROOT, World

pytestmark = pytest.mark.proof
ROWS = [small_model.EXAMPLE, {"amount": -2.5, "colour": "green"}, {"amount": 7.0, "count": 40, "colour": "none"}]


@pytest.fixture(scope="module")
def python(tmp_path_factory) -> Path:
    """The Python of an environment with exactly those packages."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "uv" / "bin" / "uv")
    environment = tmp_path_factory.mktemp("serve") / "environment"
    python = environment / "bin" / "python"
    lock = str(ROOT / "requirements" / "serve.txt")
    subprocess.run([uv, "venv", "--quiet", "--python", "3.11", environment], check=True)
    subprocess.run([uv, "pip", "sync", "--quiet", "--python", python, "--require-hashes", lock], check=True)
    subprocess.run([ROOT / "requirements" / "link.sh", environment], check=True)
    return python


def test_there_is_no_tfx_and_no_beam(python):
    looked_for = "import importlib.util as u; print([n for n in ('tfx', 'apache_beam', 'kfp') if u.find_spec(n)])"
    assert subprocess.run([python, "-c", looked_for], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_answers_are_those_of_the_full_environment(python, models, tmp_path):
    small_model.push(models[0.0], tmp_path / "versions", 7)
    command = [python, "-m", "operations.serving", "--models", tmp_path / "versions", "--name", "shop", "--stop-on-eof"]
    with (
        serving(tmp_path / "versions", "shop", tmp_path / "log") as live,
        (tmp_path / "other-log").open("w") as log,
        subprocess.Popen(
            [*command, "--port=0", "--grpc-port=0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            other = json.loads(process.stdout.readline() or "{}")
            assert other, (tmp_path / "other-log").read_text()
            answers = [
                httpx.post(f"{url}/v1/models/shop:predict", json={"instances": ROWS}, timeout=30).raise_for_status()
                for url in (live.url, other["url"])
            ]
        finally:
            process.stdin.close()
    assert answers[0].content == answers[1].content
    assert len(answers[0].json()["predictions"]) == len(ROWS)


@pytest.fixture(scope="module")
def world(small_spans, tmp_path_factory) -> World:
    world = World(tmp_path_factory.mktemp("world") / "workspace", small_spans)
    assert world.run()["outcome"] == "pushed"
    return world


@pytest.mark.parametrize("asked", [("runs", "list"), ("runs", "best"), ("models", "list")])
def test_the_ledger_and_the_registry_answer_the_same(python, world, asked):
    command = [python.with_name("flightdeck"), *asked, "--json", *world.options()]
    there = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert there.returncode == 0, there.stderr
    assert json.loads(there.stdout) == world.json(*asked)
