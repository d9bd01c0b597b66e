"""The connection to ML Metadata: a SQLite file, or MySQL/MariaDB for a team or a cluster.

Credentials come from the environment when a process starts. They are in no settings file, no compiled pipeline and no
log. Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from pipeline.settings import Settings, SettingsError

ENVIRONMENT = "FLIGHTDECK_METADATA_"
_NEEDED = ("HOST", "DATABASE", "USERNAME", "PASSWORD")


def connection(settings: Settings, environment: Mapping[str, str] | None = None) -> metadata_store_pb2.ConnectionConfig:
    """How to reach the metadata store of the settings.

    Args:
        settings: say which kind.
        environment: for MySQL, holds FLIGHTDECK_METADATA_HOST, _DATABASE, _USERNAME, _PASSWORD and, if it is not 3306,
            _PORT; default: this process's environment.

    Raises:
        SettingsError: a variable is missing or the port is not a number.
    """
    if settings.metadata.kind == "sqlite":
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(settings.metadata_file)
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return config
    return from_environment(settings.metadata.retries, environment)


def from_environment(retries: int, environment: Mapping[str, str] | None = None) -> metadata_store_pb2.ConnectionConfig:
    """How to reach the MySQL or MariaDB server that the environment names.

    Args:
        retries: attempts to reach it again.
        environment: as for `connection`.

    Raises:
        SettingsError: a variable is missing or the port is not a number.
    """
    given = os.environ if environment is None else environment
    if missing := [ENVIRONMENT + name for name in _NEEDED if not given.get(ENVIRONMENT + name)]:
        raise SettingsError(
            f"The metadata store is a MySQL server, so the environment must hold {', '.join(missing)}; "
            "on Kubernetes they come from a Secret."
        )
    port = given.get(f"{ENVIRONMENT}PORT") or "3306"
    if not port.isdigit():
        raise SettingsError(f"{ENVIRONMENT}PORT must be a number.")
    config = metadata_store_pb2.ConnectionConfig()
    config.mysql.host = given[f"{ENVIRONMENT}HOST"]
    config.mysql.port = int(port)
    config.mysql.database = given[f"{ENVIRONMENT}DATABASE"]
    config.mysql.user = given[f"{ENVIRONMENT}USERNAME"]
    config.mysql.password = given[f"{ENVIRONMENT}PASSWORD"]
    # Of the connection, by ML Metadata itself: a database that is being restarted should not fail an hour of training.
    config.retry_options.max_num_retries = retries
    return config


@dataclasses.dataclass(frozen=True)
class Output:
    """An artifact that an execution made, or reused.

    Attributes:
        uri: where its content is.
        properties: its properties and custom properties, by name.
        artifact_id: its id in the metadata store.
    """

    uri: str
    properties: dict[str, int | float | str]
    artifact_id: int


def outputs(reader: ml_metadata.MetadataStore, execution_ids: Sequence[int]) -> dict[int, dict[str, Output]]:
    """The artifacts of executions: execution id -> output key -> artifact. Of a cached execution, those it reused."""
    events = [
        event
        for event in reader.get_events_by_execution_ids(execution_ids)
        if event.type in (metadata_store_pb2.Event.OUTPUT, metadata_store_pb2.Event.INTERNAL_OUTPUT)
    ]
    artifacts = {each.id: each for each in reader.get_artifacts_by_id([event.artifact_id for event in events])}
    made: dict[int, dict[str, Output]] = {}
    for event in events:
        artifact = artifacts[event.artifact_id]
        key = next((step.key for step in event.path.steps if step.WhichOneof("value") == "key"), "")
        made.setdefault(event.execution_id, {})[key] = Output(
            artifact.uri, values(artifact.properties) | values(artifact.custom_properties), artifact.id
        )
    return made


def executions_of_run(reader: ml_metadata.MetadataStore, run_id: str) -> dict[str, metadata_store_pb2.Execution]:
    """The executions of a run by node id; empty if there is no such run."""
    context = reader.get_context_by_type_and_name("pipeline_run", run_id)
    executions = [] if context is None else reader.get_executions_by_context(context.id)
    return {_node_id(reader, each.id): each for each in executions}


def outputs_of_run(reader: ml_metadata.MetadataStore, run_id: str) -> dict[str, dict[str, Output]]:
    """The artifacts that a run made or reused: node id -> output key -> artifact."""
    executions = executions_of_run(reader, run_id)
    made = outputs(reader, [each.id for each in executions.values()])
    return {node_id: made.get(execution.id, {}) for node_id, execution in executions.items()}


def _node_id(reader: ml_metadata.MetadataStore, execution_id: int) -> str:
    """TFX names the node context PIPELINE.NODE."""
    contexts = reader.get_contexts_by_execution(execution_id)
    return next(each.name.rpartition(".")[2] for each in contexts if each.type == "node")


def values(properties: Mapping[str, metadata_store_pb2.Value]) -> dict[str, int | float | str]:
    """ML Metadata's properties as plain values."""
    return {
        name: getattr(value, value.WhichOneof("value"))
        for name, value in properties.items()
        if value.WhichOneof("value") in ("int_value", "double_value", "string_value")
    }
