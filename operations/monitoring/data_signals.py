"""What the data of a window says: distances by TFDV, missing and unseen values, by the rules of the curated schema.

A window is a sample, and somebody may have tried something in it. So a number exceeds its threshold only if all of its
95 % interval does, and never by what fewer than `Monitoring.fewest_requests` requests show.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from operations.monitoring.settings import Monitoring
from operations.monitoring.signals import Signal

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

SERVING = "SERVING"
TRAINING = "TRAINING"
_MOST_VALUES = 3
# At least 95 % of samples of n rows have all their shares within this by the root of n, however many categories there
# are: Thompson, "Sample Size for Estimating Multinomial Proportions", The American Statistician 41 (1987).
_ALL_SHARES = math.sqrt(1.27359)


def statistics(rows: pd.DataFrame, schema: schema_pb2.Schema) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of the columns that the schema knows.

    Args:
        rows: plain values; what is missing is null.
        schema: the curated one.
    """
    import tensorflow_data_validation as tfdv

    known = [each.name for each in schema.feature if each.name in rows.columns]
    return tfdv.generate_statistics_from_dataframe(_typed(rows.loc[:, known], schema), tfdv.StatsOptions(schema=schema))


def ranges(*of: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, tuple[float, float]]:
    """The smallest and the largest value of each numeric column in any of some statistics."""
    seen: dict[str, tuple[float, float]] = {}
    for each in of:
        for feature in each.datasets[0].features:
            if feature.WhichOneof("stats") == "num_stats":
                name, numbers = feature.name or ".".join(feature.path.step), feature.num_stats
                low, high = seen.get(name, (numbers.min, numbers.max))
                seen[name] = min(low, numbers.min), max(high, numbers.max)
    return seen


def without_extremes(
    rows: pd.DataFrame, requests: np.ndarray, trained: Mapping[str, tuple[float, float]], settings: Monitoring
) -> pd.DataFrame:
    """The rows without the numbers of a few requests that lie beyond all that the model was trained on.

    TFDV divides the range of a column into bins of equal width. So a single extreme value moves all others into other
    bins, and the distance is that of the bins and not of the data.

    Args:
        rows: plain values; what is missing is null.
        requests: which request each row came with [rows].
        trained: the smallest and the largest value in training, by column; others are left as they are.
        settings: how many requests must reach as far for their values to count.

    Returns:
        A copy in which those values are missing.
    """
    import pandas as pd

    kept = rows.copy()
    for name, (lowest, highest) in trained.items():
        if name not in rows.columns:
            continue
        numbers = pd.Series(pd.to_numeric(rows[name], errors="coerce"), dtype="float64")
        by_request = numbers.groupby(requests)
        low = pd.Series(by_request.min()).nsmallest(settings.fewest_requests).max()
        high = pd.Series(by_request.max()).nlargest(settings.fewest_requests).min()
        kept[name] = rows[name].mask((numbers < min(low, lowest)) | (numbers > max(high, highest)))
    return kept


