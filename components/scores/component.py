"""The TFX component Scores."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, component_spec, standard_artifacts

from components.scores import executor
from components.scores.rows import ScoresError


class ScoresArtifact(artifact.Artifact):
    """The folder that holds `scores.parquet` and, if it was asked for, `importance.json`.

    Properties: `rows`, how many were scored; `rows_fingerprint`, the same for two artifacts if and only if they are
    about the same rows in the same order.
    """

    TYPE_NAME = "Scores"
    PROPERTIES = {  # noqa: RUF012 (the form TFX asks for)
        "rows": artifact.Property(type=artifact.PropertyType.INT),
        "rows_fingerprint": artifact.Property(type=artifact.PropertyType.STRING),
    }


class ScoresSpec(component_spec.ComponentSpec):
    """Parameters, inputs and outputs of Scores."""

    PARAMETERS = {  # noqa: RUF012
        "split": component_spec.ExecutionParameter(type=str),
        "label": component_spec.ExecutionParameter(type=str),
        "columns": component_spec.ExecutionParameter(type=str),
        "batch_rows": component_spec.ExecutionParameter(type=int),
        "importance_rows": component_spec.ExecutionParameter(type=int),
        "importance_repeats": component_spec.ExecutionParameter(type=int),
        "seed": component_spec.ExecutionParameter(type=int),
        "raw_signature": component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {  # noqa: RUF012
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"scores": component_spec.ChannelParameter(type=ScoresArtifact)}  # noqa: RUF012


class Scores(base_component.BaseComponent):
    """Keeps what the model says about each row of a split, for comparisons and plots that need single rows.

    TFX's Evaluator keeps metrics only. From the scores of two models on the same rows one can tell whether one is
    better or merely luckier, and draw any curve afterwards.

    The output `scores` holds `scores.parquet`: `row` (int64, from 0, in the order of the examples), `label` (int8, or
    float64 if one is neither 0 nor 1), `probability` (float64, what `serving_default` answered), and the `columns`
    that were asked for; and `importance.json`: by how much the area under the ROC curve falls, and the log loss rises,
    when one raw column is shuffled among the rows (permutation importance; Breiman 2001, Fisher, Rudin and Dominici
    2019).

    The model needs the signature `serving_default`: one input, serialised tf.Examples; one output, of shape [None] or
    [None, 1]. If it has `raw_signature` as well (one input of shape [None] or [None, 1] per raw column, a missing
    value being "", NaN or the smallest int64), columns are shuffled there; otherwise inside the examples, which is
    slower.
    """

    SPEC_CLASS = ScoresSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.ScoresExecutor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        label: str,
        split: str = "eval",
        columns: Sequence[str] = (),
        batch_rows: int = 4096,
        importance_rows: int = 5000,
        importance_repeats: int = 5,
        seed: int = 0,
        raw_signature: str = "predict_raw",
    ):
        """Builds the component.

        Args:
            model: The model, a Model channel.
            examples: The labelled examples to score.
            label: The feature that holds the label, one number per example.
            split: The split of the examples.
            columns: Features to keep beside the scores, such as those that quality is looked at by; each with at most
                one value per example.
            batch_rows: How many rows the model is given at once.
            importance_rows: On how many rows, drawn at random, to measure the importance of columns; 0: not at all.
            importance_repeats: How often each column is shuffled.
            seed: Of the drawing and the shuffling.
            raw_signature: The name of the signature that takes raw values by name.

        Raises:
            ScoresError: If a number makes no sense.
        """
        for name, number, least in (
            ("batch_rows", batch_rows, 1),
            ("importance_rows", importance_rows, 0),
            ("importance_repeats", importance_repeats, 1),
        ):
            if number < least:
                raise ScoresError(f"Scores needs {name} of at least {least}, not {number}.")
        super().__init__(
            ScoresSpec(
                model=model,
                examples=examples,
                split=split,
                label=label,
                columns=json.dumps(list(columns)),
                batch_rows=batch_rows,
                importance_rows=importance_rows,
                importance_repeats=importance_repeats,
                seed=seed,
                raw_signature=raw_signature,
                scores=types.Channel(type=ScoresArtifact),
            )
        )
