"""The curated schema of a new project: the contract in TFDV's words, and what the spans show."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from data.contract import Column, Contract
from operations.tasks import task_of

if TYPE_CHECKING:
    import pandas as pd
    from tensorflow_metadata.proto.v0 import schema_pb2

_BINS = 10
_LEAST_DISTANCE = 0.05
_OPEN_MASS = 0.9

HEADER = """\
# The curated schema: what validation accepts. It covers the columns a pipeline ingests, in file order.
#
# Inferred by `flightdeck new`, and yours from then on; `flightdeck upgrade` merges into it. Types, ranges, categories
# and which columns may be missing repeat usecase/contract.yaml, and a test keeps the two in agreement. To be reviewed:
#
# Presence. A column that may be missing must be there in half of the share that the poorest span has.
# Open categories. A tenth of the rows may have a category that is not listed (min_domain_mass).
# Drift and skew. 1.5 times the largest distance between neighbouring spans, and at least 0.05: L-infinity for
#   categories, Jensen-Shannon divergence for numbers. Text and categories without a list have none, nor has a number to
#   predict: monitoring.label_distance is for that.
"""


def schema(contract: Contract, frame: pd.DataFrame, spans: pd.Series) -> str:
    """The schema as text."""
    from google.protobuf import text_format
    from tensorflow_metadata.proto.v0 import schema_pb2

    made = schema_pb2.Schema(default_environment=["TRAINING", "SERVING"])
    made.dataset_constraints.min_examples_count = max(1, int(spans.value_counts().min()) // 2)
    for name in contract.ingested():
        column = contract.column(name)
        made.feature.append(_feature(column, frame, spans))
        if name == contract.label and contract.classes:
            # So that statistics count the classes, and do not take their numbers for amounts.
            made.feature[-1].int_domain.is_categorical = True
        if name == contract.label and task_of(contract.target).label_setting:
            made.feature[-1].ClearField("drift_comparator")
        if column.values is not None:
            made.string_domain.add(name=name, value=column.values)
    return f"{HEADER}\n{text_format.MessageToString(made, as_utf8=True)}"


def _feature(column: Column, frame: pd.DataFrame, spans: pd.Series) -> schema_pb2.Feature:
    from tensorflow_metadata.proto.v0 import schema_pb2

    values: Any = frame[column.name]
    kinds = {"int64": schema_pb2.INT, "float32": schema_pb2.FLOAT, "string": schema_pb2.BYTES}
    feature = schema_pb2.Feature(name=column.name, type=kinds[column.type])
    feature.presence.min_count = 1
    if column.nullable:
        poorest = float(values.notna().groupby(spans).mean().min())
        feature.presence.min_fraction = max(0.001, math.floor(poorest * 500) / 1000)
        feature.value_count.min = feature.value_count.max = 1
    else:
        feature.presence.min_fraction = 1.0
        feature.shape.dim.add(size=1)
    if column.range is not None and column.type == "int64":
        feature.int_domain.min, feature.int_domain.max = map(int, column.range)
    elif column.range is not None:
        feature.float_domain.min, feature.float_domain.max = column.range
        feature.float_domain.disallow_nan = feature.float_domain.disallow_inf = True
    if column.values is not None:
        feature.domain = column.name
        if column.open:
            feature.distribution_constraints.min_domain_mass = _OPEN_MASS
    _compare(feature, column, values, spans)
    if column.role == "label":
        feature.not_in_environment.append("SERVING")
    return feature


def _compare(feature: schema_pb2.Feature, column: Column, values: Any, spans: pd.Series) -> None:
    if column.type == "string" and column.values is None:
        return
    threshold = max(_LEAST_DISTANCE, math.ceil(150 * _largest_distance(column, values, spans)) / 100)
    if threshold >= 1:
        return
    comparators: list[Any] = [feature.drift_comparator]
    if column.role != "label":  # Requests have none.
        comparators.append(feature.skew_comparator)
    for comparator in comparators:
        measure = comparator.infinity_norm if column.type == "string" else comparator.jensen_shannon_divergence
        measure.threshold = threshold


def _largest_distance(column: Column, values: Any, spans: pd.Series) -> float:
    """Between the known values of neighbouring spans."""
    import numpy as np
    from scipy.spatial.distance import jensenshannon

    known = values.dropna()
    if known.empty:
        return 0.0
    if column.type == "string":
        bins, places = len(column.values or ()), known.map({value: i for i, value in enumerate(column.values or ())})
    else:
        bins, numbers = _BINS, known.astype("float64")
        edges = np.linspace(numbers.min(), numbers.max(), _BINS + 1)[1:-1]
        places = np.searchsorted(edges, numbers.to_numpy())
    shares = []
    for span in sorted(spans.unique()):
        counts = np.bincount(np.asarray(places)[(spans.loc[known.index] == span).to_numpy()], minlength=bins)
        if counts.sum():
            shares.append(counts / counts.sum())
    pairs = list(pairwise(shares))
    if column.type == "string":
        return max((float(np.abs(new - old).max()) for old, new in pairs), default=0.0)
    # scipy gives the distance, which is the root of the divergence.
    return max((float(jensenshannon(old, new, base=2)) ** 2 for old, new in pairs), default=0.0)
