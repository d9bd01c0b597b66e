"""The workspace: one run at a time, and a clear sentence when it cannot be used."""

import os
import re
from pathlib import Path

import pytest

from flightdeck.settings import Settings, read_settings
from pipeline.workspace import WorkspaceError, exclusive, new_run_id
from tests.world import LOCAL

pytestmark = pytest.mark.unit


def settings_in(folder: Path) -> Settings:
    return read_settings(LOCAL, [f"workspace={folder}"])


def test_a_second_run_is_refused_and_told_who_holds_the_workspace(tmp_path):
    holder = re.escape(f"Another run uses the workspace {tmp_path} (process {os.getpid()}")
    # The lock belongs to the open file, so that what is refused here is refused to another process too.
    first, second, third = (exclusive(settings_in(tmp_path)) for _ in range(3))
    with first, pytest.raises(WorkspaceError, match=holder), second:
        pass
    with third:
        pass


def test_a_workspace_that_cannot_be_written_to_is_refused(tmp_path):
    # A file where a folder should be: unlike a mode, this stops root too.
    (tmp_path / "taken").write_text("")

    workspace = exclusive(settings_in(tmp_path / "taken" / "workspace"))
    with pytest.raises(WorkspaceError, match="cannot be written to"), workspace:
        pass


def test_run_ids_are_unique():
    assert len({new_run_id() for _ in range(50)}) > 45
