"""The workspace: one run at a time, and a clear sentence when it cannot be used."""

import functools
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from flightdeck.settings import Settings, read_settings
from pipeline.workspace import WorkspaceError, exclusive, new_run_id
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit


def settings_in(folder: Path) -> Settings:
    return read_settings(LOCAL, [f"workspace={folder}"])


def test_a_second_process_is_refused_and_told_who_holds_the_workspace(tmp_path):
    second = textwrap.dedent(f"""
        from pathlib import Path
        from flightdeck.settings import read_settings
        from pipeline import workspace
        with workspace.exclusive(read_settings(Path({str(LOCAL)!r}), ["workspace={tmp_path}"])):
            pass
    """)
    begin = functools.partial(subprocess.run, [sys.executable, "-c", second], capture_output=True, text=True, cwd=ROOT)
    with exclusive(settings_in(tmp_path)):
        refused = begin()

    assert f"Another run uses the workspace {tmp_path} (process {os.getpid()}" in refused.stderr
    assert begin().returncode == 0


def test_a_workspace_that_cannot_be_written_to_is_refused(tmp_path):
    # A file where a folder should be: unlike a mode, this stops root too.
    (tmp_path / "taken").write_text("")

    workspace = exclusive(settings_in(tmp_path / "taken" / "workspace"))
    with pytest.raises(WorkspaceError, match="cannot be written to"), workspace:
        pass


def test_run_ids_are_unique():
    assert len({new_run_id() for _ in range(50)}) > 45
