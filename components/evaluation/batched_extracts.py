"""TFMA in batches: one extract per batch and slice, where TFMA makes one per row and slice.

Use: `Evaluator(..., module_path="components.evaluation.batched_extracts")`; TFX calls `custom_extractors`.

TFMA's stock extractors unbatch to rows (every feature of every row becomes a Python object) and put a list of
slice keys on each row. Here the two last stages are replaced by one that keeps the batch and emits, for each
slice found in it, one extract with the vectors of labels, predictions and weights. TFMA's combiners for binary
classification read a vector as many rows, so the results are the same; for any configuration where they are not
(see `why_not_batched`) the stock extractors are returned, with a warning in the log: slower, never wrong.

One difference is intended. TFMA slices on a transformed feature when there is one of that name, so a slice of
a raw column can become a slice of vocabulary indices; here the raw feature wins.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from absl import logging
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.api import types
from tensorflow_model_analysis.extractors import slice_key_extractor, unbatch_extractor
from tensorflow_model_analysis.metrics import (
    calibration,
    calibration_plot,
    confusion_matrix_metrics,
    metric_types,
)
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.slicer import slicer_lib
from tensorflow_model_analysis.utils import model_util

from errors import FlightdeckError

_REPLACED_STAGES = (
    unbatch_extractor.UNBATCH_EXTRACTOR_STAGE_NAME,
    slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
)
# TFMA metrics whose combiners flatten what they are given into (label, prediction, weight) of single rows.
_ROW_WISE_METRICS = (
    confusion_matrix_metrics.ConfusionMatrixMetricBase,
    confusion_matrix_metrics.ConfusionMatrixAtThresholds,
    calibration.Calibration,
    calibration.MeanLabel,
    calibration.MeanPrediction,
    calibration_plot.CalibrationPlot,
)
_MISSING = -1


def custom_extractors(
    eval_shared_model: types.MaybeMultipleEvalSharedModels,
    eval_config: config_pb2.EvalConfig,
    tensor_adapter_config: Any = None,
) -> list[tfma.extractors.Extractor]:
    """Returns the extractors for TFX's Evaluator, in order: batched where the results are the same, else stock."""
    stock = tfma.default_extractors(
        eval_shared_model=eval_shared_model,
        eval_config=eval_config,
        tensor_adapter_config=tensor_adapter_config,
    )
    reasons = why_not_batched(eval_config, eval_shared_model)
    if reasons:
        logging.warning("Evaluating row by row, which is several times slower: %s", " ".join(reasons))
        return stock
    specs = [_SliceSpec(spec) for spec in eval_config.slicing_specs or [config_pb2.SlicingSpec()]]
    names = [spec.name for spec in eval_config.model_specs]
    return [
        *(extractor for extractor in stock if extractor.stage_name not in _REPLACED_STAGES),
        # Named like TFMA's own, because its evaluators run after the stage of that name.
        tfma.extractors.Extractor(
            stage_name=slice_key_extractor.SLICE_KEY_EXTRACTOR_STAGE_NAME,
            ptransform=beam.FlatMap(_batch_per_slice, specs, names if len(names) > 1 else []),
        ),
    ]


def why_not_batched(
    eval_config: config_pb2.EvalConfig, eval_shared_model: types.MaybeMultipleEvalSharedModels | None = None
) -> list[str]:
    """Returns why this evaluation needs one extract per row: sentences, none if it does not."""
    return list(_reasons(eval_config, eval_shared_model))


def _reasons(
    eval_config: config_pb2.EvalConfig, eval_shared_model: types.MaybeMultipleEvalSharedModels | None
) -> Iterator[str]:
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
    for spec in eval_config.metrics_specs:
        yield from _unfit_metrics(spec)
    models = model_util.verify_and_update_eval_shared_models(eval_shared_model) or []
    if any(model.include_default_metrics and model.model_type == constants.TF_KERAS for model in models):
        yield "The metrics saved in the model are computed per row; set the option include_default_metrics to false."


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
    batch: types.Extracts, specs: Sequence[_SliceSpec], model_names: Sequence[str]
) -> Iterator[types.Extracts]:
    """Yields one extract per slice found in the batch: vectors of shape [rows of the slice], and that slice key.

    The batch holds features, labels, predictions and perhaps weights, each of shape [N] or [N, 1], or a dict of such
    arrays by the name of the model if there are several.
    """
    columns = {
        key: _one_per_row(batch[key], key)
        for key in (constants.LABELS_KEY, constants.PREDICTIONS_KEY, constants.EXAMPLE_WEIGHTS_KEY)
        if batch.get(key) is not None
    }
    size = _number_of_rows(columns)
    for slice_key, rows in _rows_by_slice(batch, specs, model_names, size).items():
        yield {
            **{key: _take(column, rows) for key, column in columns.items()},
            constants.SLICE_KEY_TYPES_KEY: slicer_lib.slice_keys_to_numpy_array([slice_key]),
        }


