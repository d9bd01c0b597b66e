"""Flightdeck's worker pool: a process of its own, whose workers do the work of Beam's job service."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.beam_settings import Flink
from tests.services import engine
from tests.world import ROOT

pytestmark = pytest.mark.component
# Writes down what a worker has imported, and its process.
ASK = """
import sys, apache_beam, apache_beam.options.pipeline_options
def tell(file):
    import os, sys
    import models
    with open(file, "w") as stream:
        print(os.getpid(), "tensorflow" in sys.modules, models.__doc__, file=stream)
with apache_beam.Pipeline(argv=sys.argv[2:]) as pipeline:
    _ = pipeline | apache_beam.Create([sys.argv[1]]) | apache_beam.Map(tell)
"""


def ask(endpoint: str, pool: str, file: Path) -> list[str]:
    """What a worker of a pool says of itself."""
    arguments = Flink(job_endpoint=endpoint, environment_config=pool).arguments()
    subprocess.run([sys.executable, "-c", ASK, str(file), *arguments], cwd=ROOT, check=True, timeout=120)
    return file.read_text().split()


def test_a_worker_begins_with_everything_imported_and_has_the_code_that_is_on_disk(tmp_path):
    checkout = tmp_path / "checkout"
    left_out = {".git", ".tools", ".venv", "build", "docs", "notebooks", "shared", "tests", "workspace"}
    shutil.copytree(ROOT, checkout, ignore=lambda _, names: left_out & {*names})
    with (
        engine.job_server() as (endpoint, _),
        engine.worker_pool({"PYTHONPATH": str(checkout)}, checkout) as pool,
    ):
        first = ask(endpoint, pool, tmp_path / "first")
        (checkout / "models" / "__init__.py").write_text('"""Changed."""\n')
        second = ask(endpoint, pool, tmp_path / "second")

    assert (first[1], second[1:]) == ("True", ["True", "Changed."])
    assert first[2:] != second[2:]


def test_it_ends_when_it_is_told_to():
    command = [sys.executable, "-m", "flightdeck", "beam", "pool", "--port", str(engine.free_port())]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as pool:
        try:
            assert pool.stdout
            assert pool.stdout.readline().startswith("A worker pool listens on 127.0.0.1:")
            pool.terminate()
            assert pool.wait(timeout=60) == 0
        finally:
            pool.kill()


def test_an_address_in_use_is_one_sentence():
    with engine.worker_pool() as pool:
        command = [sys.executable, "-m", "flightdeck", "beam", "pool", "--port", pool.rpartition(":")[2]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"The address {pool} is in use")
    assert len(done.stderr.splitlines()) == 1
