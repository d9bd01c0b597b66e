"""Which values of a metric are better, by the settings of the run that measured it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Classes of metrics that have a value for each class, or decile: what these begin with -> the class as reported.
_FAMILIES = {"precision/": "class_precision", "recall/": "class_recall", "mae/decile_": "decile_mae"}


def reported(name: str) -> str:
    """The name under which TFMA reports a class of metric, such as AUCPrecisionRecall -> auc_precision_recall."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def of_metric(by_class: Mapping[str, Any], metric: str) -> Any:
    """What is known of a metric, by its name or, such as ``recall/late``, by that of its class; None if nothing is."""
    family = next((name for beginning, name in _FAMILIES.items() if metric.startswith(beginning)), metric)
    return by_class.get(metric, by_class.get(family))


def directions(settings: Any) -> dict[str, Any]:
    """Reported name of each metric -> `higher`, `lower` or `neither`, from the document of a run's settings."""
    metrics = settings.get("evaluation", {}).get("metrics", []) if isinstance(settings, dict) else []
    return {reported(metric["name"]): metric.get("better") for metric in metrics}
