"""The TFX component InfraValidator."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import component_spec, standard_artifacts

from components.infra_validator import executor


class InfraValidatorSpec(component_spec.ComponentSpec):
    """Parameters, inputs and outputs of InfraValidator."""

    PARAMETERS = {  # noqa: RUF012 (the form TFX asks for)
        "split": component_spec.ExecutionParameter(type=str),
        "requests": component_spec.ExecutionParameter(type=int),
        "raw_signature": component_spec.ExecutionParameter(type=str),
        "server": component_spec.ExecutionParameter(type=str),
        "load_seconds": component_spec.ExecutionParameter(type=float),
        "answer_seconds": component_spec.ExecutionParameter(type=float),
        "startup_seconds": component_spec.ExecutionParameter(type=float),
    }
    INPUTS = {  # noqa: RUF012
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {  # noqa: RUF012
        "blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
    }


class InfraValidator(base_component.BaseComponent):
    """Lets a fresh process load the candidate and answer real requests before it may be pushed.

    TFX's component of the same name starts TensorFlow Serving in Docker or Kubernetes. This one needs
    neither: it starts a Python process that has nothing of the pipeline in it, only TensorFlow on the CPU:
    the server of production if it is told which, and asks it over REST; else a process of its own.
    Its output is the standard InfraBlessing, so TFX's own Pusher honours it. A model that fails, hangs or
    kills its process is not blessed, with the reason in the custom property `reason` and in
    `validation.json`; the run goes on.

    The model needs the signatures `serving_default` (one input, serialised tf.Examples) and `raw_signature`
    (one input of shape [None, 1] per raw column, named like it; a missing value is "" for strings, NaN for
    floats and the smallest int64 for integers). Each has one output: float32 probabilities of shape [None,
    1].
    """

    SPEC_CLASS = InfraValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.InfraValidatorExecutor)

    def __init__(
        self,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        split: str = "eval",
        requests: int = 32,
        raw_signature: str = "predict_raw",
        server: str = "",
        load_seconds: float = 120.0,
        answer_seconds: float = 30.0,
        startup_seconds: float = 120.0,
    ):
        """Builds the component.

        Args:
            model: The candidate, a Model channel.
            examples: The examples to take requests from.
            split: The split of the examples.
            requests: How many examples to ask for, at once and one by one, by each signature.
            raw_signature: The signature that takes named raw values.
            server: The Python module of a server, see `components.infra_validator.prediction_server`; without
                one, a process of this component's own loads the model.
            load_seconds: How long the model may take to load.
            answer_seconds: How long each answer may take; the first one includes tracing.
            startup_seconds: How long Python and TensorFlow may take to start.

        Raises:
            ValueError: If there are no requests, or no time.
        """
        if requests < 1:
            raise ValueError(f"InfraValidator needs at least 1 request, not {requests}.")
        limits = {
            "load_seconds": load_seconds,
            "answer_seconds": answer_seconds,
            "startup_seconds": startup_seconds,
        }
        for name, seconds in limits.items():
            if seconds <= 0:
                raise ValueError(f"InfraValidator needs a positive {name}, not {seconds}.")
        super().__init__(
            InfraValidatorSpec(
                model=model,
                examples=examples,
                split=split,
                requests=requests,
                raw_signature=raw_signature,
                server=server,
                **{name: float(seconds) for name, seconds in limits.items()},
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
