"""A run as it is read by people: one typed view, from which the pages, tables and comments about it are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from ledger.directions import of_metric
from ledger.fairness import ColumnFairness
from ledger.formats import spans
from ledger.run_record import RunRecord

WORST_SLICES = 5
# Below, the metrics of a slice are mostly chance; unless the run's settings say otherwise.
FEW_ROWS = 100
# Changes smaller than what is shown of them are neither better nor worse.
_SHOWN_CHANGE = 5e-5


class SliceMetrics(BaseModel):
    """The metrics of one slice of the evaluation split, as the document `slices` of a record has them.

    Attributes:
        slice: such as ``column=value, other=value``; empty for the whole split.
        challenger: metric name -> value.
        champion: the same of the champion; empty if there was none.
    """

    model_config = ConfigDict(frozen=True)

    slice: str
    rows: int
    challenger: dict[str, float]
    champion: dict[str, float] = {}


class Anomaly(BaseModel):
    """What DataGate found, as the document `anomalies` of a record has it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    severity: str
    split: str
    column: str
    rule: str
    found: str

    def sentence(self) -> str:
        """The anomaly in one line."""
        return f"{self.severity}: {self.split}: {self.column}: {self.rule}: {self.found}"


SLICES = TypeAdapter(tuple[SliceMetrics, ...])
ANOMALIES = TypeAdapter(tuple[Anomaly, ...])


@dataclasses.dataclass(frozen=True)
class MetricView:
    """A metric of a run beside the champion's.

    Attributes:
        value: the challenger's; None where it was not measured.
        champion: the champion's on the same rows; None if there was none.
        better: ``higher``, ``lower`` or ``neither``.
        thresholds: what was asked of it: rule -> bound.
    """

    name: str
    value: float | None
    champion: float | None
    better: str
    thresholds: dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def change(self) -> float | None:
        """Value - champion's value."""
        return None if self.value is None or self.champion is None else self.value - self.champion

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` than the champion; empty if neither, or not known."""
        if self.change is None or abs(self.change) < _SHOWN_CHANGE or self.better == "neither":
            return ""
        return "better" if (self.change > 0) == (self.better == "higher") else "worse"

    @property
    def asked(self) -> str:
        """What was asked of it, such as ``at least 0.65, may lose 0.005``."""
        return ", ".join(f"{rule.replace('_', ' ')} {bound:g}" for rule, bound in self.thresholds.items())


@dataclasses.dataclass(frozen=True)
class RunView:
    """A run with those of its documents that are shown.

    Attributes:
        anomalies: what DataGate found; None if nobody looked.
        min_slice_rows: slices of fewer rows are not among the worst.
        fairness: how differently the model treats the groups of each sensitive column of the contract.
    """

    record: RunRecord
    slices: tuple[SliceMetrics, ...] = ()
    anomalies: tuple[Anomaly, ...] | None = None
    min_slice_rows: int = FEW_ROWS
    fairness: tuple[ColumnFairness, ...] = ()

    @property
    def metrics(self) -> list[MetricView]:
        """The metrics of the whole evaluation split, in the order of the record."""
        return [self.metric(name) for name in self.record.metrics]

    def metric(self, name: str, of: SliceMetrics | None = None) -> MetricView:
        """One metric, of the whole evaluation split or of a slice."""
        record = self.record
        challenger, champion = (record.metrics, record.champion_metrics) if of is None else (of.challenger, of.champion)
        thresholds = of_metric(record.thresholds, name) or {}
        if name == record.main_metric:
            better = record.main_better
        else:
            better = "higher" if "at_least" in thresholds else "lower" if "at_most" in thresholds else "neither"
        return MetricView(name, challenger.get(name), champion.get(name), better, thresholds)

    @property
    def worst_slices(self) -> list[SliceMetrics]:
        """The slices on which the run does worst by its main metric, worst first."""
        return worst(
            self.slices, self.record.main_metric or "", self.record.main_better == "lower", self.min_slice_rows
        )

    @property
    def cached(self) -> int:
        """How many nodes took their results from the cache."""
        return sum(node.state == "cached" for node in self.record.nodes)

    @property
    def champion_saw(self) -> str | None:
        """A warning, if the champion learned from rows on which it is judged."""
        if not self.record.champion_saw:
            return None
        return (
            f"The champion learned from span {spans(self.record.champion_saw)}, on which both models are judged: the "
            "comparison flatters the champion."
        )

    def summary(self) -> dict[str, Any]:
        """The run in one document: `summary.json`, and the answer of ``flightdeck run --json``."""
        record, main = self.record, self.record.main_metric or ""
        # What JSON can say: a metric that is not a number is null.
        facts = json.loads(record.model_dump_json())
        facts |= {
            "settings_digest": record.settings,
            "commit": record.code.commit,
            "dirty": record.code.dirty,
            "platform": None if record.platform is None else record.platform.model_dump(),
            "anomalies": None if self.anomalies is None else [anomaly.sentence() for anomaly in self.anomalies],
            "worst_slices": [
                {**part, "challenger": part["challenger"][main], "champion": part["champion"].get(main)}
                for part in (json.loads(part.model_dump_json()) for part in self.worst_slices)
            ],
        }
        sensitive = {"fairness": [column.model_dump() for column in self.fairness]} if self.fairness else {}
        return {name: facts[name] for name in _SUMMARY} | sensitive


_SUMMARY = (
    *("run_id", "outcome", "reasons", "settings_digest", "commit", "dirty", "platform", "window", "spans", "rows"),
    *("anomalies", "main_metric", "metrics", "champion_metrics", "champion_saw", "worst_slices", "version"),
    *("pushed_to", "nodes", "loading_seconds", "seconds", "peak_mb"),
)


def min_slice_rows(settings: dict[str, Any] | None) -> int:
    """The fewest rows of a slice whose metrics say something, from the document of a run's settings."""
    return (settings or {}).get("evaluation", {}).get("min_slice_size", FEW_ROWS)


def worst(
    slices: Sequence[SliceMetrics], metric: str, lower_is_better: bool, min_rows: int, count: int = WORST_SLICES
) -> list[SliceMetrics]:
    """The slices, without the whole split and those of fewer rows, on which the challenger does worst; worst first."""
    large = [part for part in slices if part.slice and part.rows >= min_rows and metric in part.challenger]
    return sorted(large, key=lambda part: part.challenger[metric], reverse=lower_is_better)[:count]
