"""A binary task: curves, calibration, and confusion at a threshold that the page can move."""

from __future__ import annotations

from typing import Any

from ledger.formats import number, percent
from ledger.scores import ScoredRows
from operations.report import plots, quality
from operations.report.evaluation.assessor import Assessment, Assessor

_DEFAULT_THRESHOLD = 0.5
_NOTABLE = 0.02  # of a mean prediction, beyond the share of positives


class BinaryAssessor(Assessor):
    """Of the probability that the label is 1."""

    def told(self, label: float, answer: Any) -> tuple[str, str]:
        """The label as 0 or 1, and the probability."""
        return f"{label:g}", number(answer)

    def assess(self, scored: ScoredRows, settings: dict[str, Any]) -> Assessment:
        """Assesses probabilities, at the threshold of the run's settings."""
        threshold = settings.get("evaluation", {}).get("decision_threshold", _DEFAULT_THRESHOLD)
        assessed = quality.assess(scored.labels, scored.predictions, threshold)
        calibration = plots.calibration(assessed.groups, assessed.calibration_error)
        return Assessment(
            template="binary",
            quality=assessed,
            plots={
                "roc": plots.roc(assessed) if assessed.roc else None,
                "precision_recall": plots.precision_recall(assessed) if assessed.precision_recall else None,
                "calibration": calibration,
                "scores": plots.scores(assessed),
            },
            card=("Calibration", calibration),
            limits=_limits(assessed),
        )


def _limits(assessed: quality.Quality) -> tuple[str, ...]:
    mean = sum(group.predicted * group.rows for group in assessed.groups) / assessed.rows
    if abs(mean - assessed.base_rate) <= _NOTABLE:
        return ()
    way = "low" if mean < assessed.base_rate else "high"
    return (
        f"Its predictions are too {way}: {percent(mean)} on average, where {percent(assessed.base_rate)} of the rows "
        "were positive.",
    )
