"""A worker as a process: ``python -m operations.experiments.sweep.worker``. Many of them may work on one sweep."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_store
from ledger.recorder import Recorder
from operations.experiments.sweep import plan
from pipeline import child_process, store


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs trials of a sweep until there are no more.

    Returns:
        0, also when trials failed: the sweep's chain says which.
    """
    parser = argparse.ArgumentParser(prog="python -m operations.experiments.sweep.worker", description=__doc__)
    parser.add_argument("--sweep", required=True, help="the sweep's id in the metadata store")
    parser.add_argument("--sqlite", help="the metadata store's file; default: the server that the environment names")
    parser.add_argument("--parent-process", type=int, help="end when this process is no longer the parent")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    if given.parent_process:
        child_process.end_with(given.parent_process)
    connection = _connection(given.sqlite)
    sweep = plan.load(Recorder(open_store(connection)), given.sweep)
    from operations.experiments.sweep import search  # TensorFlow, only once it is known that there is something to do

    search.work(sweep, connection)
    return 0


def _connection(sqlite: str | None) -> metadata_store_pb2.ConnectionConfig:
    if sqlite is None:
        return store.from_environment(retries=5)
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = sqlite
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE
    return config


if __name__ == "__main__":
    sys.exit(main())
