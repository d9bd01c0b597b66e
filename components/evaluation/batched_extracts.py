"""TFMA in batches: one extract per batch and slice, where TFMA makes one per row and slice.

Use: `Evaluator(..., module_path="components.evaluation.batched_extracts")`; TFX calls `custom_extractors`. The examples
are in Parquet and hold the predictions, as the component Scores writes them, and each ModelSpec says in which column.

TFMA's stock extractors unbatch to rows (every feature of every row becomes a Python object) and put a list of
slice keys on each row. Here one stage takes the batch apart into an extract for each slice found in it, with the
vectors of labels, predictions and weights; of a model that answers with several numbers per row the predictions are a
matrix. TFMA's combiners for binary classification, and ours for other tasks, read them as many rows, so
the results are the same; for any configuration where they are not (see `why_not_batched`) the stock extractors are
returned, with a warning in the log: slower, never wrong.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_model_analysis as tfma
from absl import logging
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.extractors import slice_key_extractor
from tensorflow_model_analysis.metrics import (
    calibration,
    calibration_plot,
    confusion_matrix_metrics,
    metric_types,
)
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib

from components import examples
from components.evaluation import vector_metrics
from errors import FlightdeckError

# TFMA metrics whose combiners flatten what they are given into (label, prediction, weight) of single rows.
_ROW_WISE_METRICS = (
    confusion_matrix_metrics.ConfusionMatrixMetricBase,
    confusion_matrix_metrics.ConfusionMatrixAtThresholds,
    calibration.Calibration,
    calibration.MeanLabel,
    calibration.MeanPrediction,
    calibration_plot.CalibrationPlot,
)
# The code of a missing value.
_MISSING = -1


def custom_extractors(
    eval_shared_model: types.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: Any = None,
) -> list[tfma.extractors.Extractor]:
    """Returns the extractors for TFX's Evaluator, in order: batched where the results are the same, else stock."""
    reasons = why_not_batched(eval_config)
    if reasons:
        logging.warning("Evaluating row by row, which is several times slower: %s", " ".join(reasons))
        return tfma.default_extractors(
            eval_shared_model=eval_shared_model, eval_config=eval_config, tensor_adapter_config=tensor_adapter_config
        )
    vector_metrics.register()
    slices = [_SliceSpec(spec) for spec in eval_config.slicing_specs or [config_pb2.SlicingSpec()]]
    return [
        # Named like TFMA's own, because its evaluators run after the stage of that name.
        tfma.extractors.Extractor(
            stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
            ptransform=beam.FlatMap(
                _batch_per_slice, slices, list(eval_config.model_specs), _columns_of_metrics(eval_config)
            ),
        ),
    ]


def _columns_of_metrics(eval_config: config_pb2.EvalConfig) -> list[str]:
    """The features that metrics read: those by whose groups they compare rows."""
    settings = (json.loads(metric.config or "{}") for spec in eval_config.metrics_specs for metric in spec.metrics)
    return sorted({column for config in settings if isinstance(column := config.get("column"), str)})


def why_not_batched(eval_config: config_pb2.EvalConfig) -> list[str]:
    """Returns why this evaluation needs one extract per row: sentences, none if it does not."""
    return list(_reasons(eval_config))


def _reasons(eval_config: config_pb2.EvalConfig) -> Iterator[str]:
    if eval_config.options.compute_confidence_intervals.value:
        yield "Confidence intervals are computed by resampling extracts."
    if eval_config.options.min_slice_size.value > 1:
        yield "The option min_slice_size counts extracts."
    if eval_config.cross_slicing_specs:
        yield "Comparisons between slices (cross_slicing_specs) are not supported."
    if any(spec.slice_keys_sql for spec in eval_config.slicing_specs):
        yield "Slices in SQL are computed per row."
    if any(spec.label_keys or spec.prediction_keys or spec.example_weight_keys for spec in eval_config.model_specs):
        yield "Models with several outputs are not supported."
    if any(spec.model_type != constants.MATERIALIZED_PREDICTION for spec in eval_config.model_specs):
        yield "The examples do not hold the predictions."
    for spec in eval_config.metrics_specs:
        yield from _unfit_metrics(spec)


def _unfit_metrics(spec: config_pb2.MetricsSpec) -> Iterator[str]:
    for field in ("query_key", "binarize", "aggregate", "output_names"):
        if getattr(spec, field) if field in ("query_key", "output_names") else spec.HasField(field):
            yield f"Metrics with {field} are not supported."
    for metric in spec.metrics:
        if not _is_row_wise(metric):
            yield (
                f"The metric {metric.class_name} reads an extract as one example "
                "(components.evaluation.row_metrics has RowCount and LogLoss)."
            )


def _is_row_wise(metric: config_pb2.MetricConfig) -> bool:
    settings = json.loads(metric.config or "{}")
    if any(settings.get(key) is not None for key in ("class_id", "top_k")):
        return False
    kind = metric_types.registered_metrics().get(metric.class_name)
    if kind is None and metric.module:
        kind = getattr(importlib.import_module(metric.module), metric.class_name)
    return kind is not None and (issubclass(kind, _ROW_WISE_METRICS) or getattr(kind, "row_wise", False))


