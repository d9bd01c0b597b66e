"""The document of a replay: its numbers stand under the names of the metrics of the task."""

import json

import pytest

from operations.loop.replay.result import FaultOutcome, Interval, Level, Month, Result
from tests.operations.report import histories

pytestmark = pytest.mark.unit


def test_a_document_of_a_binary_task_has_the_keys_that_it_always_had():
    level = json.loads(histories.level(2, fault=True).model_dump_json())

    assert list(level)[:6] == ["level", "name", "months", "log_loss", "auc", "trainings"]
    assert list(level["months"][0]) == ["month", "span", "rows", "versions", "auc", "log_loss", "calibration", "fault"]
    assert list(level["months"][0]["auc"]) == ["value", "low", "high"]
    assert list(level["fault"])[-1] == "log_loss_in_month"
    assert Level.model_validate(level) == histories.level(2, fault=True)


def test_a_document_of_another_task_has_its_metrics():
    error = Interval(value=41.5, low=40.0, high=43.0)
    month = Month(month="2013-07", span=7, rows=10, versions=1, quality={"r2": Interval(value=None), "rmse": error})
    outcome = FaultOutcome(
        fault="celsius",
        column="temp",
        month="2013-07",
        detected_after_days=None,
        within_month=False,
        named=False,
        action=None,
        recovered_after_days=None,
        quality={"rmse_in_month": 41.5},
    )
    level = histories.level(1).model_copy(
        update={"months": (month,), "fault": outcome, "quality": {"rmse": 41.5, "r2": 0.1}}
    )
    result = histories.replay().model_copy(update={"levels": (level,), "comparisons": ()})

    document = json.loads(result.model_dump_json())

    assert document["levels"][0]["rmse"] == document["levels"][0]["months"][0]["rmse"]["value"] == 41.5
    assert document["levels"][0]["fault"]["rmse_in_month"] == 41.5
    read = Result.model_validate(document)
    assert read == result
    assert (read.overall, read.monthly) == (("rmse", "r2"), ("r2", "rmse"))
