"""How a challenger is judged: TFMA's configuration from the settings, and TFMA's results in plain values.

Only TFMA's messages are used: to read its results, a run with nothing changed need not load TensorFlow.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorflow_model_analysis import constants
from tensorflow_model_analysis.proto import config_pb2, metrics_for_slice_pb2, validation_result_pb2
from tfx.dsl.io import fileio

from components.tasks import Task
from data.contract import Column
from ledger.fairness import ColumnFairness
from ledger.run_view import SliceMetrics
from pipeline import fairness
from pipeline.settings import Evaluation, Metric


def slices(evaluation: Evaluation, sensitive: Sequence[Column]) -> tuple[tuple[str, ...], ...]:
    """By what quality is reported: the columns and crosses that the settings name, and each sensitive column.

    A text whose values the contract does not list may have thousands of them. Its groups are compared, which costs
    little, and are no slices unless the settings name it.
    """
    listed = (column for column in sensitive if column.type != "string" or column.values is not None)
    return tuple(dict.fromkeys((*evaluation.slices, *((column.name,) for column in listed))))


def groups(sensitive: Sequence[Column]) -> dict[str, tuple[tuple[float, ...], tuple[str, ...]]]:
    """The bounds and the names of the groups of sensitive numbers, by column."""
    return {column.name: (column.groups, column.group_names) for column in sensitive if column.groups}


def configuration(evaluation: Evaluation, task: Task, sensitive: Sequence[Column] = ()) -> config_pb2.EvalConfig:
    """What TFMA computes and what a challenger must reach, overall and per slice, and by the sensitive columns."""
    from components.scores.component import BASELINE_KEY, CANDIDATE_KEY  # loads TensorFlow

    whole = config_pb2.SlicingSpec()
    sliced, gated = (
        [config_pb2.SlicingSpec(feature_keys=columns) for columns in specified]
        for specified in (slices(evaluation, sensitive), evaluation.gated_slices)
    )
    metrics = [
        _metric_config(metric, part, whole, gated)
        for metric in evaluation.metrics
        for part in metric.parts(task).values()
    ]
    metrics += [config_pb2.MetricConfig(**fields) for fields in task.pictures]
    metrics += fairness.configuration(evaluation, task, sensitive, whole)
    return config_pb2.EvalConfig(
        # TFX names the models so; it drops the baseline where there is no champion.
        model_specs=[
            _model_spec(task.label, name=constants.CANDIDATE_KEY, prediction_key=CANDIDATE_KEY),
            _model_spec(task.label, name=constants.BASELINE_KEY, prediction_key=BASELINE_KEY, is_baseline=True),
        ],
        slicing_specs=[whole, *sliced],
        metrics_specs=[config_pb2.MetricsSpec(metrics=metrics)],
    )


def results(uri: str) -> list[SliceMetrics]:
    """The metrics of every slice, that of the whole evaluation split first."""
    slices = []
    for record in _metrics(uri):
        values: dict[str, dict[str, float]] = {"challenger": {}, "champion": {}}
        for metric in record.metric_keys_and_values:
            if metric.key.is_diff or metric.key.name.startswith(fairness.PREFIX):
                continue
            if metric.value.WhichOneof("type") == "double_value":
                model = "champion" if metric.key.model_name == constants.BASELINE_KEY else "challenger"
                values[model][metric.key.name] = metric.value.double_value.value
        rows = int(values["challenger"].get("example_count", 0))
        slices.append(SliceMetrics(slice=_slice_name(record.slice_key), rows=rows, **values))
    return sorted(slices, key=lambda part: part.slice)


def differences(uri: str) -> list[ColumnFairness]:
    """How differently the challenger treats the groups of each sensitive column; empty if there is no such column."""
    return [
        ColumnFairness.model_validate_json(metric.value.bytes_value)
        for metric in _whole(uri).metric_keys_and_values
        if metric.key.name.startswith(fairness.PREFIX)
        and metric.key.model_name != constants.BASELINE_KEY
        and metric.value.WhichOneof("type") == "bytes_value"
    ]


def picture(uri: str, task: Task) -> dict[str, Any]:
    """The challenger's picture on the whole evaluation split, as KFP's ClassificationMetrics has it, by its name."""
    values = [
        metric.value
        for metric in _whole(uri).metric_keys_and_values
        if metric.key.model_name != constants.BASELINE_KEY and not metric.key.is_diff
    ]
    return {task.shown_as: task.shown(values)} if task.shown_as else {}


def failed_thresholds(uri: str) -> list[str]:
    """What kept the challenger from being blessed, one clause each; empty if nothing did."""
    measured = {column.column: column for column in differences(uri)}
    return [
        fairness.refusal(failure.metric_key.name, measured)
        or _failed_threshold(failure, _slice_name(per_slice.slice_key))
        for record in _records(f"{uri}/validations.tfrecord")
        for per_slice in validation_result_pb2.ValidationResult.FromString(record).metric_validations_per_slice
        for failure in per_slice.failures
    ]


def _metrics(uri: str) -> Iterator[metrics_for_slice_pb2.MetricsForSlice]:
    return map(metrics_for_slice_pb2.MetricsForSlice.FromString, _records(f"{uri}/metrics-*-of-*.tfrecord"))


def _whole(uri: str) -> metrics_for_slice_pb2.MetricsForSlice:
    """The metrics of the whole evaluation split."""
    return next(record for record in _metrics(uri) if not record.slice_key.single_slice_keys)


def _records(pattern: str) -> Iterator[bytes]:
    """The records of TFRecord files: each has its length and two checksums about it, of 8 and 4 and 4 bytes."""
    for file in sorted(fileio.glob(pattern)):
        with fileio.open(file, "rb") as stream:
            while header := stream.read(12):
                (size,) = struct.unpack("<Q", header[:8])
                yield stream.read(size)
                stream.read(4)


def _model_spec(label: str, **fields: Any) -> config_pb2.ModelSpec:
    """A model whose predictions are read from a column, where Scores wrote them, and not made again."""
    return config_pb2.ModelSpec(model_type=constants.MATERIALIZED_PREDICTION, label_key=label, **fields)


def _metric_config(
    metric: Metric, part: Mapping[str, Any], whole: config_pb2.SlicingSpec, gated: list[config_pb2.SlicingSpec]
) -> config_pb2.MetricConfig:
    """A metric, or a part of one, to which all thresholds of the metric apply."""
    # Not `config.threshold`: that one holds on every slice, and a slice of thirty rows would decide.
    thresholds = (
        ([whole], _threshold(metric, metric.at_least, metric.at_most, metric.may_lose)),
        (gated, _threshold(metric, metric.slices_at_least, None, metric.slices_may_lose)),
    )
    return config_pb2.MetricConfig(
        class_name=metric.name,
        module=metric.module,
        config=json.dumps(part) if part else "",
        per_slice_thresholds=[
            config_pb2.PerSliceMetricThreshold(slicing_specs=slices, threshold=threshold)
            for slices, threshold in thresholds
            if slices and threshold is not None
        ],
    )


def _threshold(
    metric: Metric, at_least: float | None, at_most: float | None, may_lose: float | None
) -> config_pb2.MetricThreshold | None:
    threshold = config_pb2.MetricThreshold()
    if at_least is not None:
        threshold.value_threshold.lower_bound.value = at_least
    if at_most is not None:
        threshold.value_threshold.upper_bound.value = at_most
    if may_lose is not None:
        higher = metric.better == "higher"
        threshold.change_threshold.direction = (
            config_pb2.MetricDirection.HIGHER_IS_BETTER if higher else config_pb2.MetricDirection.LOWER_IS_BETTER
        )
        threshold.change_threshold.absolute.value = -may_lose if higher else may_lose
    return threshold if threshold.ByteSize() else None


def _failed_threshold(failure: Any, where: str) -> str:
    name = f"{failure.metric_key.name}{f' on {where}' if where else ''}"
    value = failure.metric_value.double_value.value
    if failure.metric_key.is_diff:
        allowed = failure.metric_threshold.change_threshold.absolute.value
        return f"{name} changed by {value:+.4f} against the champion, and {allowed:+.4f} is allowed"
    bounds = failure.metric_threshold.value_threshold
    if bounds.HasField("lower_bound") and not value >= bounds.lower_bound.value:
        return f"{name} is {value:.4f}, and must be at least {bounds.lower_bound.value:g}"
    return f"{name} is {value:.4f}, and must be at most {bounds.upper_bound.value:g}"


def _slice_name(key: Any) -> str:
    values = [(part.column, getattr(part, part.WhichOneof("kind"))) for part in key.single_slice_keys]
    return ", ".join(f"{name}={value.decode() if isinstance(value, bytes) else value}" for name, value in values)
