"""Jobs in forked processes: what they return and raise, and what becomes of them when somebody is stopped."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from errors import FlightdeckError
from pipeline.interruption import InterruptedRunError
from pipeline.runners import fork_server
from pipeline.runners.fork_server import LIGHT, Job, LostJobError
from tests.world import ROOT

pytestmark = pytest.mark.component
_ASKER = """
import sys, time
from pipeline.runners.fork_server import LIGHT, Job
from tests.pipeline import test_fork_server
job = Job(LIGHT, test_fork_server.slept)
print(Job(LIGHT, test_fork_server.relatives).result(), flush=True)
time.sleep(600)
"""


def loaded() -> list[str]:
    print("a job writes where its asker does")
    return [
        name for name in ("tensorflow", "apache_beam", "tfx.orchestration.portable.launcher") if sys.modules.get(name)
    ]


def refused() -> None:
    raise FlightdeckError("It is refused.")


def broken() -> None:
    raise type("Unknown", (Exception,), {})("something else")


def killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def slept(begun: Path | None = None) -> str:
    try:
        if begun:
            begun.touch()
        time.sleep(600)
    except InterruptedRunError:
        return "cleaned up"
    return "slept"


def relatives() -> tuple[int, int]:
    return os.getppid(), os.getpid()


def worked() -> int:
    while time.process_time() < 0.5:
        pass
    return os.getppid()


def variable() -> str | None:
    return os.environ.get("FLIGHTDECK_TEST")


def test_tfx_is_loaded_without_tensorflow_and_beam_and_the_output_is_the_askers(capfd):
    assert Job(LIGHT, loaded).result() == ["tfx.orchestration.portable.launcher"]
    assert "a job writes where its asker does" in capfd.readouterr().out


def test_the_environment_is_that_of_the_moment(monkeypatch):
    assert Job(LIGHT, variable).result() is None
    monkeypatch.setenv("FLIGHTDECK_TEST", "now")
    assert Job(LIGHT, variable).result() == "now"


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (refused, FlightdeckError, "It is refused."),
        (broken, RuntimeError, "Unknown: something else"),
        (killed, LostJobError, "its process was killed; had the machine too little memory"),
    ],
)
def test_what_a_job_raises_is_raised_where_its_result_is_awaited(function, error, text):
    with pytest.raises(error, match=text):
        Job(LIGHT, function).result()


@pytest.mark.parametrize("times", [1, 2])
def test_a_job_that_is_stopped_can_clean_up(times, tmp_path):
    job = Job(LIGHT, slept, tmp_path / "begun")
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    for _ in range(times):
        job.stop()

    assert job.result() == "cleaned up"


def test_a_server_that_died_is_replaced():
    server, _ = Job(LIGHT, relatives).result()
    os.kill(server, signal.SIGKILL)
    fork_server._servers[LIGHT][1].wait(timeout=30)

    assert Job(LIGHT, relatives).result()[0] != server


def test_threads_may_ask_at_once():
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: Job(LIGHT, relatives).result(), range(32)))

    assert len(set(answers)) == 32
    assert len({server for server, _ in answers}) == 1


def test_a_server_ends_if_its_asker_dies_in_the_middle_of_a_request():
    asker, server = socket.socketpair()
    asker.send(b"half")
    asker.close()

    with server, pytest.raises(SystemExit):
        fork_server._read(server, 8)


def test_the_cpu_seconds_of_jobs_that_have_ended_are_those_of_the_server():
    server = psutil.Process(Job(LIGHT, worked).result())
    Job(LIGHT, worked).result()

    taken = server.cpu_times()
    assert taken.children_user + taken.children_system > 0.4


def test_nothing_outlives_an_asker_that_was_killed():
    with subprocess.Popen([sys.executable, "-c", _ASKER], cwd=ROOT, stdout=subprocess.PIPE, text=True) as asker:
        server = psutil.Process(eval(asker.stdout.readline())[0])
        family = [server, *server.children()]
        asker.kill()

    assert len(family) >= 2
    assert psutil.wait_procs(family, timeout=30)[1] == []
