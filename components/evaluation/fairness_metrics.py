"""Metrics of how differently a model treats the groups of a sensitive column, the same for rows and for batches.

They are about the whole evaluation split, which has all groups; on a slice of it they say nothing. What is measured
follows from the task, see `components.tasks`; how it is compared is in `components.evaluation.disparities`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types, metric_util
from tensorflow_model_analysis.proto import config_pb2

from components import tasks
from components.evaluation import disparities

# Of more groups, such as those of postcodes, only the ones that are compared are listed.
_MOST_LISTED = 100


class _OfGroups(metric_types.Metric):
    """A metric that follows from what was measured of the groups of a column.

    Settings of all: `column`; `target`, what is predicted, see `components.tasks.of`; `threshold`, the least
    probability that counts as positive; `min_rows` of a group that is compared.
    """

    row_wise = True

    def __init__(self, name: str, **settings: Any):
        super().__init__(metric_util.merge_per_key_computations(self._computations), name=name, **settings)

    def derived(self, measured: dict[str, Any]) -> Any:
        """Returns the metric, given `groups`, `ungrouped` and `measures` as `GroupRates` writes them."""
        raise NotImplementedError

    def _computations(
        self,
        name: str,
        eval_config: config_pb2.EvalConfig | None = None,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
        **settings: Any,
    ) -> metric_types.MetricComputations:
        del settings
        where = {"model_name": model_name, "output_name": output_name, "example_weighted": example_weighted}
        column = self.kwargs["column"]
        key = metric_types.MetricKey(name=name, **where)
        # TFMA keeps to itself what begins with an underscore.
        whole = metric_types.MetricKey(name=f"_groups/{column}", **where)
        features: list[metric_types.Preprocessor] = [metric_types.FeaturePreprocessor([column])]
        computations: metric_types.MetricComputations = [
            metric_types.MetricComputation([whole], features, _GroupsCombiner(whole, eval_config, self.kwargs)),
            metric_types.DerivedMetricComputation([key], lambda values: {key: self.derived(values[whole])}),
        ]
        return computations


class GroupRates(_OfGroups):
    """All that was measured, as JSON: `column`, `groups`, `measures`, and what the settings say besides.

    `groups` are name and rows of each group, or if there are many of those that are compared; `unlisted` is how many
    there are besides; `ungrouped` is how many rows have no value of the column, and `measures`
    are as `components.evaluation.disparities.report` returns them, each with what is `allowed`. Further settings:
    `feature`, whether the contract lets models read the column; `allowed`, the largest difference by measure, of those
    that decide about the blessing; `order`, of the groups, where they have one.
    """

    def derived(self, measured: dict[str, Any]) -> str:
        """Returns the document."""
        order = {name: place for place, name in enumerate(self.kwargs["order"])}
        found = sorted(measured["groups"], key=lambda group: (order.get(group["group"], len(order)), group["group"]))
        many = len(found) > _MOST_LISTED
        groups = [group for group in found if not many or group["rows"] >= self.kwargs["min_rows"]]
        names, allowed = [group["group"] for group in groups], self.kwargs["allowed"]
        return json.dumps(
            {
                **{name: self.kwargs[name] for name in ("column", "feature", "min_rows")},
                "groups": groups,
                "unlisted": len(found) - len(groups),
                "ungrouped": measured["ungrouped"],
                "measures": [
                    {
                        **measure,
                        **{field: {name: measure[field][name] for name in names} for field in ("values", "counted")},
                        "allowed": allowed.get(measure["name"]),
                    }
                    for measure in measured["measures"]
                ],
            },
            allow_nan=False,
        )


class CertainDifference(_OfGroups):
    """The lower end of the 95 % interval of a difference between two groups, the largest one of all pairs.

    A gate asks this value, so that only a difference that is larger than luck explains refuses a model. It is no number
    if fewer than two groups can be compared, which no threshold lets pass. Further setting: `measure`.
    """

    def derived(self, measured: dict[str, Any]) -> float:
        """Returns it."""
        surest = next(found["surest"] for found in measured["measures"] if found["name"] == self.kwargs["measure"])
        return float("nan") if surest is None else surest["low"]


class _GroupsCombiner(beam.CombineFn):
    """Adds up `disparities.sums` of each group, and under None the number of rows that have none."""

    def __init__(
        self, key: metric_types.MetricKey, eval_config: config_pb2.EvalConfig | None, settings: Mapping[str, Any]
    ):
        self._key, self._eval_config = key, eval_config
        self._column, self._min_rows, self._threshold = (settings[name] for name in ("column", "min_rows", "threshold"))
        self._task = tasks.of(settings["target"])

    def create_accumulator(self) -> dict[str | None, np.ndarray]:
        return {}

    def add_input(
        self, accumulator: dict[str | None, np.ndarray], element: metric_types.StandardMetricInputs
    ) -> dict[str | None, np.ndarray]:
        named = element.get(constants.FEATURES_KEY, {}).get(self._column)
        for label, prediction, _ in metric_util.to_label_prediction_example_weight(
            element,
            eval_config=self._eval_config,
            model_name=self._key.model_name,
            output_name=self._key.output_name,
            example_weighted=bool(self._key.example_weighted),
            flatten=False,
        ):
            labels = label.astype(np.float64).ravel()
            answers = prediction.astype(np.float64).reshape(len(labels), -1)
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