def _one_per_row(value: Any, key: str) -> Any:
    """Returns labels, predictions or weights as vectors, keeping a dict of them by model or output."""
    if isinstance(value, Mapping):
        return {name: _one_per_row(part, key) for name, part in value.items()}
    if isinstance(value, types.VarLenTensorValue):
        size, rows = int(value.dense_shape[0]), value.indices[:, 0]
        if not np.array_equal(rows, np.arange(size)):
            raise FlightdeckError(
                f"The {key} must have exactly one value in each example, but some have none or several."
            )
        return value.values
    array = np.asarray(value)
    if array.ndim == 0 or array.size != len(array):
        raise FlightdeckError(
            f"The {key} must have exactly one value in each example, "
            f"but an array of shape {list(array.shape)} came. "
            "For other than binary models remove module_path from the Evaluator."
        )
    return array.reshape(-1)


def _number_of_rows(columns: Mapping[str, Any]) -> int:
    sizes = set(_sizes(columns))
    if len(sizes) != 1:
        raise FlightdeckError(f"Labels, predictions and weights of one batch have different sizes: {sorted(sizes)}.")
    return sizes.pop()


def _sizes(value: Any) -> Iterator[int]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _sizes(part)
    else:
        yield len(value)


def _take(value: Any, rows: np.ndarray) -> Any:
    if isinstance(value, Mapping):
        return {name: _take(part, rows) for name, part in value.items()}
    return value[rows]


def _rows_by_slice(
    batch: types.Extracts, specs: Sequence[_SliceSpec], model_names: Sequence[str], size: int
) -> dict[slicer_lib.SliceKeyType, np.ndarray]:
    """Returns the row numbers of each slice, each row once, by however many specs it gets there."""

    @functools.cache
    def column(name: str) -> _Column | None:
        values = _feature(batch, name, model_names)
        return None if values is None else _Column(values, size)

    by_slice: dict[slicer_lib.SliceKeyType, list[np.ndarray]] = {}
    for spec in specs:
        for slice_key, rows in _rows_of_spec(spec, column, size):
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


def _feature(batch: types.Extracts, name: str, model_names: Sequence[str]) -> Any:
    """Returns the values of a feature: raw if there is one of that name, else transformed, else None."""
    raw = batch.get(constants.FEATURES_KEY) or {}
    if raw.get(name) is not None:
        return raw[name]
    transformed = batch.get(constants.TRANSFORMED_FEATURES_KEY) or {}
    by_model = [transformed.get(model, {}) for model in model_names] or [transformed]
    return next((features[name] for features in by_model if features.get(name) is not None), None)


class _Column:
    """A feature of a batch, factorised: `codes[row]` numbers the distinct sets of values of the rows."""

    def __init__(self, values: Any, size: int):
        self._distinct: list[np.ndarray] = []
        self.codes = self._factorise(values, size)

    def values_of(self, code: int) -> np.ndarray:
        """Returns the values of the rows with this code, an empty array where the feature is missing."""
        return np.array([]) if code == _MISSING else self._distinct[code]

    def _factorise(self, values: Any, size: int) -> np.ndarray:
        rows, flat = _flat_values(values)
        codes = np.full(size, _MISSING)
        if len(rows) == len(np.unique(rows)):
            distinct, inverse = np.unique(flat, return_inverse=True)
            self._distinct = list(distinct.reshape(-1, 1))
            codes[rows] = inverse.reshape(-1)
            return codes
        return self._factorise_sets(rows, flat, codes)

    def _factorise_sets(self, rows: np.ndarray, flat: np.ndarray, codes: np.ndarray) -> np.ndarray:
        numbers: dict[tuple[Any, ...], int] = {}
        boundaries = np.flatnonzero(np.diff(rows)) + 1
        for row, group in zip(np.unique(rows), np.split(flat, boundaries), strict=True):
            key = tuple(group.tolist())
            if key not in numbers:
                numbers[key] = len(numbers)
                self._distinct.append(group)
            codes[row] = numbers[key]
        return codes


def _flat_values(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Returns (ascending row numbers, values), one entry per value, however TFMA holds the batch."""
    if isinstance(values, types.VarLenTensorValue | types.SparseTensorValue):
        return values.indices[:, 0], np.asarray(values.values)
    if isinstance(values, types.RaggedTensorValue):
        splits = values.nested_row_splits[0]
        return np.repeat(np.arange(len(splits) - 1), np.diff(splits)), np.asarray(values.values)
    array = np.asarray(values)
    if array.dtype == object and any(entry is None or isinstance(entry, np.ndarray) for entry in array.ravel()):
        entries = [np.asarray([] if entry is None else entry).ravel() for entry in array]
        rows = np.repeat(np.arange(len(entries)), [len(entry) for entry in entries])
        filled = [entry for entry in entries if len(entry)]
        return rows, np.concatenate(filled) if filled else np.array([])
    array = array.reshape(len(array), -1)
    return np.repeat(np.arange(len(array)), array.shape[1]), array.reshape(-1)
