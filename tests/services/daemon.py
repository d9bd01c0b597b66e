"""A server process that outlives the command which started it: its folder, pid file and log."""

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SERVICES = ROOT / "build" / "services"
# Longer paths of Unix sockets are refused by the kernel (108 bytes), and Docker appends to its own.
LONGEST_SOCKET_FOLDER = 64


class ServiceError(RuntimeError):
    """A service cannot be had, whichever function of these modules finds it out; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Daemon:
    """A server process, known by the pid file in its folder."""

    name: str  # of the folder below build/services
    program: str  # what its command line must contain, so that a recycled process id is not taken for it

    @property
    def folder(self) -> Path:
        """Holds everything the server writes."""
        return SERVICES / self.name

    @property
    def log(self) -> Path:
        """What the server printed; kept after it ends."""
        return self.folder / "log"

    @property
    def sockets(self) -> Path:
        """A folder whose path is short enough for Unix sockets."""
        if len(str(self.folder)) <= LONGEST_SOCKET_FOLDER:
            return self.folder
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"flightdeck-{os.getuid()}-{digest}"

    def pid(self) -> int | None:
        """The process id, while it runs."""
        try:
            pid = int((self.folder / "pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        shown = subprocess.run(["ps", "-p", str(pid), "-o", "stat=,args="], capture_output=True, text=True).stdout
        state, _, command = shown.partition(" ")
        return pid if self.program in command and not state.startswith("Z") else None

    def start(self, command: Sequence[str], ready: Callable[[], bool], seconds: float) -> None:
        """Starts the server and returns when it answers."""
        for folder in (self.folder, self.sockets):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.log.open("ab") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            process = subprocess.Popen(command, **streams, start_new_session=True, cwd=self.folder)
        (self.folder / "pid").write_text(str(process.pid))
        deadline = time.monotonic() + seconds
        while not ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                ended = "ended" if process.returncode is not None else f"did not answer within {seconds:.0f} s"
                last_lines = self.log.read_text(errors="replace").splitlines()[-15:]
                raise ServiceError("\n".join([f"{self.name} {ended}; {self.log} ends with:", *last_lines]))
            time.sleep(0.2)

    def stop(self, seconds: float = 60) -> bool:
        """Ends the server, politely, then for good; returns whether it was running."""
        pid = self.pid()
        if pid is not None:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + seconds
            while self.pid() is not None and time.monotonic() < deadline:
                time.sleep(0.2)
            if self.pid() is not None:
                os.kill(pid, signal.SIGKILL)
        (self.folder / "pid").unlink(missing_ok=True)
        return pid is not None


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Lets one process start or stop services while others wait."""
    SERVICES.mkdir(parents=True, exist_ok=True)
    with (SERVICES / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(packages: str) -> None:
    """Installs a group of packages of the distribution, such as ``docker``, ``mariadb`` or ``prometheus``."""
    done = subprocess.run([ROOT / "requirements" / "system-packages.sh", packages], capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"requirements/system-packages.sh {packages} failed: {done.stdout}{done.stderr}")


def from_pypi(requirement: str, folder: Path) -> Path:
    """A Python environment with one package of PyPI that is no package of ours, made unless it is there already."""
    done = folder / requirement.replace("==", "-")
    if done.exists():
        return folder
    print(f"Installing {requirement} into {folder.relative_to(ROOT)} ...", file=sys.stderr)
    try:
        import ensurepip  # noqa: F401
    except ImportError:
        install("python")
    make = [sys.executable, "-m", "venv", "--clear", str(folder)]
    fill = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", requirement]
    for command in (make, fill):
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            said = (run.stderr + run.stdout)[-2000:]
            raise ServiceError(f"{requirement} cannot be installed into {folder}: {said}")
    done.touch()
    return folder
