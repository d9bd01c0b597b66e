"""Which values of a metric are better, by the settings of the run that measured it."""

from __future__ import annotations

import re
from typing import Any


def reported(name: str) -> str:
    """The name under which TFMA reports a class of metric, such as AUCPrecisionRecall -> auc_precision_recall."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def directions(settings: Any) -> dict[str, Any]:
    """Reported name of each metric -> `higher`, `lower` or `neither`, from the document of a run's settings."""
    metrics = settings.get("evaluation", {}).get("metrics", []) if isinstance(settings, dict) else []
    return {reported(metric["name"]): metric.get("better") for metric in metrics}
