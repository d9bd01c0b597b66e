"""A forked command is a process like one that was started by hand."""

import json
import os
import signal
import subprocess

import pytest

from tests import forked

pytestmark = pytest.mark.component

TELL = """
import json, os, sys
print(json.dumps({
    "name": __name__, "argv": sys.argv[1:], "cwd": os.getcwd(), "given": os.environ.get("GIVEN"),
    "home": os.environ.get("HOME"), "parent": os.getppid(),
    "tensorflow": "tensorflow" in sys.modules,
    "ours": sorted({"components", "data", "flightdeck", "ledger", "models", "operations"} & set(sys.modules)),
}), flush=True)
print("said", file=sys.stderr)
sys.exit(len(sys.argv) + 1)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with programs in it."""
    (tmp_path / "telling.py").write_text(TELL)
    (tmp_path / "waiting.py").write_text("import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
    return tmp_path


def test_it_has_its_own_arguments_folder_environment_streams_and_exit_code(folder):
    done = forked.run("telling", "a", "b c", cwd=folder, env={"GIVEN": "value"})

    seen = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (4, "said\n")
    assert (seen["name"], seen["argv"], seen["cwd"]) == ("__main__", ["a", "b c"], str(folder))
    assert (seen["given"], seen["home"]) == ("value", None)
    assert seen["parent"] != os.getpid()
    assert (seen["tensorflow"], seen["ours"]) == (True, [])  # what is imported already, so that it begins at once


def test_the_code_that_is_there_when_it_starts_is_run(folder):
    forked.run("telling", cwd=folder)
    (folder / "telling.py").write_text("print('changed')")

    assert forked.run("telling", cwd=folder).stdout == "changed\n"


def test_standard_error_goes_where_it_is_sent(folder):
    with (folder / "log").open("w") as log:
        assert forked.Forked("telling", cwd=folder, stderr=log).wait(60) == 2
    assert (folder / "log").read_text() == "said\n"
    merged = forked.Forked("telling", cwd=folder, stderr=subprocess.STDOUT)
    out, err = merged.communicate()
    assert (out.endswith("said\n"), err) == (True, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_ends_it_and_is_its_exit_code(folder, number):
    process = forked.Forked("waiting", cwd=folder)

    assert process.stdout.readline() == "begun\n"
    assert process.poll() is None
    process.send_signal(number)
    # As of any Python: a KeyboardInterrupt that nobody handles ends by the signal.
    assert process.wait(60) == -number
    assert process.poll() == -number


def test_one_that_outlasts_its_time_is_killed(folder):
    with pytest.raises(subprocess.TimeoutExpired):
        forked.Forked("waiting", cwd=folder).wait(0.1)
    assert forked.run("waiting", cwd=folder, timeout=1).returncode == -signal.SIGKILL
