"""Adds events to a chain until it has added some.

Usage: ``python -m tests.operations.experiments.sweep.chain_worker COUNT [SQLITE]``

Each is for a trial of its own, in the sweep `sweep`, in a SQLite file or the server that the environment names. Prints
what it has added.
"""

import json
import sys
from pathlib import Path

from ledger.lease import Owner
from ledger.opening import open_store
from operations.experiments.sweep.chain import Chain, Event
from pipeline.store import from_environment
from tests.ledger.seeding import sqlite


def main(count: int, file: str | None = None) -> None:
    """Adds so many events and prints trial and token of each."""
    connection = from_environment(retries=5) if file is None else sqlite(Path(file))
    chain, added = Chain(open_store(connection), "sweep"), []
    while len(added) < count:
        chain.refresh()
        event = Event(kind="begun", trial=len(chain.links), owner=Owner.me())
        if chain.append(event) is not None:
            added.append([event.trial, event.token])
    print(json.dumps(added))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
