"""What the data of a window says: distances by TFDV, missing and unseen values, by the rules of the curated schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from operations.monitoring.signals import Signal
from pipeline.settings import Monitoring

if TYPE_CHECKING:
    import pandas as pd
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

SERVING = "SERVING"
TRAINING = "TRAINING"
_MOST_VALUES = 3


def statistics(rows: pd.DataFrame, schema: schema_pb2.Schema) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of the columns that the schema knows.

    Args:
        rows: plain values; what is missing is null.
        schema: the curated one.
    """
    import tensorflow_data_validation as tfdv

    known = [each.name for each in schema.feature if each.name in rows.columns]
    return tfdv.generate_statistics_from_dataframe(_typed(rows.loc[:, known], schema), tfdv.StatsOptions(schema=schema))


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
        served: statistics of the requests.
        reference: statistics of what is compared with, such as the window before.
        schema: has a drift comparator for each column that is compared.
        than: the reference in words.
        steps: how many windows the reference lies back. The comparators are made for neighbours; over a window that is
            left out because its data are at fault, the seasons go on, so a threshold counts so many times.
    """
    import tensorflow_data_validation as tfdv

    found = tfdv.validate_statistics(served, schema, environment=SERVING, previous_statistics=reference)
    return list(_distances("drift", found, "drift_measurements", f"this window is from {than}", steps))


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
    found = tfdv.validate_statistics(
        statistics(labels, schema), schema, environment=TRAINING, previous_statistics=reference
    )
    between = f"the labels (mean {labels[name].mean():.3f}) are from those of {than}"
    return [each for each in _distances("label", found, "drift_measurements", between, steps) if each.subject == name]


def _distances(kind: Any, anomalies: Any, which: str, between: str, steps: int = 1) -> Iterator[Signal]:
    for info in anomalies.drift_skew_info:
        column = ".".join(info.path.step)
        for each in getattr(info, which):
            name = type(each).Type.Name(each.type).lower()
            words = "L-infinity distance" if name == "l_infty" else "Jensen-Shannon divergence"
            threshold = steps * each.threshold
            exceeded = each.value > threshold
            yield Signal(
                kind=kind,
                name=name,
                subject=column,
                value=each.value,
                threshold=threshold,
                exceeded=exceeded,
                meaning=f"{column}: the {words} by which {between} is {each.value:.3f}, "
                f"{'more than' if exceeded else 'within'} {threshold:g}",
            )


def missing(
    rows: pd.DataFrame, trained: Mapping[str, float], schema: schema_pb2.Schema, settings: Monitoring
) -> list[Signal]:
    """The share of missing values by column.

    Args:
        rows: the requests.
        trained: the share of missing values in training, by column.
        schema: says how many of a required column may be missing.
        settings: say by how much the share may grow where the schema does not care.
    """
    signals = []
    for feature in schema.feature:
        if feature.name not in rows.columns or SERVING in feature.not_in_environment:
            continue
        share = float(rows[feature.name].isna().mean())
        required = feature.presence.min_fraction
        before = trained.get(feature.name, 0.0)
        threshold = 1 - required if required else min(1.0, before + settings.missing_increase)
        exceeded = share > threshold + 1e-9
        signals.append(
            Signal(
                kind="missing",
                name="missing_share",
                subject=feature.name,
                value=share,
                threshold=threshold,
                exceeded=exceeded,
                meaning=f"{feature.name}: {share:.1%} of the values are missing, "
                f"{'more than' if exceeded else 'within'} {threshold:.1%}; in training it was {before:.1%}",
            )
        )
    return signals


def unseen(rows: pd.DataFrame, schema: schema_pb2.Schema) -> list[Signal]:
    """The share of values outside of what the schema allows, by column: unknown words, numbers out of range."""
    import pandas as pd

    domains = {each.name: list(each.value) for each in schema.string_domain}
    signals = []
    for feature in schema.feature:
        if feature.name not in rows.columns:
            continue
        values = rows[feature.name].dropna()
        kind = feature.WhichOneof("domain_info")
        if kind in ("domain", "string_domain"):
            allowed = domains.get(feature.domain, []) if kind == "domain" else list(feature.string_domain.value)
            outside = values[~values.astype(str).isin(allowed)]
        elif kind in ("int_domain", "float_domain"):
            bounds = getattr(feature, kind)
            numbers = pd.to_numeric(values, errors="coerce")
            inside = pd.Series(True, index=values.index)
            if bounds.HasField("min"):
                inside &= numbers >= bounds.min
            if bounds.HasField("max"):
                inside &= numbers <= bounds.max
            outside = values[~inside]
        else:
            continue
        share = len(outside) / len(values) if len(values) else 0.0
        threshold = 1 - feature.distribution_constraints.min_domain_mass
        exceeded = share > threshold + 1e-9
        most = outside.astype(str).value_counts().head(_MOST_VALUES)
        examples = f", most often {', '.join(f'{value} ({count:,} times)' for value, count in most.items())}"
        signals.append(
            Signal(
                kind="unseen",
                name="unseen_share",
                subject=feature.name,
                value=share,
                threshold=threshold,
                exceeded=exceeded,
                meaning=f"{feature.name}: {share:.2%} of the values are not allowed by the schema"
                f"{examples if len(most) else ''}; {'more than' if exceeded else 'within'} {threshold:.2%}",
            )
        )
    return signals


def missing_shares(of: statistics_pb2.DatasetFeatureStatisticsList) -> dict[str, float]:
    """The share of missing values of each column, from statistics."""
    shares = {}
    for feature in of.datasets[0].features:
        common = getattr(feature, feature.WhichOneof("stats")).common_stats
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
