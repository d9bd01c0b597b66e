"""Warm start: a new network begins with the weights of a base model, although its Transform is another one.

Each Transform has its own vocabulary and its own means and deviations. An embedding is therefore taken by the category
that it stands for, and the numbers are first expressed in the units that the base model's layers expect. The new
network so begins with the answers of the base model. They differ where only one Transform clips a number, and for
categories that have become too rare for the vocabulary.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from errors import FlightdeckError
from models import assets
from models.inputs import TransformGraph, matching, serialised
from models.network import Rescaling, layer_inputs
from models.preprocessing import NUMERIC, VOCABULARY, number_names

if TYPE_CHECKING:
    import keras
    import tensorflow_transform as tft
    from tfx.components.trainer.fn_args_utils import FnArgs

    from models.features import FeatureSettings
    from models.settings import ModelSettings
    from models.tasks import Head

DESCRIPTION = os.path.join(assets.FOLDER, "network.json")
EMBEDDING = "embedding/embeddings"
# By how much two ways to the same number may differ and still be the same: float32 through a difference and a quotient.
_TOLERANCE = 1e-3
_SAMPLE = 2048  # rows of each file

_log = logging.getLogger(__name__)

Weights = Mapping[str, np.ndarray]


class BaseModelError(FlightdeckError):
    """A base model whose weights cannot be read."""


@dataclass(frozen=True)
class Layout:
    """What the inputs and the layers of a network mean.

    Attributes:
        numbers: What each number is, from `number_names`.
        clip: The scaled numbers are clipped to plus or minus so many.
        vocabulary: The categories as ``column=value``, in the order of their rows in the embedding table.
        layers: The layers that hold weights, each with those that it reads.
        rescaling: The units in which the layers expect the numbers, if not those of Transform.
        classes: What the last layer tells apart, if they are several.
        label_scale: The mean and the deviation of labels with which the network answers, if it does.
    """

    numbers: tuple[str, ...]
    clip: float
    categories: tuple[str, ...]
    vocabulary: tuple[str, ...]
    layers: Mapping[str, tuple[str, ...]]
    rescaling: Rescaling | None = None
    text: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    label_scale: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, features: FeatureSettings, settings: ModelSettings, head: Head, transform: tft.TFTransformOutput
    ) -> Layout:
        """The layout of a network behind a Transform."""
        # Whatever bytes there are, as JSON can hold them.
        terms = transform.vocabulary_by_name(VOCABULARY) if features.categorical else []
        vocabulary = tuple(term.decode("utf-8", "surrogateescape") for term in terms)
        numbers = number_names(features)
        return cls(
            numbers,
            features.clip,
            features.categorical,
            vocabulary,
            layer_inputs(settings, features, head),
            text=features.text,
            classes=head.target.classes,
            label_scale=head.scale,
        )

    def rows(self) -> dict[str, int]:
        """The row of the embedding table of each category, and of what is missing or unseen in each column."""
        special = {
            f"{column} is {state}": 2 * at + which
            for at, column in enumerate(self.categories)
            for which, state in enumerate(("missing", "unseen"))
        }
        return special | {term: at + len(special) for at, term in enumerate(self.vocabulary)}

    def unseen(self, term: str) -> str | None:
        """What a category was taken for that the vocabulary does not have; None if its column is not there."""
        column = next((name for name in self.categories if term.startswith(f"{name}=")), None)
        return None if column is None else f"{column} is unseen"


@dataclass(frozen=True)
class Taken:
    """What a network took from its base model.

    Attributes:
        anew: The layers that begin anew, because their shape, or what they read, is another.
        terms: How many categories have the embedding that they had.
        unseen: The categories that the base model did not know; they begin as what it took them for.
        gone: How many categories of the base model are no longer in the vocabulary.
        rescaled: How many numbers are scaled otherwise by the new Transform, and expressed in the old units.
    """

    layers: tuple[str, ...]
    anew: tuple[str, ...]
    terms: int
    unseen: tuple[str, ...]
    gone: int
    rescaled: int

    def document(self) -> dict[str, Any]:
        """As JSON has it, with a sentence for people."""
        return {**asdict(self), "said": self.sentence()}

    def sentence(self) -> str:
        """What was taken, in words."""
        said = f"took {', '.join(self.layers) or 'no layer'} and {self.terms} categories"
        said += f"; anew: {', '.join(self.anew)}" if self.anew else ""
        said += f"; {len(self.unseen)} new categories begin as unseen ones" if self.unseen else ""
        return said + (f"; {self.rescaled} numbers are expressed in its units" if self.rescaled else "")


@dataclass(frozen=True)
class Base:
    """A base model: its folder, what its network means, and its weights by path, such as ``deep_0/kernel``."""

    path: str
    layout: Layout
    weights: Weights


class InitialWeights:
    """What a network begins with: the weights of a base model, or those that it was initialised with.

    Attributes:
        head: With the scale of the labels that the base model learned from, if there is one.
        layout: With the units of its numbers.
        record: What was taken from it, or why it was passed over; None if there is none.
    """

    def __init__(self, fn_args: FnArgs, head: Head, layout: Layout, graph: TransformGraph) -> None:
        """Reads the base model, if the arguments name one."""
        self.head, self.layout = head, layout
        self.record: dict[str, Any] | None = None
        self._base: Base | None = None
        if not fn_args.base_model:
            return
        try:
            self._base = read(fn_args.base_model)
        except BaseModelError as error:
            _log.warning("training begins anew: %s", error)
            self.record = {"passed_over": str(error), "said": f"passed over: {error}"}
            return
        rescaling = rescaling_for(self._base, layout, fn_args.train_files, graph)
        # Its last layer answers with the scale of the labels that it learned from.
        self.head = replace(head, scale=self._base.layout.label_scale or head.scale)
        self.layout = replace(layout, rescaling=rescaling, label_scale=self.head.scale)

    def __call__(self, model: keras.Model) -> None:
        """Gives a network its first weights."""
        if self._base is not None:
            taken = begin(model, self.layout, self._base)
            self.record = taken.document()
            _log.info("of the base model, this training %s", taken.sentence())


def describe(network: keras.Model, layout: Layout, path: str) -> None:
    """Writes beside an exported network what another one needs to begin with its weights."""
    weights = [variable.path for variable in network.weights]
    assets.write(path, os.path.basename(DESCRIPTION), {"weights": weights, **asdict(layout)})


def read(path: str) -> Base:
    """Reads a base model, or raises a BaseModelError if it does not say what its weights mean, or lacks one."""
    try:
        with tf.io.gfile.GFile(os.path.join(path, DESCRIPTION)) as stream:
            described = json.loads(stream.read())
    except tf.errors.NotFoundError:
        raise BaseModelError(f"the model in {path} has no {DESCRIPTION}: an older version exported it") from None
    reader = tf.train.load_checkpoint(os.path.join(path, "variables", "variables"))
    try:
        weights = {
            name: reader.get_tensor(f"_weights/{at}/.ATTRIBUTES/VARIABLE_VALUE")
            for at, name in enumerate(described.pop("weights"))
        }
        rescaling = described.pop("rescaling")
        layers = {name: tuple(before) for name, before in described.pop("layers").items()}
        others: dict[str, Any] = {name: tuple(of) if isinstance(of, list) else of for name, of in described.items()}
        layout = Layout(**others, layers=layers, rescaling=None if rescaling is None else Rescaling(**rescaling))
    except (KeyError, TypeError, ValueError, tf.errors.OpError) as error:
        raise BaseModelError(f"the model in {path} is not described by its {DESCRIPTION}: {error}") from None
    return Base(path, layout, weights)


def rescaling_for(base: Base, layout: Layout, patterns: Sequence[str], graph: TransformGraph) -> Rescaling | None:
    """How numbers of the new Transform become what the layers of the base model expect, found on the same rows.

    None if no number needs it, or if the numbers are not the same ones and cannot be taken anyway.
    """
    if layout.numbers != base.layout.numbers or not layout.numbers:
        return None
    examples = [row for file in matching(patterns) for row in serialised(file, graph.columns, _SAMPLE)]
    model = tf.saved_model.load(base.path)
    old = model.signatures["transform_features"](examples=tf.constant(examples))[NUMERIC].numpy()  # pyright: ignore
    new = graph.apply(tf.io.parse_example(tf.constant(examples), graph.columns))[NUMERIC]
    between = fitted(old, np.asarray(new), min(layout.clip, base.layout.clip))
    return composed(between, base.layout.rescaling)


def fitted(old: np.ndarray, new: np.ndarray, clip: float) -> Rescaling:
    """The scale and offset by which each column of `new` becomes that of `old`, both float32 [rows, numbers].

    Two rows tell: the outermost ones that neither array has clipped or, being missing, set to 0. Where all such rows
    are the same, they tell the offset alone. A column of which they do not tell the truth about the other rows stays
    as it is.
    """
    scales, offsets = np.ones(new.shape[1]), np.zeros(new.shape[1])
    for at in range(new.shape[1]):
        before, now = old[:, at].astype(np.float64), new[:, at].astype(np.float64)
        inside = (np.abs(before) < clip) & (np.abs(now) < clip) & ((before != 0) | (now != 0))
        before, now = before[inside], now[inside]
        if not now.size:
            continue
        low, high = int(np.argmin(now)), int(np.argmax(now))
        scale = (before[high] - before[low]) / (now[high] - now[low]) if now[high] > now[low] else 1.0
        offset = before[low] - scale * now[low]
        if np.max(np.abs(scale * now + offset - before)) < _TOLERANCE:
            scales[at], offsets[at] = scale, offset
    return Rescaling(_rounded(scales), _rounded(offsets))


def composed(inner: Rescaling, outer: Rescaling | None) -> Rescaling | None:
    """One rescaling that does what two do, the inner one first; None if that is nothing."""
    outer = outer or Rescaling([1.0] * len(inner.scale), [0.0] * len(inner.scale))
    scale = np.multiply(inner.scale, outer.scale)
    offset = np.add(np.multiply(inner.offset, outer.scale), outer.offset)
    if np.all(scale == 1) and np.all(offset == 0):
        return None
    return Rescaling(_rounded(scale), _rounded(offset))


def _rounded(values: np.ndarray) -> list[float]:
    """To what float32 can tell; so that a scale that is the same is exactly 1."""
    return [float(value) for value in np.round(values, 6)]


def begin(network: keras.Model, layout: Layout, base: Base) -> Taken:
    """Gives a new network the weights of a base model, as far as they fit it, and returns what it took."""
    paths = [variable.path for variable in network.weights]
    begun, taken = start(dict(zip(paths, network.get_weights(), strict=True)), layout, base)
    network.set_weights([begun[path] for path in paths])
    return taken


def start(fresh: Weights, layout: Layout, base: Base) -> tuple[dict[str, np.ndarray], Taken]:
    """The weights by path that a new network begins with in place of its fresh ones, and what it took for them."""
    begun = dict(fresh)
    terms, unseen = 0, []
    known = base.layout.rows()
    table = base.weights.get(EMBEDDING)
    widths_agree = EMBEDDING in fresh and table is not None and table.shape[1] == fresh[EMBEDDING].shape[1]
    if widths_agree:
        rows = np.array(fresh[EMBEDDING])
        for term, row in layout.rows().items():
            source = term if term in known else base.layout.unseen(term)
            terms += term in known and term in layout.vocabulary
            if source is not None:
                rows[row] = table[known[source]]  # pyright: ignore[reportOptionalSubscript]
            if source != term and term in layout.vocabulary:
                unseen.append(term)
        begun[EMBEDDING] = rows
    taken = {
        "numbers": layout.numbers == base.layout.numbers,
        "text": layout.text == base.layout.text,
        "classes": layout.classes == base.layout.classes,
        "embedding": layout.categories == base.layout.categories and (widths_agree or EMBEDDING not in fresh),
    }
    for layer, before in layout.layers.items():
        paths = [path for path in fresh if path.startswith(f"{layer}/")]
        taken[layer] = (
            base.layout.layers.get(layer) == before
            and all(taken[source] for source in before)
            and all(path in base.weights and base.weights[path].shape == fresh[path].shape for path in paths)
        )
        if taken[layer]:
            begun |= {path: base.weights[path] for path in paths}
    rescaling = layout.rescaling
    return begun, Taken(
        tuple(layer for layer in layout.layers if taken[layer]),
        tuple(layer for layer in layout.layers if not taken[layer]),
        terms,
        tuple(unseen),
        len(set(base.layout.vocabulary) - set(layout.vocabulary)) if widths_agree else 0,
        0 if rescaling is None else sum(pair != (1, 0) for pair in zip(rescaling.scale, rescaling.offset, strict=True)),
    )
