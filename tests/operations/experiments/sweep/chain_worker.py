"""Adds COUNT events, each for a trial of its own, to the chain of the sweep `sweep`, and prints what it has added.

Arguments: COUNT [SQLITE]; without a file, in the server that the environment names.
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
