"""A file is as it was, or as it should be."""

import pytest

from pipeline import whole_file

pytestmark = pytest.mark.unit


def test_a_file_is_made_and_replaced_and_keeps_its_rights(tmp_path):
    file = tmp_path / "it.json"
    whole_file.write(file, "Grüße")
    file.chmod(0o750)
    whole_file.write(file, "again")
    assert file.read_text("utf-8") == "again"
    assert file.stat().st_mode & 0o777 == 0o750
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_replaced_stays_and_nothing_is_left_behind(tmp_path):
    taken = tmp_path / "it.json"
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"it\.json"):
        whole_file.write(taken, "text")
    assert list(tmp_path.iterdir()) == [taken]
