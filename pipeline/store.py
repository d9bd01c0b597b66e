"""The connection to ML Metadata: a SQLite file, or MySQL/MariaDB for a team or a cluster.

Credentials come from the environment when a process starts. They are in no settings file, no compiled pipeline and no
log. Imports neither TensorFlow nor TFX.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from ml_metadata.proto import metadata_store_pb2

import storage
from pipeline.section import SettingsError
from pipeline.settings import Settings

ENVIRONMENT = "FLIGHTDECK_METADATA_"
_NEEDED = ("HOST", "DATABASE", "USERNAME", "PASSWORD")


def connection(settings: Settings, environment: Mapping[str, str] | None = None) -> metadata_store_pb2.ConnectionConfig:
    """How to reach the metadata store of the settings.

    The environment, by default this process's, holds for MySQL FLIGHTDECK_METADATA_HOST, _DATABASE, _USERNAME,
    _PASSWORD and, if it is not 3306, _PORT.

    Raises:
        SettingsError: a variable is missing or the port is not a number; or a bucket is to hold a SQLite file.
    """
    if settings.metadata.kind == "sqlite":
        if storage.is_bucket(settings.workspace):
            raise SettingsError(
                f"The workspace {settings.workspace} is a bucket, which has no transactions and no locks: set "
                f"metadata.kind to mysql, and name a MySQL or MariaDB server in {ENVIRONMENT}HOST and the others."
            )
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(settings.metadata_file)
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return config
    return from_environment(settings.metadata.retries, environment)


def from_environment(retries: int, environment: Mapping[str, str] | None = None) -> metadata_store_pb2.ConnectionConfig:
    """How to reach the MySQL or MariaDB server that the environment names, or a SettingsError, as of `connection`."""
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
