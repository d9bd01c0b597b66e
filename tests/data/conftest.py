"""The year, its contract and its schema."""

from pathlib import Path

import pytest

from data.contract import Contract
from data.prepare import CONTRACT, Preparation, prepare


@pytest.fixture(scope="session")
def year(prepared: Path) -> Preparation:
    return prepare(prepared)


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load(CONTRACT)


@pytest.fixture(scope="session")
def schema_path() -> Path:
    return CONTRACT.with_name("schema.pbtxt")
