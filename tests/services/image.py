"""The real image, built on a base that needs no image registry."""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.services.daemon import ROOT, SERVICES, ServiceError, install
from tests.services.docker_engine import docker, environment

BASE = "flightdeck-base:bookworm"
PACKAGES = ("ca-certificates", "python3", "python3-venv", "tzdata")


def ensure_base(address: str) -> str:
    """A minimal Debian 12 with Python 3.11, imported into the engine unless it is there already.

    It holds nothing of this machine: certificates that only this machine trusts are given to the build as a secret.
    """
    if docker(address, "image", "inspect", BASE, check=False).returncode == 0:
        return BASE
    if shutil.which("debootstrap") is None:
        install("docker")
    SERVICES.mkdir(parents=True, exist_ok=True)
    # debootstrap takes a path with a blank apart.
    place = "/var/tmp" if " " in str(SERVICES) else SERVICES
    with tempfile.TemporaryDirectory(dir=place, prefix="base-") as made:
        _bootstrap(Path(made))
        _import(address, Path(made))
    return BASE


def build(address: str, target: str = "cpu") -> str:
    """Builds an image of this checkout as a person does: returns its name and tag."""
    command = ["-m", "flightdeck", "image", "build", "--target", target, "--base", BASE, "--network", "host", "--json"]
    done = subprocess.run(
        [sys.executable, *command], env=environment(address), cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    if done.returncode:
        raise ServiceError(f"`{' '.join(command)}` failed with exit code {done.returncode}.")
    return json.loads(done.stdout)["image"]


def _bootstrap(folder: Path) -> None:
    folder.chmod(0o755)  # becomes the root folder of the image
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", "bookworm", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    for mount in reversed(mounted):  # else removing the folder would reach into it
        subprocess.run(["umount", mount], check=True)
    if done.returncode:
        raise ServiceError(f"`{' '.join(command)}` failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _import(address: str, folder: Path) -> None:
    skipped = [f"--exclude=./{path}" for path in ("var/cache/apt/archives/*.deb", "var/lib/apt/lists/*", "debootstrap")]
    with subprocess.Popen(
        ["tar", "-C", folder, "--numeric-owner", *skipped, "-c", "."], stdout=subprocess.PIPE
    ) as archive:
        done = subprocess.run(
            ["docker", "import", "--change", 'CMD ["bash"]', "-", BASE],
            env=environment(address), stdin=archive.stdout, capture_output=True, text=True,
        )  # fmt: skip
    if archive.returncode or done.returncode:
        raise ServiceError(f"The base image cannot be imported: {done.stderr}")
