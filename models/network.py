"""The network: embedded categories and numbers through cross layers beside deep layers (DCN-v2, parallel)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from models.preprocessing import CATEGORICAL, NUMERIC, TEXT, VOCABULARY, category_rows

if TYPE_CHECKING:
    import tensorflow_transform as tft

    from models.features import FeatureSettings
    from models.settings import ModelSettings
    from models.tasks import Head


NAME = "flightdeck"


@dataclass(frozen=True)
class TransformedFeatures:
    """The shape of the transformed features: widths, 0 if there are none, and columns and buckets of text.

    `rows` is the size of the embedding table that the categories point into. The first `scaled` numbers are columns,
    the others are indicators and waves.
    """

    numbers: int
    categories: int
    rows: int
    text: tuple[int, int] | None = None
    scaled: int = 0

    @classmethod
    def of(cls, transform: tft.TFTransformOutput, settings: FeatureSettings) -> TransformedFeatures:
        """Reads the shape from the output of Transform."""
        spec: dict[str, Any] = transform.transformed_feature_spec()
        numbers, categories = (spec[name].shape[0] if name in spec else 0 for name in (NUMERIC, CATEGORICAL))
        rows = category_rows(categories, int(transform.vocabulary_size_by_name(VOCABULARY))) if categories else 0
        text = tuple(spec[TEXT].shape) if TEXT in spec else None
        return cls(numbers, categories, rows, text, scaled=len(settings.numeric))


@dataclass(frozen=True)
class Rescaling:
    """Numbers in the units of another Transform: times scale, plus offset; 0, which is a missing value, stays 0."""

    scale: Sequence[float]
    offset: Sequence[float]


def build(
    settings: ModelSettings,
    features: TransformedFeatures,
    head: Head,
    dtype: str = "float32",
    rescaling: Rescaling | None = None,
    name: str = NAME,
) -> keras.Model:
    """Builds the network without compiling it.

    The cross layer is x' = x0 * (W x + b) + x, from Wang et al., "DCN V2: Improved Deep & Cross Network and
    Practical Lessons for Web-scale Learning to Rank Systems", WWW 2021, equation 1.

    Args:
        settings: Sizes and dropout.
        features: The shape of the inputs.
        head: The last layer.
        dtype: Keras dtype policy of all layers but the last, e.g. ``mixed_float16``. Variables are float32.
        rescaling: The units in which the layers expect the numbers, if not those of Transform: after a warm start.
        name: Of the model.

    Returns:
        A model from ``{"numeric_xf": float32 [None, numbers], "categorical_xf": int64 [None, categories],
        "text_xf": float32 [None, text columns, buckets]}`` (only those that exist) to the output of the head.
    """
    inputs, parts = {}, []
    if features.numbers:
        inputs[NUMERIC] = keras.Input((features.numbers,), name=NUMERIC, dtype="float32")
        numbers: Any = inputs[NUMERIC]
        if rescaling is not None:
            numbers = _rescaled(numbers, rescaling)
        parts.append(numbers)
        if features.scaled and settings.number_frequencies:
            parts.append(_embedded_numbers(numbers[:, : features.scaled], settings, dtype))
    if features.categories:
        inputs[CATEGORICAL] = keras.Input((features.categories,), name=CATEGORICAL, dtype="int64")
        embed = keras.layers.Embedding(
            features.rows,
            settings.embedding_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=0.05),  # pyright: ignore[reportArgumentType]
            name="embedding",
            dtype=dtype,
        )
        parts.append(keras.layers.Flatten(name="embedded", dtype=dtype)(embed(inputs[CATEGORICAL])))
    if features.text:
        inputs[TEXT] = keras.Input(features.text, name=TEXT, dtype="float32")
        parts.append(_embedded_words(inputs[TEXT], features.text, settings.embedding_dim, dtype))
    joined = keras.layers.Concatenate(name="features", dtype=dtype)(parts) if len(parts) > 1 else parts[0]
    towers = []
    if settings.cross_layers:
        towers.append(_crossed(joined, settings.cross_layers, dtype))
    if settings.hidden_units:
        towers.append(_deep(joined, settings, dtype))
    merged = keras.layers.Concatenate(name="towers", dtype=dtype)(towers) if len(towers) > 1 else towers[0]
    return keras.Model(inputs, head.layer(merged), name=name)


def averaged(networks: Sequence[keras.Model]) -> keras.Model:
    """Returns a network that answers with the mean of the answers of others, whose names differ; a single one as it is.

    Its weights are theirs, in their order. Lakshminarayanan, Pritzel and Blundell, "Simple and Scalable Predictive
    Uncertainty Estimation using Deep Ensembles", NIPS 2017.
    """
    if len(networks) == 1:
        return networks[0]
    asked: Any = networks[0].input  # by name
    inputs = {name: keras.Input(tensor.shape[1:], name=name, dtype=tensor.dtype) for name, tensor in asked.items()}
    answers = [network(inputs) for network in networks]
    return keras.Model(inputs, keras.layers.Average(name="mean")(answers), name=NAME)


def _embedded_numbers(numbers: keras.KerasTensor, settings: ModelSettings, dtype: str) -> keras.KerasTensor:
    """Sines and cosines of each number, of frequencies that are learned, embedded: [None, columns * size].

    So that a small difference of a number can make a large one, as between the leaves of a tree. Gorishniy, Rubachev
    and Babenko, "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022: PLR, with one linear
    layer for all columns ("lite").
    """
    columns, frequencies = numbers.shape[1], settings.number_frequencies
    angles = keras.layers.EinsumDense(
        "bn,nf->bnf",
        (columns, frequencies),
        kernel_initializer=keras.initializers.RandomNormal(  # pyright: ignore[reportArgumentType]
            stddev=2 * math.pi * settings.number_scale
        ),
        name="frequencies",
        dtype="float32",  # as angles, float16 would tell few values apart
    )(numbers)
    waves: Any = keras.ops.concatenate([keras.ops.sin(angles), keras.ops.cos(angles)], axis=-1)
    embed = keras.layers.EinsumDense(
        "bnf,fe->bne",
        (columns, settings.number_dim),
        activation="relu",
        bias_axes="ne",
        name="number_embedding",
        dtype=dtype,
    )
    return keras.layers.Flatten(name="embedded_numbers", dtype=dtype)(embed(waves))


def _embedded_words(words: keras.KerasTensor, shape: tuple[int, int], size: int, dtype: str) -> keras.KerasTensor:
    """The sum of the embeddings of a text's words, per column: [None, columns * size]."""
    project = keras.layers.EinsumDense("bcw,cwe->bce", (shape[0], size), name="words", dtype=dtype)
    return keras.layers.Flatten(name="text", dtype=dtype)(project(words))


