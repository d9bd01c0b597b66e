"""A Docker engine: the one that answers already, or one of our own that leaves the machine's network alone."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.services.daemon import SERVICES, Daemon, ServiceError, install

DAEMON = Daemon("docker", program="dockerd")


def start() -> str:
    """The address of an engine that answers, as DOCKER_HOST wants it."""
    if _client() is None:
        install("docker")
    for address in (_default_address(), _own_address()):
        if address and answers(address):
            return address
    if os.getuid() != 0:
        raise ServiceError("No Docker engine answers, and only root can start one; start one, or set DOCKER_HOST.")
    if shutil.which("dockerd") is None:
        install("docker")
    DAEMON.stop()
    DAEMON.start(
        [
            shutil.which("dockerd") or "dockerd",
            # With neither bridge nor packet filter, containers get the network of the machine (--network=host).
            *("--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false"),
            "--storage-driver=overlay2",
            f"--host={_own_address()}",
            f"--data-root={DAEMON.folder / 'data'}",
            f"--exec-root={DAEMON.sockets / 'exec'}",
            f"--pidfile={DAEMON.folder / 'dockerd.pid'}",
        ],
        ready=lambda: answers(_own_address()),
        seconds=60,
    )
    return _own_address()


def stop() -> bool:
    """Ends our own engine and its containers; its images stay. Returns whether it was running."""
    running = DAEMON.stop()
    # Containers in the host's network leave a mount of its namespace behind, and the folder could not be removed.
    left = DAEMON.sockets / "exec" / "netns" / "default"
    if left.exists():
        subprocess.run(["umount", str(left)], capture_output=True, check=False)
    return running


def answers(address: str) -> bool:
    """Whether an engine answers at an address."""
    return docker(address, "version", check=False).returncode == 0


def docker(address: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs the docker client against an engine; with ``check``, a failure is a `ServiceError`."""
    done = subprocess.run(["docker", *arguments], env=environment(address), capture_output=True, text=True)
    if check and done.returncode:
        raise ServiceError(f"`docker {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done


def environment(address: str) -> dict[str, str]:
    """This process's environment, in which ``docker`` is a client that can build, and talks to the engine."""
    client = _client()
    if client is None:
        raise ServiceError("There is no docker client that can build.")
    link = SERVICES / "bin" / "docker"
    if not link.is_symlink() or link.readlink() != client:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(client)
    return {**os.environ, "PATH": f"{link.parent}{os.pathsep}{os.environ['PATH']}", "DOCKER_HOST": address}


def _client() -> Path | None:
    """The first client on the search path that can build with BuildKit."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep) if folder]
    clients = [folder / "docker" for folder in folders if folder != SERVICES / "bin"]
    return next((client for client in clients if os.access(client, os.X_OK) and _can_build(client)), None)


def _can_build(client: Path) -> bool:
    # BuildKit was part of the client before 23, and is a plugin since.
    version = subprocess.run([client, "--version"], capture_output=True, text=True).stdout
    major = re.search(r"version (\d+)\.", version)
    integrated = major is not None and int(major[1]) < 23
    return integrated or subprocess.run([client, "buildx", "version"], capture_output=True).returncode == 0


def _default_address() -> str:
    """Where the docker client looks by itself."""
    if address := os.environ.get("DOCKER_HOST"):
        return address
    shown = subprocess.run(
        [_client() or "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
    )
    return shown.stdout.strip()


def _own_address() -> str:
    return f"unix://{DAEMON.sockets / 'docker.sock'}"
