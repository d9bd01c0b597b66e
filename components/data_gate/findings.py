"""Reads TFDV's anomalies together with the statistics and the schema, and says what was found in each column.

TFDV's own descriptions name the rule but seldom the evidence ("1 examples, missing 20%"); the evidence is in
the statistics: which values are unexpected and how often, the range that was seen, the share that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tensorflow_metadata.proto.v0 import anomalies_pb2, path_pb2, schema_pb2, statistics_pb2

from components.data_gate.report import ERROR, WARNING, WHOLE_SPLIT, Examined, Finding

_Reason = anomalies_pb2.AnomalyInfo
_MOST_VALUES = 3
_MOST_ALLOWED = 10
_LONGEST_VALUE = 40


@dataclass(frozen=True)
class Evidence:
    """What is known of one column in one split; any part may be missing."""

    statistics: statistics_pb2.FeatureNameStatistics | None
    feature: schema_pb2.Feature | None
    schema: schema_pb2.Schema
    examples: int
    drift: tuple[str, ...]


def examined(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> Examined:
    """Returns the size of a split."""
    dataset = _dataset(statistics)
    return Examined(examples=int(dataset.num_examples), columns=len(dataset.features))


def find(
    split: str,
    anomalies: anomalies_pb2.Anomalies,
    statistics: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> Iterator[Finding]:
    """Yields the findings of a split, in no particular order."""
    dataset = _dataset(statistics)
    if anomalies.data_missing:
        yield Finding(ERROR, split, WHOLE_SPLIT, "No data", "there are no examples at all")
    if anomalies.HasField("dataset_anomaly_info"):
        evidence = Evidence(None, None, schema, int(dataset.num_examples), ())
        yield from _findings(split, WHOLE_SPLIT, anomalies.dataset_anomaly_info, evidence)
    for key, info in anomalies.anomaly_info.items():
        column = _name(info.path) or key
        yield from _findings(split, column, info, _evidence(column, dataset, schema, anomalies))
    yield from _unflagged_drift(split, anomalies)


def _dataset(statistics: statistics_pb2.DatasetFeatureStatisticsList) -> statistics_pb2.DatasetFeatureStatistics:
    """Returns the statistics of all examples; there may be others, of slices."""
    datasets = list(statistics.datasets) or [statistics_pb2.DatasetFeatureStatistics()]
    return next((dataset for dataset in datasets if dataset.name in ("All Examples", "")), datasets[0])


def _findings(split: str, column: str, info: anomalies_pb2.AnomalyInfo, evidence: Evidence) -> Iterator[Finding]:
    """Yields a finding for each reason of an anomaly; a severity that TFDV left open counts as an error."""
    severity = WARNING if info.severity == anomalies_pb2.AnomalyInfo.WARNING else ERROR
    if not info.reason:
        yield Finding(severity, split, column, info.short_description or "Anomaly", _sentence(info.description))
    for reason in info.reason:
        explain = _EXPLANATIONS.get(reason.type)
        text = (explain(evidence) if explain else None) or _sentence(reason.description or info.description)
        yield Finding(severity, split, column, reason.short_description or "Anomaly", text)


def _evidence(
    column: str,
    dataset: statistics_pb2.DatasetFeatureStatistics,
    schema: schema_pb2.Schema,
    anomalies: anomalies_pb2.Anomalies,
) -> Evidence:
    return Evidence(
        statistics=next((f for f in dataset.features if (f.name or _name(f.path)) == column), None),
        feature=next((f for f in schema.feature if f.name == column), None),
        schema=schema,
        examples=int(dataset.num_examples),
        drift=tuple(text for name, text, _ in _drift(anomalies) if name == column),
    )


def _unexpected_values(evidence: Evidence) -> str | None:
    statistics, allowed = evidence.statistics, _allowed_values(evidence)
    if statistics is None or not allowed:
        return None
    counts = {
        bucket.label: int(bucket.sample_count)
        for bucket in statistics.string_stats.rank_histogram.buckets
        if bucket.label not in allowed
    }
    if not counts:
        return None
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{_quoted(value)} {count:,} times" for value, count in ranked[:_MOST_VALUES]]
    more = f" and {len(ranked) - _MOST_VALUES:,} other values" if len(ranked) > _MOST_VALUES else ""
    return f"{', '.join(shown)}{more}; allowed are {_listed(allowed)}"


def _allowed_values(evidence: Evidence) -> list[str]:
    feature = evidence.feature
    if feature is None:
        return []
    if feature.HasField("string_domain"):
        return list(feature.string_domain.value)
    return next((list(d.value) for d in evidence.schema.string_domain if d.name == feature.domain), [])


def _range(evidence: Evidence) -> str | None:
    statistics, feature = evidence.statistics, evidence.feature
    if statistics is None or feature is None or not statistics.HasField("num_stats"):
        return None
    domain = feature.int_domain if feature.HasField("int_domain") else feature.float_domain
    lowest = f"{domain.min:g}" if domain.HasField("min") else "anything"
    highest = f"{domain.max:g}" if domain.HasField("max") else "anything"
    numbers = statistics.num_stats
    return f"values from {numbers.min:g} to {numbers.max:g}; allowed are {lowest} to {highest}"


def _missing(evidence: Evidence) -> str | None:
    if evidence.statistics is None:
        return f"missing in all {evidence.examples:,} examples"
    common = _common(evidence.statistics)
    missing, total = int(common.num_missing), int(common.num_missing + common.num_non_missing)
    if not total:
        return f"missing in all {evidence.examples:,} examples"
    text = f"missing in {missing / total:.2%} of the examples ({missing:,} of {total:,})"
    presence = evidence.feature.presence if evidence.feature is not None else schema_pb2.FeaturePresence()
    if presence.min_fraction:
        text += f"; allowed is {1 - presence.min_fraction:.2%}"
    if presence.min_count > total - missing:
        text += f"; at least {presence.min_count:,} values are required"
    return text


def _common(statistics: statistics_pb2.FeatureNameStatistics) -> statistics_pb2.CommonStatistics:
    kind = statistics.WhichOneof("stats")
    return getattr(statistics, kind).common_stats if kind else statistics_pb2.CommonStatistics()


def _new_column(evidence: Evidence) -> str | None:
    if evidence.statistics is None:
        return None
    kind = statistics_pb2.FeatureNameStatistics.Type.Name(evidence.statistics.type)
    values = int(_common(evidence.statistics).num_non_missing)
    return f"{kind} with {values:,} values is in the data but not in the schema"


def _type(evidence: Evidence) -> str | None:
    if evidence.statistics is None or evidence.feature is None:
        return None
    seen = statistics_pb2.FeatureNameStatistics.Type.Name(evidence.statistics.type)
    expected = schema_pb2.FeatureType.Name(evidence.feature.type)
    return f"the data is {seen}, the schema says {expected}"


def _number_of_examples(evidence: Evidence) -> str | None:
    constraints = evidence.schema.dataset_constraints
    text = f"{evidence.examples:,} examples"
    if constraints.min_examples_count:
        text += f"; at least {constraints.min_examples_count:,} are required"
    if constraints.max_examples_count:
        text += f"; at most {constraints.max_examples_count:,} are allowed"
    return text


def _measured_drift(evidence: Evidence) -> str | None:
    return ", ".join(evidence.drift) or None


_EXPLANATIONS: dict[int, Callable[[Evidence], str | None]] = {
    _Reason.ENUM_TYPE_UNEXPECTED_STRING_VALUES: _unexpected_values,
    _Reason.INT_TYPE_BIG_INT: _range,
    _Reason.INT_TYPE_SMALL_INT: _range,
    _Reason.FLOAT_TYPE_BIG_FLOAT: _range,
    _Reason.FLOAT_TYPE_SMALL_FLOAT: _range,
    _Reason.FEATURE_TYPE_LOW_FRACTION_PRESENT: _missing,
    _Reason.FEATURE_TYPE_LOW_NUMBER_PRESENT: _missing,
    _Reason.FEATURE_TYPE_NOT_PRESENT: _missing,
    _Reason.SCHEMA_MISSING_COLUMN: _missing,
    _Reason.SCHEMA_NEW_COLUMN: _new_column,
    _Reason.UNEXPECTED_DATA_TYPE: _type,
    _Reason.DATASET_LOW_NUM_EXAMPLES: _number_of_examples,
    _Reason.DATASET_HIGH_NUM_EXAMPLES: _number_of_examples,
    _Reason.COMPARATOR_L_INFTY_HIGH: _measured_drift,
    _Reason.COMPARATOR_JENSEN_SHANNON_DIVERGENCE_HIGH: _measured_drift,
    _Reason.COMPARATOR_NORMALIZED_ABSOLUTE_DIFFERENCE_HIGH: _measured_drift,
}
_COMPARATORS = {reason for reason, explain in _EXPLANATIONS.items() if explain is _measured_drift}


def _drift(anomalies: anomalies_pb2.Anomalies) -> Iterator[tuple[str, str, str]]:
    """Yields (column, what was measured, drift or skew) for each distance above its threshold."""
    for info in anomalies.drift_skew_info:
        for kind, measurements in (("drift", info.drift_measurements), ("skew", info.skew_measurements)):
            for measured in measurements:
                if 0 < measured.threshold < measured.value:
                    name = anomalies_pb2.DriftSkewInfo.Measurement.Type.Name(measured.type)
                    distance = name.lower().replace("_", " ")
                    text = f"{kind} ({distance}) of {measured.value:.4g}; allowed is {measured.threshold:.4g}"
                    yield _name(info.path), text, kind


def _unflagged_drift(split: str, anomalies: anomalies_pb2.Anomalies) -> Iterator[Finding]:
    """Yields drift and skew that TFDV measured above the threshold but did not make an anomaly."""
    flagged = {
        _name(info.path) or key
        for key, info in anomalies.anomaly_info.items()
        if any(reason.type in _COMPARATORS for reason in info.reason)
    }
    for column, text, kind in _drift(anomalies):
        if column not in flagged:
            yield Finding(ERROR, split, column, f"High {kind}", text)


def _name(path: path_pb2.Path) -> str:
    return ".".join(path.step)


def _quoted(value: str) -> str:
    return repr(value if len(value) <= _LONGEST_VALUE else value[: _LONGEST_VALUE - 1] + "…")


def _listed(values: list[str]) -> str:
    shown = ", ".join(_quoted(value) for value in sorted(values)[:_MOST_ALLOWED])
    return shown if len(values) <= _MOST_ALLOWED else f"{shown} and {len(values) - _MOST_ALLOWED:,} more"


def _sentence(text: str) -> str:
    return " ".join(text.split()).rstrip(".") or "no description"
