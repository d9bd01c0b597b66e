"""A metadata store of its own for each test, and the commands about its runs."""

from pathlib import Path

import pytest

from tests.ledger.seeding import Seeder, sqlite


@pytest.fixture
def seeder(tmp_path: Path) -> Seeder:
    """Writes runs into a new store on SQLite."""
    return Seeder(sqlite(tmp_path / "metadata.sqlite"))


@pytest.fixture
def runs_command(flightdeck, seeder: Seeder):
    """Runs a command of `flightdeck runs` on that store: exit code, standard output, standard error."""
    workspace = Path(seeder.connection.sqlite.filename_uri).parent
    return lambda *arguments: flightdeck("runs", *arguments, "--set", f"workspace={workspace}")
