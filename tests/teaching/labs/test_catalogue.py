"""Which labs there are, and what is said about one that is not."""

import pytest

from teaching.labs.catalogue import LabError, find, labs

pytestmark = pytest.mark.unit

HEADER = "# ---\n# jupyter:\n#   lab: {{title: {0}, minutes: 5}}\n# ---\n"


@pytest.fixture
def root(tmp_path):
    for name in ("01-by-hand", "10-serving", "11-replay", "11-rollback"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "lab.py").write_text(HEADER.format(name))
    (tmp_path / "__pycache__").mkdir()
    return tmp_path


def test_labs_are_the_numbered_folders_in_order(root):
    assert [lab.name for lab in labs(root)] == ["01-by-hand", "10-serving", "11-replay", "11-rollback"]


@pytest.mark.parametrize("name", ["1", "01", "01-by-hand", "01-"])
def test_a_lab_has_a_number_and_a_name(root, name):
    assert find(root, name).name == "01-by-hand"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("11", "More than one lab is called 11; there are 11-replay, 11-rollback."),
        ("12", "No lab is called 12; there are 01-by-hand, 10-serving"),
        ("10-servng", "did you mean 10-serving?"),
    ],
)
def test_a_lab_that_is_not_there(root, name, sentence):
    with pytest.raises(LabError) as error:
        find(root, name)

    assert sentence in str(error.value)


def test_a_damaged_header_is_the_matter_of_its_own_lab_only(root):
    (root / "10-serving" / "lab.py").write_text("# ---\n# jupyter:\n#   lab:\n#     title: a: b\n# ---\n")

    assert find(root, "01").minutes == 5
    with pytest.raises(LabError, match=r"10-serving/lab\.py must begin with a header"):
        find(root, "10")


def test_exercises_are_known_without_reading_the_notebook(lab):
    assert lab.exercises == ("double", "above")
    assert (lab.title, lab.minutes) == ("Numbers: a lab", 5)
