"""`make` as a person runs it, also where the tests themselves were started by `make`."""

import os
import re
import subprocess
from pathlib import Path

from tests.world import ROOT

# What a make tells those that it starts: its options, such as `-n`, and that it is one of several.
_OF_THE_OUTER = ("MAKEFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MFLAGS")


def make(target: str, folder: Path, timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Runs a target of a folder's Makefile, and returns what came of it."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_THE_OUTER}
    return subprocess.run(
        ["make", target], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout, check=False
    )


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
