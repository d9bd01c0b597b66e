"""Runs in a real metadata store, written by the real recorder."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2

from ledger.opening import open_store
from ledger.recorder import RUN, Recorder
from tests.ledger.executions import Executions

BEGIN = datetime(2013, 7, 1, 9, 30, tzinfo=UTC)
# As the settings document of a run has them; TFMA reports BinaryCrossentropy as binary_crossentropy.
EVALUATION = {
    "metrics": [
        {"name": "AUC", "better": "higher"},
        {"name": "BinaryCrossentropy", "better": "lower"},
        {"name": "ExampleCount", "better": "neither"},
    ]
}


def sqlite(path: Path) -> metadata_store_pb2.ConnectionConfig:
    """How to reach a store in a file, as `pipeline.store.connection` says it."""
    config = metadata_store_pb2.ConnectionConfig()
    config.sqlite.filename_uri = str(path)
    config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
    return config


class Seeder:
    """Writes runs into a store, one minute after another."""

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig) -> None:
        self.connection = connection
        self.store = open_store(connection)
        self.recorder = Recorder(self.store)
        self._count = 0

    def run(self, run_id: str, auc: float | None = None, **fields: Any) -> str:
        """A finished run; with an AUC, one that was evaluated."""
        recorded: dict[str, Any] = {
            "kind": "run",
            "pipeline": "a-pipeline",
            "user": "ann",
            "host": "here",
            "started": BEGIN + timedelta(minutes=self._count),
            "seconds": 60.0 + self._count,
            "outcome": "pushed",
            "commit": f"{self._count + 1:040x}",
            "dirty": False,
            "window": "1:3",
            "spans": {"train": [1, 2], "eval": [3]},
            "rows": {"train": 3000, "eval": 1500},
            "main_metric": "auc",
            "main_better": "higher",
            "hyperparameters": {"epochs": 3, "optimizer.learning_rate": 0.001},
            "documents": {"settings": self.recorder.put_document({"evaluation": EVALUATION})},
            **({} if auc is None else {"metrics": {"auc": auc, "binary_crossentropy": 1 - auc}}),
        }
        self._count += 1
        self.recorder.write(run_id, **{**recorded, **fields})
        return run_id

    def of_a_project(self, run_id: str, auc: float | None = None, commit: str | None = "b" * 40, **fields: Any) -> str:
        """A run whose use case is in a project of its own; without a commit, nothing there is committed."""
        own = {"use_case_commit": commit, "use_case_branch": "trunk", "use_case_dirty": commit is None}
        return self.run(run_id, auc, **{"commit": "f" * 40, "branch": "main", "dirty": True, **own, **fields})

    def foreign(self, run_id: str) -> str:
        """A run that another TFX pipeline recorded: a context and an execution, with nothing of ours."""
        Executions(self.store).execute(run_id, "theirs.CsvExampleGen", {}, {})
        return run_id

    def properties(self, run_id: str) -> dict[str, str]:
        """Everything that the store holds about a run."""
        context = self.store.get_context_by_type_and_name(RUN, run_id)
        return {name: value.string_value for name, value in context.custom_properties.items()}

    def spoil(self, run_id: str, name: str, value: str) -> None:
        """Writes a property that no record can have."""
        context = self.store.get_context_by_type_and_name(RUN, run_id)
        context.custom_properties[name].string_value = value
        self.store.put_contexts([context])


@contextlib.contextmanager
def held(path: Path | str, seconds: float = 600, begin: str = "EXCLUSIVE") -> Iterator[subprocess.Popen[str]]:
    """Another process that has locked the store, or with ``IMMEDIATE`` has begun to write; it ends after a while."""
    program = (
        "import sqlite3, time\n"
        f"database = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        f"database.execute('BEGIN {begin}')\n"
        "print('held', flush=True)\n"
        f"time.sleep({seconds})\n"
        "database.rollback()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def calls(monkeypatch: pytest.MonkeyPatch, store: ml_metadata.MetadataStore, question: Callable[[], Any]) -> list[str]:
    """What a store was asked to answer a question."""
    asked: list[str] = []
    call = store._call_method
    monkeypatch.setattr(store, "_call_method", lambda name, *rest: (asked.append(name), call(name, *rest))[1])
    question()
    return asked
