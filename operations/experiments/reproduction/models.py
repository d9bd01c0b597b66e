"""Compares two models: every variable bit by bit, the vocabularies they were exported with, and what was measured."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from operations.experiments.reproduction.circumstances import changes

# What TensorFlow keeps beside the variables: the names of the objects they belong to.
_STRUCTURE = "_CHECKPOINTABLE_OBJECT_GRAPH"
# Of every variable's name in a checkpoint.
_SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class VariableDifference:
    """A variable that is not bit-identical.

    Attributes:
        original: its dtype and shape in the first model; None if that lacks it.
        reproduction: the same in the second.
        largest: the largest absolute difference; None if shapes differ or there is none to compute.
    """

    name: str
    original: str | None
    reproduction: str | None
    largest: float | None


@dataclasses.dataclass(frozen=True)
class MetricDifference:
    """A metric that is not exactly equal.

    Attributes:
        slice: such as ``column=value``; empty for the whole evaluation split.
        original: the first model's; None if it was not measured.
        reproduction: the second one's.
    """

    slice: str
    metric: str
    original: float | None
    reproduction: float | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """How two models compare.

    Attributes:
        variables: how many there are, in either model.
        values: how many numbers these hold.
        different_assets: files exported with the model, such as vocabularies, that are not the same.
        metrics: how many values were compared, over all slices.
        slices: over how many slices, the whole split aside.
    """

    variables: int
    values: int
    different_variables: tuple[VariableDifference, ...]
    different_assets: tuple[str, ...]
    metrics: int
    slices: int
    different_metrics: tuple[MetricDifference, ...]

    @property
    def identical(self) -> bool:
        """Whether nothing differs."""
        return not (self.different_variables or self.different_assets or self.different_metrics)

    def document(self) -> dict[str, Any]:
        """The comparison as JSON has it."""
        return {"identical": self.identical, **dataclasses.asdict(self)}

    def reasons(self) -> tuple[str, ...]:
        """What differs, a sentence each; empty if nothing does."""
        reasons = []
        if variables := self.different_variables:
            largest = max(variable.largest or 0.0 for variable in variables)
            reasons.append(f"{len(variables)} of {self.variables} variables differ, by at most {largest:.3g}")
        if self.different_assets:
            reasons.append(f"{', '.join(self.different_assets)}, exported with the model, differ")
        if self.different_metrics:
            reasons.append(f"{len(self.different_metrics)} of {self.metrics} metrics differ")
        return tuple(reasons)


def saved_model(uri: str) -> str:
    """The folder of the SavedModel in a Model artifact."""
    from tfx.utils import path_utils

    return path_utils.serving_model_path(uri)


def reachable(uri: str, workspace: str, here: str) -> str | None:
    """The folder of a Model artifact, as it can be read from here; None if it cannot.

    Args:
        uri: of the artifact, as recorded.
        workspace: of the run; where it ran, this may have been a mounted claim.
        here: this machine's workspace, in which the same artifacts may be found.
    """
    from tfx.dsl.io import fileio

    places = [uri]
    if uri.startswith(f"{workspace}/"):
        places.append(here + uri.removeprefix(workspace))
    for place in places:
        if fileio.exists(os.path.join(saved_model(place), "variables", "variables.index")):
            return place
    return None


def compare(
    models: tuple[str, str],
    metrics: tuple[Mapping[str, float], Mapping[str, float]],
    slices: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
) -> Comparison:
    """Compares an original with its reproduction.

    Args:
        models: the folders of the SavedModels.
        metrics: name -> value on the whole evaluation split.
        slices: the documents `slices` of the records.
    """
    variables, values, different = compare_variables(*models)
    before, after = (
        {(name, metric): value for name, measured in by_slice.items() for metric, value in measured.items()}
        for by_slice in (
            {"": overall, **{part["slice"]: part["challenger"] for part in sliced}}
            for overall, sliced in zip(metrics, slices, strict=True)
        )
    )
    return Comparison(
        variables,
        values,
        different,
        compare_assets(*models),
        len({*before, *after}),
        len({name for name, _ in (*before, *after)} - {""}),
        tuple(MetricDifference(name, metric, old, new) for (name, metric), old, new in changes(before, after)),
    )


def compare_variables(original: str, reproduction: str) -> tuple[int, int, tuple[VariableDifference, ...]]:
    """Compares the variables of two SavedModels.

    Returns:
        How many variables there are, how many numbers they hold, and those that are not bit-identical.
    """
    import numpy as np
    import tensorflow as tf

    folders = (original, reproduction)
    readers = [tf.train.load_checkpoint(os.path.join(folder, "variables", "variables")) for folder in folders]
    names = sorted({name for reader in readers for name in reader.get_variable_to_shape_map()} - {_STRUCTURE})
    values, different = 0, []
    for name in names:
        before, after = (np.asarray(reader.get_tensor(name)) if reader.has_tensor(name) else None for reader in readers)
        values += max(variable.size for variable in (before, after) if variable is not None)
        if (
            before is not None
            and after is not None
            and (before.dtype, before.shape) == (after.dtype, after.shape)
            and before.tobytes() == after.tobytes()
        ):
            continue
        different.append(
            VariableDifference(name.removesuffix(_SUFFIX), _form(before), _form(after), _largest(before, after))
        )
    return len(names), values, tuple(different)


def compare_assets(original: str, reproduction: str) -> tuple[str, ...]:
    """The files exported with two SavedModels, such as vocabularies, that one lacks or that have other contents."""
    before, after = _assets(original), _assets(reproduction)
    return tuple(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))


def _form(value: Any) -> str | None:
    return None if value is None else f"{value.dtype}{list(value.shape)}"


def _largest(before: Any, after: Any) -> float | None:
    import numpy as np

    if before is None or after is None or before.shape != after.shape:
        return None
    if not (np.issubdtype(before.dtype, np.number) and np.issubdtype(after.dtype, np.number)):
        return None
    # Not a number as soon as one of them is not; 0 for 0 and -0, which differ in a bit.
    return float(np.max(np.abs(before.astype(np.float64) - after.astype(np.float64)), initial=0.0))


def _assets(folder: str) -> dict[str, str]:
    from tfx.dsl.io import fileio

    digests: dict[str, str] = {}
    assets = os.path.join(folder, "assets")
    for parent, _, names in fileio.walk(assets) if fileio.exists(assets) else ():
        for name in names:
            path = os.path.join(str(parent), str(name))
            with fileio.open(path, "rb") as file:
                digests[os.path.relpath(path, assets)] = hashlib.sha256(file.read()).hexdigest()
    return digests
