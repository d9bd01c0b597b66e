"""One level as a process: ``python -m operations.loop.replay.worker``.

A level that was killed at any moment resumes where it was.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from errors import FlightdeckError
from ledger.opening import open_store
from operations.loop.replay.plan import ReplayPlan, level_settings
from operations.loop.replay.steps import Step
from operations.loop.settings import Settings
from pipeline import child_process, settings_file, store
from pipeline.workspace import WorkspaceError, exclusive

# For a process that was killed to be gone, with what it held.
_PATIENCE_SECONDS = 15.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Plays a level to its end: 0; 2 if it cannot go on, for a reason that is the last line on standard error."""
    given = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    child_process.end_with(given.parent_process)
    plan = ReplayPlan.model_validate_json((given.root / "plan.json").read_text(encoding="utf-8"))
    document = json.loads((given.root / "settings.json").read_text(encoding="utf-8"))
    shared = settings_file.from_document(document, Settings)
    settings = level_settings(shared, given.root, given.level)
    with os.fdopen(given.events, "w", buffering=1, encoding="utf-8") as events:

        def tell(step: Step) -> None:
            events.write(step.model_dump_json() + "\n")

        try:
            _play(settings, plan, Path(shared.spans), tell)
        except FlightdeckError as error:
            logging.exception("The level cannot go on.")
            print(error, file=sys.stderr)
            return 2
    return 0


def _play(settings: Settings, plan: ReplayPlan, source: Path, tell: Callable[[Step], None]) -> None:
    """Plays, as soon as the workspace is free."""
    from operations.loop.replay.level import Player

    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            with exclusive(settings):
                Player(settings, plan, source, open_store(store.connection(settings)), tell).play()
            return
        except WorkspaceError as error:
            if time.monotonic() > deadline:
                raise FlightdeckError(str(error)) from None
            time.sleep(0.5)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m operations.loop.replay.worker", description=__doc__)
    parser.add_argument("--root", required=True, type=Path, help="the folder of the replay")
    parser.add_argument("--level", required=True, type=int)
    parser.add_argument("--events", required=True, type=int, help="a file descriptor for the steps that are done")
    parser.add_argument("--parent-process", required=True, type=int, help="end when it is no longer the parent")
    return parser


if __name__ == "__main__":
    sys.exit(main())
