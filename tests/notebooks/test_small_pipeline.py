"""The small pipeline of the labs: what it is asked to run, and what is said when it cannot."""

import shlex

import pytest

from ledger.opening import LedgerError
from notebooks import small_pipeline
from notebooks.terminal import CommandError

pytestmark = pytest.mark.component


def test_the_command_line_and_the_settings_mean_the_same(tmp_path):
    overrides = ("model.epochs=7",)
    settings = small_pipeline.settings(*overrides, workspace=tmp_path)
    words = shlex.split(small_pipeline.options(*overrides, workspace=tmp_path))

    assert settings.model.epochs == 7
    assert settings.workspace == str(tmp_path)
    assert f"data.spans={settings.spans}" in words
    assert f"workspace={tmp_path}" in words
    assert sorted(
        folder.name for folder in small_pipeline.spans_folder(*small_pipeline.MONTHS, rows=2000).iterdir()
    ) == [f"span-00{month}" for month in small_pipeline.MONTHS]


def test_a_run_that_cannot_begin_says_why(tmp_path):
    with pytest.raises(CommandError, match=r"exit code 2(.|\n)*epochs"):
        small_pipeline.run("model.epochs=none", workspace=tmp_path)


def test_metadata_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(LedgerError):
        small_pipeline.metadata(tmp_path)
