"""The pipeline of two lines, on a real job service and worker pool in processes of their own, set up well and badly."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pipeline.beam_settings import Flink
from tests.services import engine
from tests.world import ROOT

pytestmark = pytest.mark.component
# Each starts processes that import TensorFlow; what they have in common is tested with the others.
slow = pytest.mark.proof
PACKAGES = Path(next(path for path in sys.path if path.endswith("site-packages")))
# A Python that has the packages, but does not know of this checkout, which only the environment's own Python does.
BARE = getattr(sys, "_base_executable", sys.executable)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with engine.job_server() as (endpoint, _):
        yield endpoint


@pytest.fixture
def check(server, tmp_path):
    """`flightdeck beam check` with a pool, in a process of its own: exit code, and all that it prints."""

    def run(pool: str, *options: str, endpoint: str = server, workspace: str = str(tmp_path), cwd: Path = ROOT):
        settings = (f"workspace={workspace}", *engine.settings(endpoint, pool))
        words = [word for setting in settings for word in ("--set", setting)]
        command = [sys.executable, "-m", "flightdeck", "beam", "check", *words, *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
        return done.returncode, (done.stdout + done.stderr).strip()

    return run


def refused(answer: tuple[int, str]) -> str:
    code, said = answer
    assert code == 2, said
    assert len(said.splitlines()) == 1
    return said


def test_an_engine_that_works_tells_how_many_workers_answered_and_leaves_nothing_behind(check, tmp_path):
    with engine.worker_pool() as pool:
        code, said = check(pool)

    assert (code, said.partition(" of its workers answered")[0]) == (0, "The engine flink works: 2"), said
    assert list(tmp_path.iterdir()) == []


def test_no_job_server_or_something_else_there_is_one_sentence(check, server):
    nowhere = f"127.0.0.1:{engine.free_port()}"
    assert refused(check(server, endpoint=nowhere)).startswith(f"No job server answers at {nowhere} (")
    with engine.worker_pool() as pool:
        assert refused(check(pool, endpoint=pool)).startswith(f"What listens at {pool} is no Beam job server")


def test_no_worker_pool_is_one_sentence(check):
    nowhere = f"127.0.0.1:{engine.free_port()}"
    assert refused(check(nowhere)).startswith(f"No worker pool answers at {nowhere}: start one beside each TaskManager")


@slow
def test_workers_without_our_code_or_with_other_code_are_one_sentence(check, tmp_path):
    with engine.beam_worker_pool({"PYTHONPATH": str(PACKAGES)}, BARE) as pool:
        assert refused(check(pool)).startswith("A worker cannot import pipeline: give the workers Flightdeck's image")
    other = tmp_path / "checkout"
    shutil.copytree(ROOT, other, ignore=lambda _, names: {"workspace", "build", "shared", ".venv", ".git"} & {*names})
    (other / "components" / "statistics.py").open("a").write("\n")
    with engine.beam_worker_pool({"PYTHONPATH": f"{other}{os.pathsep}{PACKAGES}"}, BARE) as pool:
        said = refused(check(pool))
    assert "has other code than this, components/statistics.py first of 1 files" in said


@slow
def test_a_worker_with_another_beam_is_one_sentence(check, tmp_path):
    """A copy of Beam that says it is another version, as that one would."""
    beam = tmp_path / "apache_beam"
    beam.mkdir()
    for part in (PACKAGES / "apache_beam").iterdir():
        if part.name != "version.py":
            (beam / part.name).symlink_to(part)
    (beam / "version.py").write_text("__version__ = '2.70.0'\n")
    with engine.beam_worker_pool({"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}{os.pathsep}{PACKAGES}"}, BARE) as pool:
        said = refused(check(pool))
    assert said.startswith("The workers have Beam 2.70.0 for Python 3.")


def test_a_workspace_that_the_worker_does_not_see_is_one_sentence(check, tmp_path):
    """It is named so that each process finds its own."""
    for name in ("ours", "theirs"):
        (tmp_path / name / "workspace").mkdir(parents=True)
    with engine.worker_pool(folder=tmp_path / "theirs") as pool:
        said = refused(check(pool, workspace="/proc/self/cwd/workspace", cwd=tmp_path / "ours"))
    assert said.startswith("The workspace is not shared: the worker on ")


@slow
def test_a_pool_that_is_shared_is_one_sentence(check):
    """Two job services with one pool: like two TaskManagers, both call their first worker alike."""
    with engine.worker_pool() as pool, engine.job_server() as (endpoint, _), engine.job_server() as (other, _):
        arguments = Flink(job_endpoint=other, environment_config=pool, parallelism=2).arguments()
        program = f"import time, apache_beam\nwith apache_beam.Pipeline(argv={list(arguments)}) as pipeline:\n"
        program += " _ = pipeline | apache_beam.Create([600]) | apache_beam.Map(time.sleep)"
        holder = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.DEVNULL)
        wait_for_workers(pool)
        try:
            said = refused(check(pool, endpoint=endpoint))
        finally:
            holder.kill()
            holder.wait()
    assert "serves two TaskManagers, or two jobs, which both call a worker " in said


@slow
def test_an_engine_that_never_answers_is_given_up(check, tmp_path):
    """Its workers cannot start at all, which Beam's job service waits for."""
    broken = tmp_path / "bin" / "python"
    broken.parent.mkdir()
    broken.write_text(f'#!/bin/sh\ncase "$*" in *SdkHarness*) exit 1;; esac\nexec "{sys.executable}" "$@"\n')
    broken.chmod(0o755)
    with engine.beam_worker_pool(python=broken) as pool:
        said = refused(check(pool, "--timeout", "20"))
    assert said.startswith("The engine did not do two lines of work within 20 s; its job was cancelled:")


def wait_for_workers(pool: str) -> None:
    """Until a pool has started workers."""
    words, deadline = {"pool", "--port", pool.rpartition(":")[2]}, time.monotonic() + 120
    pools = [process for process in psutil.process_iter(["cmdline"]) if words <= {*(process.info["cmdline"] or ())}]
    while not any(server.children() for process in pools for server in process.children()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
