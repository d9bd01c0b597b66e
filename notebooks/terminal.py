"""Commands in a lab, as they would be typed into a terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path


class CommandError(RuntimeError):
    """A command that ended otherwise than the lab expects."""


def terminal(command: str, *, expect: int = 0, quiet: bool = False) -> str:
    """Runs a command, and shows it and what it prints.

    Args:
        command: As typed, without pipes or variables; the programs of this environment are found first.
        expect: The exit code that is right here.
        quiet: Whether to show the command alone.

    Returns:
        What it printed, errors included.

    Raises:
        CommandError: it ended with another exit code.
    """
    print(f"$ {command}", flush=True)
    programs = Path(sys.executable).parent
    process = subprocess.Popen(
        shlex.split(command),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # A narrow, colourless screen: what a notebook can show.
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "NO_COLOR": "1", "TERM": "dumb"},
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if not quiet:
            print(line, end="", flush=True)
    printed = "".join(lines)
    code = process.wait()
    if code != expect:
        raise CommandError(f"`{command}` ended with exit code {code}, not {expect}:\n{printed[-2000:]}")
    return printed
