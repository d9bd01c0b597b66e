"""A metadata store with runs that never took place, and the site about them."""

from pathlib import Path
from typing import Any

import pytest

from ledger.opening import open_readonly
from ledger.run_record import NodeOutcome
from operations.report import site
from tests.ledger.executions import Executions
from tests.ledger.seeding import BEGIN, Seeder, sqlite


def node(name: str, state: Any = "done", error: str | None = None) -> NodeOutcome:
    return NodeOutcome(node_id=name, state=state, seconds=1.5, peak_mb=100, error=error, ended=BEGIN)


class Seeds(Seeder):
    """Runs of a pipeline ``toys`` with two nodes."""

    def run(self, run_id: str, auc: float | None = 0.7, **fields: Any) -> str:
        """A run that was pushed, unless the fields say otherwise."""
        return super().run(run_id, auc, **{"pipeline": "toys", "nodes": (node("Gen"), node("Trainer")), **fields})

    def artifact(self, run_id: str, node_id: str, key: str, uri: Path) -> None:
        """An execution of a node that made an artifact, as TFX records it."""
        executions = Executions(self.store)
        executions.execute(run_id, node_id, {}, {key: executions.artifact(key, str(uri))})

    def write(self, output: Path, **options: Any) -> site.Site:
        given = {"name": "toys", "place": "metadata.sqlite", "newest": 50, **options}
        return site.write(open_readonly(self.connection), output, **given)


@pytest.fixture
def seeds(tmp_path: Path) -> Seeds:
    return Seeds(sqlite(tmp_path / "metadata.sqlite"))
