"""Brings a package of the index to a folder of its own, for the files in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from errors import FlightdeckError

ROOT = Path(__file__).resolve().parents[2]


def install(requirement: str, folder: Path) -> Path:
    """The folder of an installed package, without what it depends on; nothing is done if it is there already.

    Raises:
        FlightdeckError: There is no uv, or it cannot install the package.
    """
    place = folder / requirement
    if place.exists():
        return place
    uv = shutil.which("uv") or str(ROOT / ".tools" / "uv" / "bin" / "uv")
    if not Path(uv).exists():
        raise FlightdeckError("There is no uv to install packages with; `requirements/install.sh dev` brings it.")
    staging = folder / f".{requirement}"
    shutil.rmtree(staging, ignore_errors=True)
    command = [uv, "pip", "install", "--quiet", "--no-deps", f"--python={sys.executable}", f"--target={staging}"]
    done = subprocess.run([*command, requirement], capture_output=True, text=True)
    if done.returncode:
        raise FlightdeckError(f"uv cannot install {requirement}: {done.stderr.strip()}")
    staging.rename(place)
    return place
