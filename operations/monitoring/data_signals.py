"""What the data of a window says: distances by TFDV, missing and unseen values, by the rules of the curated schema.

A window is a sample. So a number exceeds its threshold only if all of its 95 % interval does, and never because of
fewer than `Monitoring.fewest_requests` requests.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from operations import tasks
from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

SERVING = "SERVING"
TRAINING = "TRAINING"
_MOST_VALUES = 3
# At least 95 % of samples of n rows have all their shares within this by the root of n, however many categories there
# are: Thompson, "Sample Size for Estimating Multinomial Proportions", The American Statistician 41 (1987).
_ALL_SHARES = math.sqrt(1.27359)


def statistics(rows: pd.DataFrame, schema: schema_pb2.Schema) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of the columns that the curated schema knows, from plain values or null."""
    import tensorflow_data_validation as tfdv

    return tfdv.generate_statistics_from_dataframe(_typed(rows, schema), tfdv.StatsOptions(schema=schema))


def ranges(*of: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value of each numeric column in any of some statistics."""
    seen: dict[str, tuple[float, float]] = {}
    for split in of:
        for name, feature in _features(split).items():
            if feature.WhichOneof("stats") == "num_stats":
                numbers = feature.num_stats
                low, high = seen.get(name, (numbers.min, numbers.max))
                seen[name] = min(low, numbers.min), max(high, numbers.max)
    return seen


def missing_shares(of: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float]:
    """The share of missing values of each column, from statistics."""
    shares = {}
    for name, feature in _features(of).items():
        common = _common(feature)
        total = common.num_missing + common.num_non_missing
        shares[name] = common.num_missing / total if total else 0.0
    return shares


def _features(of: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, Any]:
    return {feature.name or ".".join(feature.path.step): feature for feature in of.datasets[0].features}


def without_extremes(
    rows: pd.DataFrame, requests: np.ndarray, trained: Mapping[str, tuple[float, float]], settings: Monitoring
) -> pd.DataFrame:
    """A copy of the rows in which numbers beyond all training data are null, where only a few requests have them.

    TFDV divides the range of a column into bins of equal width. So a single extreme value moves all others into other
    bins, and the distance is that of the bins and not of the data. `requests` says which request each row came with
    [rows], `trained` has the smallest and the largest value in training, by column; other columns stay as they are.
    """
    trimmed = rows.copy()
    for name, (lowest, highest) in trained.items():
        if name not in rows.columns:
            continue
        numbers = pd.Series(pd.to_numeric(rows[name], errors="coerce"), dtype="float64")
        by_request = numbers.groupby(requests)
        low = pd.Series(by_request.min()).nsmallest(settings.fewest_requests).max()
        high = pd.Series(by_request.max()).nlargest(settings.fewest_requests).min()
        trimmed[name] = rows[name].mask((numbers < min(low, lowest)) | (numbers > max(high, highest)))
    return trimmed


def skew(
    served: statistics_pb2.DatasetFeatureStatisticsList,
    ingested: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Signal]:
    """The distance of each column between the requests and the examples that were ingested of the same time.

    Both come from the same events and the same code, so any distance is a fault in one of the two paths of the data.
    The schema has a skew comparator for each column that is compared.
    """
    return list(
        _distances("skew", ingested, served, schema, "what was served is from what was ingested of the same time")
    )


def drift(
    served: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    than: str,
    steps: int = 1,
) -> list[Signal]:
    """The distance of each column between the requests and a reference, such as the window before, `than` in words.

    The schema has a drift comparator for each column that is compared, made for neighbours. Seasons go on while windows
    are left out because their data are at fault, so the threshold is multiplied by the steps that the reference lies
    back.
    """
    return list(_distances("drift", served, reference, schema, f"this window is from {than}", steps))


def label_drift(
    labels: pd.DataFrame,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    summary: str,
    than: str,
    steps: int = 1,
) -> list[Signal]:
    """As `drift`, of the one column of labels that have arrived; no signal if the label has no drift comparator.

    A class share that jumps between two windows rarely comes from the world: flipped labels, or labels that never
    arrive for one class, look like that. `summary` is what the labels are, in a few words.
    """
    (name,) = labels.columns
    between = f"the labels ({summary}) are from those of {than}"
    signals = _distances("label", statistics(labels, schema), reference, schema, between, steps)
    return [signal for signal in signals if signal.subject == name]


def _distances(
    kind: Literal["skew", "drift", "label"],
    now: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    between: str,
    steps: int = 1,
) -> Iterator[Signal]:
    """The signals of what TFDV has measured; with an interval if the two sides are samples, and not the same rows."""
    import tensorflow_data_validation as tfdv

    other = {"serving_statistics" if kind == "skew" else "previous_statistics": reference}
    environment = SERVING if kind == "drift" else TRAINING
    anomalies: Any = tfdv.validate_statistics(now, schema, environment=environment, **other)
    features = [] if kind == "skew" else [_features(now), _features(reference)]
    for info in anomalies.drift_skew_info:
        column = ".".join(info.path.step)
        for measured in info.skew_measurements if kind == "skew" else info.drift_measurements:
            name = type(measured).Type.Name(measured.type).lower()
            limits = None, None
            if samples := [sample[column] for sample in features]:
                by_rows = sum(1 / max(1, _common(sample).num_non_missing) for sample in samples)
                limits = _interval(name, measured.value, by_rows, max(2, *map(_cells, samples)))
            yield _distance(kind, name, column, measured.value, limits, steps * measured.threshold, between)


def number_drift(task: tasks.Task, labels: np.ndarray, reference: np.ndarray, than: str, threshold: float) -> Signal:
    """As `label_drift`, of numbers, float64 [labels] and [reference], by the distance of the task.

    TFDV divides the range of a number into bins of equal width. Of one with a few values far from the others, such as a
    delay, nearly all are in one bin, and the distance is that of the extremes.
    """
    value = task.distance(labels, reference)
    limits = _interval("jensen_shannon_divergence", value, 1 / len(labels) + 1 / len(reference), tasks.BINS)
    between = f"the labels ({task.summary(labels)}) are from those of {than} ({task.summary(reference)})"
    return _distance("label", "jensen_shannon_divergence", task.target.label, value, limits, threshold, between)


def _distance(
    kind: Literal["skew", "drift", "label"],
    name: str,
    column: str,
    value: float,
    limits: tuple[float, float] | tuple[None, None],
    threshold: float,
    between: str,
) -> Signal:
    low, high = limits
    exceeded = (value if low is None else low) > threshold
    words = "L-infinity distance" if name == "l_infty" else "Jensen-Shannon divergence"
    interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return Signal(
        kind=kind,
        name=name,
        subject=column,
        value=value,
        low=low,
        high=high,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"{column}: the {words} by which {between} is {value:.3f}{interval}, "
        f"{_beside(value, threshold, exceeded)} {threshold:g}",
    )


def _interval(name: str, distance: float, by_rows: float, cells: int) -> tuple[float, float]:
    """The 95 % interval of the distance between the distributions that two samples were drawn from.

    `by_rows` is 1 by the rows of one sample, and 1 by those of the other; `cells` are categories or bins.

    By the triangle inequality it differs from the distance of the samples by no more than each sample is from its
    distribution; the two errors are independent, and add up by their squares. The L-infinity distance is a metric, and
    so is the root of the divergence (Endres and Schindelin, IEEE Trans. Inf. Theory 49, 2003). The divergence of a
    sample of n rows from its distribution, times 8 n ln 2, is chi-squared with one degree of freedom less than there
    are bins (Menéndez and others, "The Jensen-Shannon Divergence", Journal of the Franklin Institute 334, 1997).
    """
    from scipy.stats import chi2

    if name == "l_infty":
        error = _ALL_SHARES * math.sqrt(by_rows)
        return max(0.0, distance - error), min(1.0, distance + error)
    error = math.sqrt(float(chi2.ppf(0.95, cells - 1)) * by_rows / (8 * math.log(2)))
    root = math.sqrt(max(0.0, distance))
    return max(0.0, root - error) ** 2, min(1.0, root + error) ** 2


def _common(feature: Any) -> Any:
    """What TFDV's statistics of a column have whatever its type."""
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _cells(feature: Any) -> int:
    """How many categories, or bins of equal width, have a row; TFDV puts fractions of rows into others."""
    if feature.WhichOneof("stats") == "string_stats":
        return feature.string_stats.unique
    equal_widths = (bins for bins in feature.num_stats.histograms if bins.type == bins.STANDARD)
    return max((sum(bucket.sample_count >= 1 for bucket in bins.buckets) for bins in equal_widths), default=0)


def _beside(value: float, threshold: float, exceeded: bool) -> str:
    """How a number stands to its threshold, in words that the threshold follows."""
    if exceeded:
        return "more than"
    return "not certainly more than" if value > threshold else "within"


def missing(
    rows: pd.DataFrame,
    requests: np.ndarray,
    schema: schema_pb2.Schema,
    settings: Monitoring,
    trained: Mapping[str, float],
) -> list[Signal]:
    """The share of missing values by column, compared with the schema if it is required, and else with training.

    `requests` says which request each row came with [rows]; `trained` has the shares in training, by column.
    """
    signals = []
    for feature in schema.feature:
        if feature.name not in rows.columns or SERVING in feature.not_in_environment:
            continue
        lacking = rows[feature.name].isna().to_numpy()
        required, before = feature.presence.min_fraction, trained.get(feature.name, 0.0)
        threshold = 1 - required if required else min(1.0, before + settings.missing_increase)
        signal = _share("missing", feature.name, lacking, requests, threshold, "missing", settings)
        signals.append(signal.model_copy(update={"meaning": f"{signal.meaning}; in training it was {before:.2%}"}))
    return signals


def unseen(rows: pd.DataFrame, requests: np.ndarray, schema: schema_pb2.Schema, settings: Monitoring) -> list[Signal]:
    """The share of values that the schema does not allow, by column: unknown words, numbers out of range."""
    signals = []
    for feature in schema.feature:
        if feature.name not in rows.columns:
            continue
        present = rows[feature.name].notna().to_numpy()
        values = rows.loc[present, feature.name]
        outside = _outside(values, feature, schema)
        if outside is None:
            continue
        threshold = 1 - feature.distribution_constraints.min_domain_mass
        most = values[outside].astype(str).value_counts().head(_MOST_VALUES)
        examples = f", most often {', '.join(f'{value} ({count:,})' for value, count in most.items())}"
        fault = f"not allowed by the schema{examples if len(most) else ''}"
        signals.append(_share("unseen", feature.name, outside, requests[present], threshold, fault, settings))
    return signals


def _outside(values: pd.Series, feature: schema_pb2.Feature, schema: schema_pb2.Schema) -> np.ndarray | None:
    """Which values are outside the column's domain, bool [values]; None if it has no domain."""
    kind = feature.WhichOneof("domain_info")
    if kind in ("domain", "string_domain"):
        domains = {domain.name: domain for domain in schema.string_domain}
        domain = domains.get(feature.domain) if kind == "domain" else feature.string_domain
        return ~values.astype(str).isin(list(domain.value) if domain else []).to_numpy(dtype=bool)
    if kind not in ("int_domain", "float_domain"):
        return None
    bounds = getattr(feature, kind)
    numbers = pd.to_numeric(values, errors="coerce")
    inside = np.ones(len(values), dtype=bool)
    if bounds.HasField("min"):
        inside &= (numbers >= bounds.min).to_numpy(dtype=bool)
    if bounds.HasField("max"):
        inside &= (numbers <= bounds.max).to_numpy(dtype=bool)
    return ~inside


def _share(
    kind: Literal["missing", "unseen"],
    column: str,
    at_fault: np.ndarray,
    requests: np.ndarray,
    threshold: float,
    fault: str,
    settings: Monitoring,
) -> Signal:
    """The share of the values of a column that are at fault, with Wilson's interval (J. Am. Stat. Assoc. 22, 1927).

    `at_fault` is bool [values], `requests` which request each came with [values], `fault` words that follow "are".
    """
    from scipy.stats import binomtest

    count, total = int(at_fault.sum()), len(at_fault)
    share, low, high = 0.0, 0.0, 1.0
    if total:
        interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
        share, low, high = count / total, float(interval.low), float(interval.high)
    beyond = share > threshold + 1e-9
    few = len(np.unique(requests[at_fault])) < settings.fewest_requests
    exceeded = beyond and low > threshold and not few
    meaning = f"{column}: {count:,} of {total:,} values ({share:.2%}, 95% interval {low:.2%} to {high:.2%}) "
    meaning += f"{'is' if count == 1 else 'are'} {fault}; {_beside(share, threshold + 1e-9, exceeded)} {threshold:.2%}"
    if beyond and few:
        meaning += f", as fewer than {settings.fewest_requests} requests have one"
    return Signal(
        kind=kind,
        name=f"{kind}_share",
        subject=column,
        value=share,
        low=low,
        high=high,
        threshold=threshold,
        exceeded=exceeded,
        meaning=meaning,
    )


def _typed(rows: pd.DataFrame, schema: schema_pb2.Schema) -> pd.DataFrame:
    """The columns of the schema in its types: pandas makes floats of whole numbers with one missing value."""
    from tensorflow_metadata.proto.v0 import schema_pb2

    typed = {}
    for feature in schema.feature:
        if feature.name not in rows.columns:
            continue
        column = rows[feature.name]
        if feature.type == schema_pb2.INT:
            typed[feature.name] = [None if pd.isna(value) else [int(value)] for value in column]
        elif feature.type == schema_pb2.FLOAT:
            typed[feature.name] = column.astype("float32")
        else:
            typed[feature.name] = column.astype(object).where(column.notna(), None)
    return pd.DataFrame(typed, index=rows.index)
