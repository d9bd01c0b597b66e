"""A small pipeline for several labs: 2,000 flights a month, in a workspace where each finds what others have run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from notebooks.slices import spans_folder
from notebooks.terminal import CommandError

if TYPE_CHECKING:
    from ml_metadata import MetadataStore

    from flightdeck.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config" / "labs.yaml"
MONTHS = (1, 2, 3, 4)
ROWS = 2000


def settings(*overrides: str, workspace: Path | None = None) -> Settings:
    """The settings of a run; `run` uses the same.

    Args:
        overrides: Such as ``model.epochs=4``.
        workspace: Default: the one that labs share.

    Raises:
        SettingsError: an override is wrong.
    """
    from flightdeck.settings import read_settings

    return read_settings(CONFIG, _overrides(overrides, workspace))


def options(*overrides: str, workspace: Path | None = None) -> str:
    """The same settings as a command of `flightdeck` takes them."""
    import shlex

    return shlex.join(_options(_overrides(overrides, workspace)))


def run(*overrides: str, workspace: Path | None = None) -> dict[str, Any]:
    """``flightdeck run``; what was run before comes from the cache, in seconds.

    Args:
        overrides: Such as ``model.epochs=4``.
        workspace: Default: the one that labs share, in which one run waits for the other.

    Returns:
        Its summary, as ``--json`` prints it.

    Raises:
        CommandError: it failed.
    """
    print("$ flightdeck run --config config/labs.yaml", *(f"--set '{override}'" for override in overrides), flush=True)
    with alone(workspace):
        done = subprocess.run(
            [sys.executable, "-m", "flightdeck", "run", "--json", *_options(_overrides(overrides, workspace))],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
    if done.returncode:
        raise CommandError(f"The run ended with exit code {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}")
    summary = json.loads(done.stdout)
    cached = sum(node["state"] == "cached" for node in summary["nodes"])
    print(
        f"  run {summary['run_id']}: {summary['outcome']}, {cached} of {len(summary['nodes'])} nodes from the cache, "
        f"{summary['seconds']:.0f} s of which {summary['loading_seconds']:.0f} s loading libraries"
    )
    return summary


@contextlib.contextmanager
def alone(workspace: Path | None = None) -> Iterator[None]:
    """Waits until no other lab runs a pipeline in the workspace, and has the others wait.

    Args:
        workspace: Default: the one that labs share.
    """
    place = Path(settings(workspace=workspace).workspace)
    place.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def metadata(workspace: Path | None = None) -> MetadataStore:
    """ML Metadata of the workspace, to read from.

    Raises:
        LedgerError: nothing has run there yet.
    """
    from ledger.opening import open_readonly
    from pipeline import store

    return open_readonly(store.connection(settings(workspace=workspace)))


def _overrides(overrides: Sequence[str], workspace: Path | None) -> list[str]:
    places = [f"data.spans={spans_folder(*MONTHS, rows=ROWS)}"]
    if workspace is not None:
        places.append(f"workspace={workspace.resolve()}")
    return [*places, *overrides]


def _options(overrides: Sequence[str]) -> list[str]:
    return ["--config", str(CONFIG), *(part for override in overrides for part in ("--set", override))]