def skew(
    served: statistics_pb2.DatasetFeatureStatisticsList,
    ingested: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> list[Signal]:
    """How far what was served is from what the pipeline ingested of the same time, by column.

    Both come from the same events and the same code, so any distance beyond sampling is a fault in one of the two ways
    that data takes.

    Args:
        served: statistics of the requests.
        ingested: statistics of the examples of the same time.
        schema: has a skew comparator for each column that is compared.
    """
    import tensorflow_data_validation as tfdv

    found = tfdv.validate_statistics(ingested, schema, environment=TRAINING, serving_statistics=served)
    return list(
        _distances("skew", found, "skew_measurements", "what was served is from what was ingested of the same time")
    )


def drift(
    served: statistics_pb2.DatasetFeatureStatisticsList,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    than: str,
    steps: int = 1,
) -> list[Signal]:
    """How far what was served is from a reference, by column.

    Args:
        served: statistics of the rows of the requests.
        reference: statistics of what is compared with, such as the window before.
        schema: has a drift comparator for each column that is compared.
        than: the reference in words.
        steps: how many windows the reference lies back. The comparators are made for neighbours; over a window that is
            left out because its data are at fault, the seasons go on, so a threshold counts so many times.
    """
    import tensorflow_data_validation as tfdv

    found = tfdv.validate_statistics(served, schema, environment=SERVING, previous_statistics=reference)
    between = f"this window is from {than}"
    return list(_distances("drift", found, "drift_measurements", between, steps, (served, reference)))


def label_drift(
    labels: pd.DataFrame,
    reference: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
    than: str,
    steps: int = 1,
) -> list[Signal]:
    """How far the labels that have arrived are from a reference, by the drift comparator of the label.

    A share of one class that jumps between two windows is rarely the world's doing: labels that were turned round, or
    that never arrive for one class, look like that.

    Args:
        labels: one column, the label.
        reference: statistics that have the column.
        schema: the curated one; without a comparator of the label nothing is said.
        than: the reference in words.
        steps: how many windows the reference lies back; see `drift`.
    """
    import tensorflow_data_validation as tfdv

    (name,) = labels.columns
    now = statistics(labels, schema)
    found = tfdv.validate_statistics(now, schema, environment=TRAINING, previous_statistics=reference)
    between = f"the labels (mean {labels[name].mean():.3f}) are from those of {than}"
    distances = _distances("label", found, "drift_measurements", between, steps, (now, reference))
    return [each for each in distances if each.subject == name]


def _distances(
    kind: Any,
    anomalies: Any,
    which: str,
    between: str,
    steps: int = 1,
    samples: tuple[statistics_pb2.DatasetFeatureStatisticsList, statistics_pb2.DatasetFeatureStatisticsList]
    | None = None,
) -> Iterator[Signal]:
    """The signals of what TFDV has measured; with an interval if the two sides are samples, and not the same rows."""
    features = [{".".join(each.path.step): each for each in one.datasets[0].features} for one in samples or ()]
    for info in anomalies.drift_skew_info:
        column = ".".join(info.path.step)
        for each in getattr(info, which):
            name = type(each).Type.Name(each.type).lower()
            words = "L-infinity distance" if name == "l_infty" else "Jensen-Shannon divergence"
            threshold = steps * each.threshold
            low, high = _interval(name, each.value, *[of[column] for of in features]) if features else (None, None)
            exceeded = (each.value if low is None else low) > threshold
            yield Signal(
                kind=kind,
                name=name,
                subject=column,
                value=each.value,
                low=low,
                high=high,
                threshold=threshold,
                exceeded=exceeded,
                meaning=f"{column}: the {words} by which {between} is {each.value:.3f}"
                f"{'' if low is None else f' ({low:.3f} to {high:.3f})'}, "
                f"{_beside(each.value, threshold, exceeded)} {threshold:g}",
            )


def _interval(name: str, distance: float, one: Any, other: Any) -> tuple[float, float]:
    """The 95 % interval of the distance between what two samples were drawn from.

    By the triangle inequality it differs from the distance of the samples by no more than these are from what they were
    drawn from; the two errors are independent, and add up by their squares. The L-infinity distance is a metric, and so
    is the root of the divergence (Endres and Schindelin, IEEE Trans. Inf. Theory 49, 2003). That of a sample of n rows
    from what it was drawn from, times 8 n ln 2, is distributed as chi-squared with a degree of freedom less than there
    are bins (Menéndez and others, "The Jensen-Shannon Divergence", Journal of the Franklin Institute 334, 1997).

    Args:
        name: of the measure, as TFDV has it.
        distance: between the samples.
        one: TFDV's statistics of the column in one sample.
        other: in the other.
    """
    from scipy.stats import chi2

    by_rows = sum(1 / max(1, _common(each).num_non_missing) for each in (one, other))
    if name == "l_infty":
        error = _ALL_SHARES * math.sqrt(by_rows)
        return max(0.0, distance - error), min(1.0, distance + error)
    cells = max(2, _cells(one), _cells(other))
    error = math.sqrt(float(chi2.ppf(0.95, cells - 1)) * by_rows / (8 * math.log(2)))
    root = math.sqrt(max(0.0, distance))
    return max(0.0, root - error) ** 2, min(1.0, root + error) ** 2


def _common(feature: Any) -> Any:
    """What TFDV's statistics of a column have whatever its type."""
    return getattr(feature, feature.WhichOneof("stats")).common_stats


def _cells(feature: Any) -> int:
    """In how many categories, or bins of equal width, a column has a row; TFDV puts fractions of rows into others."""
    if feature.WhichOneof("stats") == "string_stats":
        return feature.string_stats.unique
    equal_widths = (each for each in feature.num_stats.histograms if each.type == each.STANDARD)
    return max((sum(bucket.sample_count >= 1 for bucket in each.buckets) for each in equal_widths), default=0)


def _beside(value: float, threshold: float, exceeded: bool) -> str:
    """How a number stands to its threshold, in words that the threshold follows."""
    if exceeded:
        return "more than"
    return "not certainly more than" if value > threshold else "within"


def missing(
    rows: pd.DataFrame,
    trained: Mapping[str, float],
    schema: schema_pb2.Schema,
    settings: Monitoring,
    requests: np.ndarray,
) -> list[Signal]:
    """The share of missing values by column.

    Args:
        rows: of the requests.
        trained: the share of missing values in training, by column.
        schema: says how many of a required column may be missing.
        settings: say by how much the share may grow where the schema does not care, and by how many requests.
        requests: which request each row came with [rows].
    """
    signals = []
    for feature in schema.feature:
        if feature.name not in rows.columns or SERVING in feature.not_in_environment:
            continue
        lacking = rows[feature.name].isna().to_numpy()
        required = feature.presence.min_fraction
        before = trained.get(feature.name, 0.0)
        threshold = 1 - required if required else min(1.0, before + settings.missing_increase)
        said, further = "missing", f"; in training it was {before:.2%}"
        signals.append(
            _share("missing", "missing_share", feature.name, lacking, requests, threshold, said, settings, further)
        )
    return signals


def unseen(rows: pd.DataFrame, schema: schema_pb2.Schema, settings: Monitoring, requests: np.ndarray) -> list[Signal]:
    """The share of values outside of what the schema allows, by column: unknown words, numbers out of range.

    Args:
        rows: of the requests.
        schema: the curated one.
        settings: say by how many requests a share may exceed its threshold.
        requests: which request each row came with [rows].
    """
    import pandas as pd

    domains = {each.name: list(each.value) for each in schema.string_domain}
    signals = []
    for feature in schema.feature:
        if feature.name not in rows.columns:
            continue
        present = rows[feature.name].notna().to_numpy()
        values = rows.loc[present, feature.name]
        kind = feature.WhichOneof("domain_info")
        if kind in ("domain", "string_domain"):
            allowed = domains.get(feature.domain, []) if kind == "domain" else list(feature.string_domain.value)
            outside = ~values.astype(str).isin(allowed)
        elif kind in ("int_domain", "float_domain"):
            bounds = getattr(feature, kind)
            numbers = pd.to_numeric(values, errors="coerce")
            inside = pd.Series(True, index=values.index)
            if bounds.HasField("min"):
                inside &= numbers >= bounds.min
            if bounds.HasField("max"):
                inside &= numbers <= bounds.max
            outside = ~inside
        else:
            continue
        threshold = 1 - feature.distribution_constraints.min_domain_mass
        most = values[outside].astype(str).value_counts().head(_MOST_VALUES)
        examples = f", most often {', '.join(f'{value} ({count:,})' for value, count in most.items())}"
        said = f"not allowed by the schema{examples if len(most) else ''}"
        which = outside.to_numpy(dtype=bool)
        signals.append(
            _share("unseen", "unseen_share", feature.name, which, requests[present], threshold, said, settings)
        )
    return signals


def _share(
    kind: Any,
    name: str,
    column: str,
    which: np.ndarray,
    requests: np.ndarray,
    threshold: float,
    said: str,
    settings: Monitoring,
    further: str = "",
) -> Signal:
    """The share of the values of a column that are at fault, with Wilson's interval (J. Am. Stat. Assoc. 22, 1927).

    Args:
        kind: of the signal.
        name: of the measure.
        column: that it is about.
        which: the values that are at fault, bool [values].
        requests: which request each value came with [values].
        threshold: the largest share that is allowed.
        said: what is wrong with them, in words that follow "are".
        settings: have how many requests must have such a value.
        further: the end of the sentence.
    """
    import numpy as np
    from scipy.stats import binomtest

    count, total = int(which.sum()), len(which)
    share, low, high = 0.0, 0.0, 1.0
    if total:
        interval = binomtest(count, total).proportion_ci(0.95, method="wilson")
        share, low, high = count / total, float(interval.low), float(interval.high)
    beyond = share > threshold + 1e-9
    of = len(np.unique(requests[which]))
    few = of < settings.fewest_requests
    exceeded = beyond and low > threshold and not few
    meaning = f"{column}: {count:,} of {total:,} values ({share:.2%}, 95% interval {low:.2%} to {high:.2%}) "
    meaning += f"{'is' if count == 1 else 'are'} {said}; {_beside(share, threshold + 1e-9, exceeded)} {threshold:.2%}"
    if beyond and few:
        meaning += f", as fewer than {settings.fewest_requests} requests have one"
    return Signal(
        kind=kind,
        name=name,
        subject=column,
        value=share,
        low=low,
        high=high,
        threshold=threshold,
        exceeded=exceeded,
        meaning=f"{meaning}{further}",
    )


def missing_shares(of: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float]:
    """The share of missing values of each column, from statistics."""
    shares = {}
    for feature in of.datasets[0].features:
        common = _common(feature)
        total = common.num_missing + common.num_non_missing
        shares[feature.name or ".".join(feature.path.step)] = common.num_missing / total if total else 0.0
    return shares


def _typed(rows: pd.DataFrame, schema: schema_pb2.Schema) -> pd.DataFrame:
    """The rows in types that TFDV reads as the schema means them.

    A column of whole numbers with one missing value is a column of floats to pandas.
    """
    import pandas as pd
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
