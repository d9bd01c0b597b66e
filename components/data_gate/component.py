"""The TFX component DataGate."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import artifact, component_spec, standard_artifacts

from components.data_gate import executor
from components.data_gate.report import ERROR, SETTINGS


class DataGateReport(artifact.Artifact):
    """What the gate found: `report.json` for programs and `report.txt` for people."""

    TYPE_NAME = "DataGateReport"
    PROPERTIES = {  # noqa: RUF012 (the form TFX asks for)
        "errors": artifact.Property(type=artifact.PropertyType.INT),
        "warnings": artifact.Property(type=artifact.PropertyType.INT),
    }


class DataGateSpec(component_spec.ComponentSpec):
    """Parameters, inputs and outputs of DataGate."""

    PARAMETERS = {"severity": component_spec.ExecutionParameter(type=str)}  # noqa: RUF012
    INPUTS = {  # noqa: RUF012
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    OUTPUTS = {"report": component_spec.ChannelParameter(type=DataGateReport)}  # noqa: RUF012


class DataGate(base_component.BaseComponent):
    """Stops the run when the data breaks its schema.

    TFX's ExampleValidator records anomalies and lets the run go on. This component, after it, fails with a
    report that names the split, the column, the rule and what was found. Put it in the way of the training
    nodes with `node.add_upstream_node(gate)`.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.DataGateExecutor)

    def __init__(
        self,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        anomalies: types.BaseChannel,
        severity: str = ERROR,
    ):
        """Takes what TFX's nodes made, and from which severity on to stop: `error`, `warning` (both) or `never`.

        Raises:
            ValueError: If the severity is none of these.
        """
        if severity not in SETTINGS:
            raise ValueError(f"The severity of DataGate must be one of {', '.join(SETTINGS)}, not {severity!r}.")
        super().__init__(
            DataGateSpec(
                statistics=statistics,
                schema=schema,
                anomalies=anomalies,
                severity=severity,
                report=types.Channel(type=DataGateReport),
            )
        )
