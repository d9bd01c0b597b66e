"""How a challenger is judged by how differently it treats people: TFMA's configuration, and what refused it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from tensorflow_model_analysis.proto import config_pb2

from components.tasks import Task
from data.contract import Column
from ledger.fairness import ColumnFairness
from pipeline.settings import Evaluation

_MODULE = "components.evaluation.fairness_metrics"
# As the module has it, which loads TensorFlow.
PREFIX = "fairness/"


def configuration(
    evaluation: Evaluation, task: Task, sensitive: Sequence[Column], whole: config_pb2.SlicingSpec
) -> list[config_pb2.MetricConfig]:
    """The metrics of each sensitive column, and on the whole evaluation split the bounds that are asked of them."""
    metrics = []
    for column in sensitive:
        settings = {
            "column": column.name,
            "target": task.target,
            "threshold": evaluation.decision_threshold,
            "min_rows": evaluation.min_slice_size,
        }
        further = {
            "feature": column.sensitive == "feature",
            "allowed": evaluation.fairness,
            "order": column.group_names or column.values or (),
        }
        name = f"{PREFIX}{column.name}"
        metrics.append(_metric("GroupRates", {"name": name, **settings, **further}))
        for measure, allowed in evaluation.fairness.items():
            asked = _metric("CertainDifference", {"name": f"{name}/{measure}", **settings, "measure": measure})
            threshold = config_pb2.MetricThreshold()
            threshold.value_threshold.upper_bound.value = allowed
            asked.per_slice_thresholds.append(
                config_pb2.PerSliceMetricThreshold(slicing_specs=[whole], threshold=threshold)
            )
            metrics.append(asked)
    return metrics


def refusal(metric: str, measured: Mapping[str, ColumnFairness]) -> str | None:
    """Why a metric refused the challenger, as a clause; None if it is not of those above.

    `measured` is what was measured, by column.
    """
    for name, column in measured.items():
        for measure in column.measures:
            if metric == f"{PREFIX}{name}/{measure.name}":
                return column.refusal(measure)
    return None


def _metric(kind: str, settings: Mapping[str, object]) -> config_pb2.MetricConfig:
    return config_pb2.MetricConfig(class_name=kind, module=_MODULE, config=json.dumps(settings))
