"""`make setup` on machines that it is not for, and on one that it is for; the machine is played by programs on PATH."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.world import ROOT

pytestmark = pytest.mark.unit

REQUIREMENTS = ROOT / "requirements"
PLENTY, LITTLE = 99_000_000, 2_000_000  # KiB
PYTHON_3_11 = f'exec "{sys.executable}" -m venv --without-pip .venv'


class Machine:
    """A checkout and a PATH on which some programs are of another machine."""

    def __init__(self, folder: Path) -> None:
        """Copies the scripts into a folder."""
        self.checkout = folder / "my checkout"
        self.programs = folder / "programs"
        self.calls = folder / "calls"
        for made in (self.checkout / "requirements", self.programs):
            made.mkdir(parents=True)
        for script in ("install.sh", "link.sh", "system-packages.sh", "runtime.txt", "labs.txt", "dev.txt"):
            shutil.copy(REQUIREMENTS / script, self.checkout / "requirements")
        self.program("uname", "case $1 in -s) echo Linux ;; -m) echo x86_64 ;; esac")
        self.free(PLENTY)
        self.program("c++", "exit 1")
        self.uv(find="exit 0")

    def program(self, name: str, script: str) -> None:
        (self.programs / name).write_text(f"#!/bin/bash\n{script}\n")
        (self.programs / name).chmod(0o755)

    def free(self, kib: int) -> None:
        self.program("df", f"echo Filesystem 1024-blocks Used Available Capacity Mounted\necho disk 1 1 {kib} 1% /")

    def uv(self, find: str = "exit 2", download: str = "exit 1") -> None:
        """A uv that finds a Python 3.11 on the machine, or downloads it, or does neither."""
        self.program(
            "uv",
            f'echo "$*" >> "{self.calls}"\n'
            f'case "$*" in *"python find"*) {find} ;; *"python install"*) {download} ;; venv*) {PYTHON_3_11} ;; esac',
        )

    def install(self, group: str = "runtime") -> tuple[int, str, str]:
        """The exit code, what was said, and what was complained about."""
        done = subprocess.run(
            [self.checkout / "requirements/install.sh", group],
            env={"PATH": f"{self.programs}:{os.environ['PATH']}", "HOME": str(self.checkout)},
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def asked_of_uv(self) -> list[str]:
        """The words before options, of every call."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [" ".join(word for word in line.split()[:2] if not word.startswith("-")) for line in lines]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def locked_for(system: str, processor: str, lock: str = "runtime") -> list[str]:
    """The packages that a lock file holds for a platform."""
    lines = (REQUIREMENTS / f"{lock}.txt").read_text().splitlines()
    requirements = [Requirement(line.rstrip("\\ ")) for line in lines if line[0].isalnum()]
    platform = {"sys_platform": system.lower(), "platform_machine": processor}
    return [locked.name for locked in requirements if locked.marker is None or locked.marker.evaluate(platform)]


@pytest.mark.parametrize(
    ("system", "processor", "missing"),
    [
        ("Linux", "x86_64", None),
        ("Darwin", "arm64", None),
        ("Linux", "aarch64", "ml-metadata, tfx-bsl and tensorflow-data-validation have no wheels"),
        ("Darwin", "x86_64", "TensorFlow, ml-metadata, tfx-bsl and tensorflow-data-validation no longer have wheels"),
        ("FreeBSD", "amd64", ""),
    ],
)
def test_a_platform_is_refused_if_nothing_is_locked_for_it(machine, system, processor, missing):
    machine.program("uname", f"case $1 in -s) echo {system} ;; -m) echo {processor} ;; esac")

    code, _, complaint = machine.install()

    assert (code == 0) == (missing is None) == (len(locked_for(system, processor)) > 100)
    if missing is not None:
        assert code == 1
        assert complaint.startswith(f"Flightdeck cannot be installed on {system} {processor}")
        assert missing in complaint
        assert complaint.endswith(": use Linux on x86-64 or macOS on Apple silicon.\n")
        assert complaint.count("\n") == 1
        assert machine.asked_of_uv() == []
        assert not (machine.checkout / ".venv").exists()


@pytest.mark.parametrize(("group", "size"), [("runtime", "3.8"), ("labs", "4.2"), ("dev", "4.9")])
def test_a_disk_without_room_is_refused(machine, group, size):
    machine.free(LITTLE)

    assert machine.install(group) == (
        1,
        "",
        f"The packages of requirements/{group}.txt take {size} GB on disk, and {machine.checkout} has room for 2.0 GB: "
        "make room, then try again.\n",
    )
    assert machine.asked_of_uv() == []


def test_what_an_older_environment_takes_counts_as_room(machine):
    machine.program("du", "echo 2000000 .venv")
    machine.free(LITTLE)
    (machine.checkout / ".venv").mkdir()

    assert machine.install()[0] == 0


def test_a_machine_without_python_3_11_that_cannot_download_it_is_told_where_it_is(machine):
    machine.uv()

    code, said, complaint = machine.install()

    assert (code, said) == (1, "There is no Python 3.11 on this machine; uv downloads one ...\n")
    assert complaint.startswith("uv cannot download Python 3.11: install it (Debian 12: python3.11; Ubuntu: python3.11")
    assert complaint.count("\n") == 1
    assert machine.asked_of_uv() == ["python find", "python install"]


def test_uv_downloads_python_3_11_where_there_is_none(machine):
    machine.uv(download="exit 0")

    assert machine.install()[0] == 0
    assert machine.asked_of_uv() == ["python find", "python install", "venv", "pip sync"]


def test_a_second_call_does_nothing_and_a_changed_lock_is_noticed(machine):
    assert machine.install()[0] == 0
    first = machine.asked_of_uv()
    assert machine.install() == (0, "", "")
    assert machine.asked_of_uv() == first == ["python find", "venv", "pip sync"]

    with (machine.checkout / "requirements/runtime.txt").open("a") as lock:
        lock.write("# changed\n")

    assert machine.install()[0] == 0
    assert machine.asked_of_uv() == [*first, "pip sync"]  # the environment itself stays


def test_an_environment_of_another_python_is_made_anew(machine):
    (machine.checkout / ".venv/bin").mkdir(parents=True)
    python = machine.checkout / ".venv/bin/python"
    python.write_text("#!/bin/sh\nexit 1\n")  # what `sys.exit(sys.version_info[:2] != (3, 11))` makes of Python 3.12
    python.chmod(0o755)

    assert machine.install()[0] == 0
    done = subprocess.run([python, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, text=True)
    assert done.stdout == "(3, 11)\n"


def test_an_unknown_lock_file_is_refused(machine):
    code, _, complaint = machine.install("everything")

    assert (code, complaint) == (
        2,
        "There is no lock file requirements/everything.txt; choose one of: runtime, dev, labs, gpu.\n",
    )
