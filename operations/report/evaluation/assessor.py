"""What an assessor of a task does: measures predictions against labels, and says what the pages show of that."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import Any

from ledger.scores import ScoredRows
from operations.report.plots import Plot
from operations.tasks import Task


@dataclasses.dataclass(frozen=True)
class Assessment:
    """How good a model is.

    Attributes:
        template: of the part of the run's page, which is given this object as `assessed`.
        quality: the figures.
        plots: by the name that the template knows.
        card: the heading and the plot on the model card.
        limits: sentences that warn of what the figures show.
    """

    template: str
    quality: Any
    plots: dict[str, Plot | None]
    card: tuple[str, Plot]
    limits: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Assessor(ABC):
    """How models of one task are assessed."""

    task: Task

    @abstractmethod
    def told(self, label: float, answer: Any) -> tuple[str, str]:
        """The label of a row, and what the model answered, a number or a list of them, in words."""

    @abstractmethod
    def assess(self, scored: ScoredRows, settings: dict[str, Any]) -> Assessment:
        """Assesses the scores of a run; raises a ValueError if there are no rows."""
