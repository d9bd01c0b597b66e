"""Metrics of how differently a model treats the groups of a sensitive column, the same for rows and for batches.

They are about the whole evaluation split, which has all groups; on a slice of it they say nothing. What is measured
follows from the task, see `components.tasks`; how it is compared is in `components.evaluation.disparities`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from components import tasks
from components.evaluation import disparities
from components.evaluation.row_metrics import DerivedMetric, RowCombiner

# Of more groups, such as those of postcodes, only the ones that are compared are listed.
_MOST_LISTED = 100


class _OfGroups(DerivedMetric):
    """A metric that follows from what was measured of the groups of a column.

    Settings of all: `column`; `target`, what is predicted, see `components.tasks.of`; `threshold`, the least
    probability that counts as positive; `min_rows` of a group that is compared. `derived` is given `groups`,
    `ungrouped` and `measures` as `GroupRates` writes them.
    """

    @property
    def source(self) -> str:
        """The same for all metrics of a column."""
        return f"groups/{self.kwargs['column']}"

    def combined(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None
    ) -> metric_types.MetricComputation:
        """Returns what measures the groups, with the column at hand."""
        column = metric_types.FeaturePreprocessor([self.kwargs["column"]])
        return metric_types.MetricComputation([key], [column], _GroupsCombiner(key, eval_config, self.kwargs))


class GroupRates(_OfGroups):
    """All that was measured, as JSON: `column`, `groups`, `measures`, and what the settings say besides.

    `groups` are name and rows of each group, or if there are many of those that are compared; `unlisted` is how many
    there are besides; `ungrouped` is how many rows have no value of the column, and `measures`
    are as `components.evaluation.disparities.report` returns them, each with what is `allowed`. Further settings:
    `feature`, whether the contract lets models read the column; `allowed`, the largest difference by measure, of those
    that decide about the blessing; `order`, of the groups, where they have one.
    """

    def derived(self, value: dict[str, Any]) -> str:
        """Returns the document."""
        order = {name: place for place, name in enumerate(self.kwargs["order"])}
        found = sorted(value["groups"], key=lambda group: (order.get(group["group"], len(order)), group["group"]))
        many = len(found) > _MOST_LISTED
        groups = [group for group in found if not many or group["rows"] >= self.kwargs["min_rows"]]
        names, allowed = [group["group"] for group in groups], self.kwargs["allowed"]
        return json.dumps(
            {
                **{name: self.kwargs[name] for name in ("column", "feature", "min_rows")},
                "groups": groups,
                "unlisted": len(found) - len(groups),
                "ungrouped": value["ungrouped"],
                "measures": [
                    {
                        **measure,
                        **{field: {name: measure[field][name] for name in names} for field in ("values", "counted")},
                        "allowed": allowed.get(measure["name"]),
                    }
                    for measure in value["measures"]
                ],
            },
            allow_nan=False,
        )


class CertainDifference(_OfGroups):
    """The lower end of the 95 % interval of a difference between two groups, the largest one of all pairs.

    A gate asks this value, so that only a difference that is larger than luck explains refuses a model. It is no number
    if fewer than two groups can be compared, which no threshold lets pass. Further setting: `measure`.
    """

    def derived(self, value: dict[str, Any]) -> float:
        """Returns it."""
        surest = next(found["surest"] for found in value["measures"] if found["name"] == self.kwargs["measure"])
        return float("nan") if surest is None else surest["low"]


class _GroupsCombiner(RowCombiner):
    """Adds up `disparities.sums` of each group, and under None the number of rows that have none."""

    def __init__(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None, settings: Mapping[str, Any]
    ):
        super().__init__(key, eval_config)
        self._column, self._min_rows, self._threshold = (settings[name] for name in ("column", "min_rows", "threshold"))
        self._task = tasks.of(settings["target"])

    def create_accumulator(self) -> dict[str | None, np.ndarray]:
        return {}

    def add_input(
        self, accumulator: dict[str | None, np.ndarray], element: metric_types.StandardMetricInputs
    ) -> dict[str | None, np.ndarray]:
        named = element.get(constants.FEATURES_KEY, {}).get(self._column)
        for labels, answers, _ in self.rows(element):
            outcomes = self._task.outcomes(labels, answers, self._threshold)
            names, groups = _groups(named, len(labels))
            rows, totals = np.bincount(groups, minlength=len(names)), disparities.sums(outcomes, groups, len(names))
            for place in np.flatnonzero(rows):
                # The rows of a group come first: not each of them counts for each outcome.
                own = np.vstack([[rows[place], 0, 0], totals[place]])
                accumulator[names[place]] = accumulator.get(names[place], 0) + own
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[dict[str | None, np.ndarray]]) -> dict[str | None, np.ndarray]:
        merged = self.create_accumulator()
        for accumulator in accumulators:
            for group, totals in accumulator.items():
                merged[group] = merged.get(group, 0) + totals
        return merged

    def extract_output(self, accumulator: dict[str | None, np.ndarray]) -> dict[metric_types.MetricKey, Any]:
        rows = {group: int(totals[0, 0]) for group, totals in accumulator.items()}
        ungrouped = rows.pop(None, 0)
        named = sorted(group for group in rows if group is not None)
        groups = {group: accumulator[group][1:] for group in named}
        nothing = self._task.outcomes(np.zeros(0), np.zeros((0, self._task.width)), self._threshold)
        measures = disparities.report(groups, {group: rows[group] for group in named}, nothing, self._min_rows)
        found = {
            "groups": [{"group": group, "rows": rows[group]} for group in named],
            "ungrouped": ungrouped,
            "measures": measures,
        }
        return {self._key: found}


def _groups(values: Any, rows: int) -> tuple[list[str | None], np.ndarray]:
    """The names of the groups, and the number of each row's, int [rows]; the last one, None, has no value."""
    named = np.asarray([] if values is None else values).ravel()
    # A row without a value has an empty array where rows come one by one.
    encoded = (pa.array(named, from_pandas=True) if len(named) == rows else pa.nulls(rows)).dictionary_encode()
    present = encoded.dictionary.drop_null().to_pylist()
    names = [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in present]
    return [*names, None], pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)
