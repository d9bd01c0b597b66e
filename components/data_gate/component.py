"""The TFX component DataGate: reads the anomalies of all splits, writes the report, and fails if the gate is closed."""

import os

from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator import executor as example_validator
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.io import fileio
from tfx.types import artifact, artifact_utils
from tfx.types.standard_artifacts import ExampleAnomalies, ExampleStatistics, Schema
from tfx.utils import io_utils

from components.annotations import InputArtifact, OutputArtifact, Parameter
from components.data_gate import findings
from components.data_gate.report import ERROR, SETTINGS, WARNING, Report

REPORT_JSON = "report.json"
REPORT_TEXT = "report.txt"


class DataGateReport(artifact.Artifact):
    """What the gate found: `report.json` for programs and `report.txt` for people."""

    TYPE_NAME = "DataGateReport"
    PROPERTIES = {  # noqa: RUF012 (the form TFX asks for)
        "errors": artifact.Property(type=artifact.PropertyType.INT),
        "warnings": artifact.Property(type=artifact.PropertyType.INT),
    }


@component
def DataGate(  # noqa: N802 (a component is used like a class)
    statistics: InputArtifact[ExampleStatistics],
    schema: InputArtifact[Schema],
    anomalies: InputArtifact[ExampleAnomalies],
    report: OutputArtifact[DataGateReport],
    severity: Parameter[str] = ERROR,
) -> None:
    """Stops the run when the data breaks its schema.

    TFX's ExampleValidator records anomalies and lets the run go on. This component, after it, fails with a
    report that names the split, the column, the rule and what was found, from `severity` on: `error`, `warning` (both)
    or `never`. Put it in the way of the training nodes with `node.add_upstream_node(gate)`.

    Raises:
        ValueError: If the severity is none of these, or the anomalies of a split are missing.
        DataGateError: If there are anomalies of that severity. The text carries the whole report, because TFX
            removes the outputs of a failed execution.
    """
    if severity not in SETTINGS:
        raise ValueError(f"The severity of DataGate must be one of {', '.join(SETTINGS)}, not {severity!r}.")
    rules = io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(schema.uri))
    splits, breaches = {}, []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        measured = stats_artifact_utils.load_statistics(statistics, split).proto()
        splits[split] = findings.examined(measured)
        breaches.extend(findings.find(split, _read_anomalies(anomalies, split), measured, rules))
    result = Report.of(severity, splits, breaches)
    result.require_open()
    io_utils.write_string_file(os.path.join(report.uri, REPORT_JSON), result.json())
    io_utils.write_string_file(os.path.join(report.uri, REPORT_TEXT), result.text() + "\n")
    report.errors = result.count(ERROR)
    report.warnings = result.count(WARNING)
    logging.info(result.text())


def _read_anomalies(anomalies: ExampleAnomalies, split: str) -> anomalies_pb2.Anomalies:
    path = os.path.join(artifact_utils.get_split_uri([anomalies], split), example_validator.DEFAULT_FILE_NAME)
    if not fileio.exists(path):
        raise ValueError(
            f"The anomalies of the split {split!r} are missing at {path}; "
            "run ExampleValidator again, for data that was not validated cannot pass."
        )
    return anomalies_pb2.Anomalies.FromString(io_utils.read_bytes_file(path))
