"""Which assessor is that of which task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.contract import Target
from operations.report.evaluation.assessor import Assessor
from operations.report.evaluation.binary import BinaryAssessor
from operations.report.evaluation.multiclass import MulticlassAssessor
from operations.report.evaluation.regression import RegressionAssessor
from operations.tasks import task_of

_BY_TASK: Mapping[str, type[Assessor]] = {
    "binary": BinaryAssessor,
    "multiclass": MulticlassAssessor,
    "regression": RegressionAssessor,
}


def of(target: Mapping[str, Any]) -> Assessor:
    """The assessor for what is predicted, as `ledger.scores` has it; empty, as of old runs: binary."""
    task = task_of(Target.model_validate(target) if target else None)
    return _BY_TASK[task.target.task](task)
