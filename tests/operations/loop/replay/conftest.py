"""The settings of a replay."""

import pytest

from flightdeck.settings import read_settings
from tests.world import ROOT


@pytest.fixture
def settings(tmp_path):
    return read_settings(ROOT / "config" / "replay.yaml", [f"workspace={tmp_path / 'level'}", "replay.order=moment"])