def layer_inputs(settings: ModelSettings, features: FeatureSettings, head: Head) -> dict[str, tuple[str, ...]]:
    """Returns the layers that hold weights, each with what it reads: those before it.

    ``numbers``, ``embedding`` and, if there is any, ``text`` are inputs; the last layer may depend on the ``classes``.
    """
    read: dict[str, tuple[str, ...]] = {"words": ("text",)} if features.text else {}
    if features.numeric and settings.number_frequencies:
        read |= {"frequencies": ("numbers",), "number_embedding": ("frequencies",)}
    inputs = ("numbers", "embedding", *(name for name in ("number_embedding", "words") if name in read))
    towers = []
    for name, layers in (("cross", settings.cross_layers), ("deep", len(settings.hidden_units))):
        before: tuple[str, ...] = inputs
        for layer in range(layers):
            read[f"{name}_{layer}"] = before
            before = (f"{name}_{layer}",)
        towers += before if layers else ()
    return {**read, head.output: (*towers, *head.reads)}


def _rescaled(numbers: keras.KerasTensor, rescaling: Rescaling) -> keras.KerasTensor:
    scale, offset = (np.asarray(values, np.float32) for values in (rescaling.scale, rescaling.offset))
    # What is missing is 0 in any units: a mean, but of other data, would tell the layers something else.
    missing = keras.ops.equal(numbers, 0.0)
    rescaled: Any = keras.ops.where(missing, 0.0, keras.ops.add(keras.ops.multiply(numbers, scale), offset))
    return rescaled


def _crossed(first: keras.KerasTensor, layers: int, dtype: str) -> keras.KerasTensor:
    crossed = first
    for layer in range(layers):
        gate = keras.layers.Dense(first.shape[-1], name=f"cross_{layer}", dtype=dtype)(crossed)
        product = keras.layers.Multiply(name=f"cross_product_{layer}", dtype=dtype)([first, gate])
        crossed = keras.layers.Add(name=f"crossed_{layer}", dtype=dtype)([product, crossed])
    return crossed


def _deep(first: keras.KerasTensor, settings: ModelSettings, dtype: str) -> keras.KerasTensor:
    deep = first
    for layer, units in enumerate(settings.hidden_units):
        deep = keras.layers.Dense(units, activation="relu", name=f"deep_{layer}", dtype=dtype)(deep)
        if settings.dropout:
            deep = keras.layers.Dropout(settings.dropout, name=f"dropout_{layer}", dtype=dtype)(deep)
    return deep
