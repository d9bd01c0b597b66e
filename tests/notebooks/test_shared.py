"""What the labs share: slices of the real months, and commands."""

import concurrent.futures

import pytest

from notebooks import slices
from notebooks.terminal import CommandError, terminal

pytestmark = pytest.mark.component


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(slices, "_FOLDER", tmp_path / "labs")
    return tmp_path / "labs"


def test_slices_are_small_and_the_same_every_time(own_folder):
    rows = slices.flights(2, 5, rows=300)
    modified = {path: path.stat().st_mtime_ns for path in own_folder.rglob("*.parquet")}

    assert rows.groupby("month").size().to_dict() == {2: 300, 5: 300}
    assert rows.equals(slices.flights(2, 5, rows=300))
    assert modified == {path: path.stat().st_mtime_ns for path in own_folder.rglob("*.parquet")}


def test_labs_that_start_at_once_wait_for_each_other(own_folder):
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        folders = set(pool.map(lambda _: slices.spans_folder(1, rows=100), range(3)))

    assert len(folders) == 1
    assert (folders.pop() / "span-001" / "flights.parquet").is_file()


def test_a_slice_that_was_interrupted_is_made_again(own_folder):
    complete = slices.spans_folder(1, rows=100)
    unfinished = complete.with_name(f".{complete.name}")
    complete.rename(unfinished)

    assert slices.spans_folder(1, rows=100) == complete
    assert not unfinished.exists()


def test_a_command_is_shown_with_what_it_prints(capsys):
    printed = terminal("flightdeck config show --set model.epoch=1", expect=2)

    assert "did you mean `model.epochs`?" in printed
    assert capsys.readouterr().out == f"$ flightdeck config show --set model.epoch=1\n{printed}"


def test_a_command_that_ends_otherwise_stops_the_lab():
    with pytest.raises(CommandError, match="ended with exit code 2, not 0"):
        terminal("flightdeck config show --set model.epoch=1", quiet=True)