class _SliceSpec:
    def __init__(self, spec: config_pb2.SlicingSpec):
        self.features = sorted({*spec.feature_keys, *spec.feature_values})
        self.single = slicer_lib.SingleSliceSpec(spec=spec)


def _batch_per_slice(
    extracts: types.Extracts,
    slices: Sequence[_SliceSpec],
    models: Sequence[config_pb2.ModelSpec],
    features: Sequence[str],
) -> Iterator[types.Extracts]:
    """Yields one extract per slice found in the batch, and that slice key.

    Labels and weights are of shape [rows of the slice]; predictions, too, or [rows of the slice, numbers per row]. The
    features that metrics read, [rows], are in the extract of the whole batch alone.
    """
    batch = extracts[constants.ARROW_RECORD_BATCH_KEY]
    fields = {
        constants.LABELS_KEY: "label_key",
        constants.PREDICTIONS_KEY: "prediction_key",
        constants.EXAMPLE_WEIGHTS_KEY: "example_weight_key",
    }
    columns = {
        key: {spec.name: _vector(batch, getattr(spec, field)) for spec in models}
        for key, field in fields.items()
        if any(getattr(spec, field) for spec in models)
    }
    for slice_key, rows in _rows_by_slice(batch, slices).items():
        parts = {key: {name: vector[rows] for name, vector in by_model.items()} for key, by_model in columns.items()}
        yield {
            **{key: by_model if len(models) > 1 else by_model[models[0].name] for key, by_model in parts.items()},
            **({constants.FEATURES_KEY: {} if slice_key else _texts(batch, features)} if features else {}),
            constants.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([slice_key]),
        }


def _vector(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Returns a column that has a value in each row, [rows], or as many values in each row, [rows, width]."""
    index = batch.schema.get_field_index(name)
    lengths = pc.unique(pc.list_value_length(batch.column(index))).to_pylist() if index >= 0 else []
    if len(lengths) != 1 or not lengths[0]:
        raise FlightdeckError(
            f"The column {name} of labels, predictions or weights must have a value in each row, and as many in all."
        )
    values = batch.column(index).flatten().to_numpy(zero_copy_only=False)
    return values if lengths[0] == 1 else values.reshape(-1, lengths[0])


def _values(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """Returns a column with one value per row, null where it is missing; None if there is no such column."""
    index = batch.schema.get_field_index(name)
    return None if index < 0 else examples.single_values(name, batch.column(index))


def _texts(batch: pa.RecordBatch, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns columns as texts or bytes, None where they are missing; those that the batch has."""
    columns = {name: values for name in names if (values := _values(batch, name)) is not None}
    return {
        name: (values if pa.types.is_large_binary(values.type) else values.cast(pa.string())).to_numpy(
            zero_copy_only=False
        )
        for name, values in columns.items()
    }


def _rows_by_slice(batch: pa.RecordBatch, slices: Sequence[_SliceSpec]) -> dict[slicer_lib.SliceKeyType, np.ndarray]:
    """Returns the row numbers of each slice, each row once, by however many specs it gets there."""

    @functools.cache
    def column(name: str) -> _Column | None:
        values = _values(batch, name)
        return None if values is None else _Column(values)

    by_slice: dict[slicer_lib.SliceKeyType, list[np.ndarray]] = {}
    for spec in slices:
        for slice_key, rows in _rows_of_spec(spec, column, batch.num_rows):
            by_slice.setdefault(slice_key, []).append(rows)
    return {
        slice_key: parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
        for slice_key, parts in by_slice.items()
    }


def _rows_of_spec(
    spec: _SliceSpec, column: Callable[[str], _Column | None], size: int
) -> Iterator[tuple[slicer_lib.SliceKeyType, np.ndarray]]:
    """Yields (slice key, row numbers), asking TFMA once for each distinct combination of values."""
    if not spec.features:
        yield (), np.arange(size)
        return
    columns = {name: values for name in spec.features if (values := column(name)) is not None}
    if len(columns) < len(spec.features):
        return
    codes = np.stack([values.codes for values in columns.values()], axis=1)
    combinations, inverse = np.unique(codes, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    order = np.argsort(inverse, kind="stable")
    rows_of_combination = np.split(order, np.cumsum(np.bincount(inverse))[:-1])
    for combination, rows in zip(combinations, rows_of_combination, strict=True):
        features = {
            name: values.values_of(code) for (name, values), code in zip(columns.items(), combination, strict=True)
        }
        for slice_key in slicer_lib.get_slices_for_features_dicts([], features, [spec.single]):
            yield slice_key, rows


class _Column:
    """A feature of a batch, factorised: `codes[row]` numbers the distinct values of the rows."""

    def __init__(self, values: pa.Array):
        encoded = values.dictionary_encode()
        self.codes = pc.fill_null(encoded.indices, _MISSING).to_numpy()
        self._distinct = encoded.dictionary.to_numpy(zero_copy_only=False)

    def values_of(self, code: int) -> np.ndarray:
        """Returns the value of the rows with this code as an array, an empty one where the feature is missing."""
        return self._distinct[[] if code == _MISSING else [code]]
