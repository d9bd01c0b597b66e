"""Files that are listed, and gone when they are looked at: a rename in between, or the lock of an editor."""

import pytest

from operations.loop import loop
from operations.loop.round import _state_of

pytestmark = pytest.mark.unit


def test_a_file_of_the_log_that_goes_away_meanwhile_is_no_problem(tmp_path):
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / ".a.json.part").symlink_to("renamed")  # listed, and gone when it is looked at

    assert _state_of(tmp_path)[0] == 1


def test_a_source_file_that_goes_away_meanwhile_does_not_end_the_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "PROJECT", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "contract.py").write_text("")
    (tmp_path / "data" / ".#contract.py").symlink_to("nobody@nowhere")  # as an editor locks a file

    assert len(loop._code()) == 1
