"""The executor: reads the anomalies of all splits, writes the report, and fails if the gate is closed."""

from __future__ import annotations

import os
from typing import Any

from absl import logging
from tensorflow_metadata.proto.v0 import anomalies_pb2, schema_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from components.data_gate import findings
from components.data_gate.report import ERROR, WARNING, Report

REPORT_JSON = "report.json"
REPORT_TEXT = "report.txt"


class DataGateExecutor(base_executor.BaseExecutor):
    """Lets the run pass, or stops it with the report as the error."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Judges the anomalies.

        Raises:
            DataGateError: If there are anomalies of that severity. The text carries the whole report, because
                TFX removes the outputs of a failed execution.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        report = _examine(
            statistics=artifact_utils.get_single_instance(input_dict["statistics"]),
            schema=_read_schema(artifact_utils.get_single_uri(input_dict["schema"])),
            anomalies=artifact_utils.get_single_instance(input_dict["anomalies"]),
            setting=exec_properties["severity"],
        )
        report.require_open()
        _write(report, artifact_utils.get_single_instance(output_dict["report"]))
        logging.info(report.text())


def _examine(statistics: types.Artifact, schema: schema_pb2.Schema, anomalies: types.Artifact, setting: str) -> Report:
    splits, found = {}, []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        proto = stats_artifact_utils.load_statistics(statistics, split).proto()
        splits[split] = findings.examined(proto)
        found.extend(findings.find(split, _read_anomalies(anomalies, split), proto, schema))
    return Report.of(setting, splits, found)


def _read_anomalies(artifact: types.Artifact, split: str) -> anomalies_pb2.Anomalies:
    path = os.path.join(artifact_utils.get_split_uri([artifact], split), example_validator.DEFAULT_FILE_NAME)
    if not fileio.exists(path):
        raise ValueError(
            f"The anomalies of the split {split!r} are missing at {path}; "
            "run ExampleValidator again, for data that was not validated cannot pass."
        )
    return anomalies_pb2.Anomalies.FromString(io_utils.read_bytes_file(path))


def _read_schema(folder: str) -> schema_pb2.Schema:
    return io_utils.SchemaReader().read(io_utils.get_only_uri_in_dir(folder))


def _write(report: Report, artifact: types.Artifact) -> None:
    io_utils.write_string_file(os.path.join(artifact.uri, REPORT_JSON), report.json())
    io_utils.write_string_file(os.path.join(artifact.uri, REPORT_TEXT), report.text() + "\n")
    artifact.errors = report.count(ERROR)
    artifact.warnings = report.count(WARNING)
