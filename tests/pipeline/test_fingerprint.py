"""Fingerprints: an edit that changes a result must change them, and nothing else should."""

import sys

import pytest

from pipeline import fingerprint

pytestmark = pytest.mark.unit


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "sample_use_case"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "entry.py").write_text(
        "import json\nfrom sample_use_case import inner\n\n"
        "def run():\n    from .late import f\n    return f, inner, json\n"
    )
    (folder / "inner.py").write_text("A = 1\n")
    (folder / "late.py").write_text("def f(): pass\n")
    (folder / "other.py").write_text("B = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [module for module in sys.modules if module.startswith("sample_use_case")]:
        del sys.modules[name]


@pytest.mark.parametrize("edited", ["entry.py", "inner.py", "late.py", "__init__.py", "other.py"])
def test_an_edit_of_the_module_or_of_what_it_imports_changes_the_digest_and_none_of_another(package, edited):
    before = fingerprint.code_digest("sample_use_case.entry.run")
    with (package / edited).open("a") as file:
        file.write("# edited\n")

    assert (fingerprint.code_digest("sample_use_case.entry.run") == before) == (edited == "other.py")


def test_nothing_is_executed_and_a_missing_module_is_an_error(package):
    (package / "inner.py").write_text("raise RuntimeError\n")

    fingerprint.code_digest("sample_use_case.entry.run")
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        fingerprint.code_digest("sample_use_case.nowhere.run")


def test_the_network_does_not_touch_the_fingerprint_of_the_preprocessing():
    """Or every change of the network would analyse all the data again."""
    assert "models.network" not in fingerprint.module_sources("models.preprocessing")
    assert "models.network" in fingerprint.module_sources("models.training")
