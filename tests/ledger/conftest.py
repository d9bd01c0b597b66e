"""A metadata store of its own for each test."""

from pathlib import Path

import pytest

from tests.ledger.seeding import Seeder, sqlite


@pytest.fixture
def seeder(tmp_path: Path) -> Seeder:
    """Writes runs into a new store on SQLite."""
    return Seeder(sqlite(tmp_path / "metadata.sqlite"))
