"""Runs nodes of a compiled pipeline: gives each to TFX's portable launcher.

Every runner comes down to this, so drivers, resolvers, caching and metadata behave the same everywhere.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import gzip
import logging
import os
import resource
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from google.protobuf.message import DecodeError
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import constants
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator
from tfx.proto.orchestration import executable_spec_pb2, pipeline_pb2

from ledger.opening import RUN_PATIENCE_SECONDS, open_store
from ledger.outputs import maker, outputs
from ledger.recorder import Recorder
from ledger.run_record import NodeOutcome, State
from pipeline.beam_settings import Beam

if TYPE_CHECKING:
    from tfx.orchestration.pipeline import Pipeline


class PatientMetadata(metadata.Metadata):
    """TFX's connection to a metadata store, opened as the ledger opens it; TFX itself gives up after five seconds.

    TFX connects anew for each step of a node and not while a component works, so an hour of training does not notice
    that the database was away meanwhile.
    """

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig, patience: float) -> None:
        super().__init__(connection)
        self._patience = patience

    def __enter__(self) -> metadata.Metadata:
        """Connects, or raises a LedgerError if the store did not answer in time."""
        self._store = open_store(self._connection_config, self._patience)
        self._users += 1
        return self


def compile_pipeline(pipeline: Pipeline) -> pipeline_pb2.Pipeline:
    """The pipeline in TFX's intermediate representation, its parameters still open."""
    from tfx.dsl.compiler.compiler import Compiler

    return Compiler().compile(pipeline)


def bind(ir: pipeline_pb2.Pipeline, run_id: str, parameters: Mapping[str, str] | None = None) -> None:
    """Makes a compiled pipeline one run of it; parameters that are not given keep their defaults."""
    runtime_parameter_utils.substitute_runtime_parameter(
        ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id, **(parameters or {})}
    )


def encode(ir: pipeline_pb2.Pipeline) -> str:
    """A compiled pipeline as text of a few kilobytes; the same pipeline gives the same text."""
    ordered = pipeline_pb2.Pipeline()
    ordered.CopyFrom(ir)
    # TFX packs the deployment with its maps in the order of this process's hash seed.
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    if ir.deployment_config.Unpack(deployment):
        ordered.deployment_config.Pack(deployment, deterministic=True)
    return base64.b64encode(gzip.compress(ordered.SerializeToString(deterministic=True), mtime=0)).decode()


def decode(text: str) -> pipeline_pb2.Pipeline:
    """The compiled pipeline that `encode` made a text of; raises a ValueError if the text is something else."""
    try:
        ir = pipeline_pb2.Pipeline.FromString(gzip.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, OSError, EOFError, zlib.error, DecodeError) as error:
        raise ValueError("The compiled pipeline that was passed is damaged.") from error
    if not ir.nodes:
        raise ValueError("The compiled pipeline that was passed is damaged: it has no nodes.")
    return ir


def node_ids(ir: pipeline_pb2.Pipeline) -> list[str]:
    """The nodes, each after everything that it depends on."""
    return [node.pipeline_node.node_info.id for node in ir.nodes]


def upstream(ir: pipeline_pb2.Pipeline, node_id: str) -> list[str]:
    """The nodes on whose results a node waits."""
    return list(_node(ir, node_id).upstream_nodes)


def default(ir: pipeline_pb2.Pipeline, parameter: str) -> str:
    """The default of an open text parameter; raises a KeyError if no node has it."""
    for node in ir.nodes:
        for value in node.pipeline_node.parameters.parameters.values():
            if value.runtime_parameter.name == parameter:
                return value.runtime_parameter.default_value.string_value
    raise KeyError(parameter)


def launch(
    ir: pipeline_pb2.Pipeline,
    node_id: str,
    connection: metadata_store_pb2.ConnectionConfig,
    patience: float = RUN_PATIENCE_SECONDS,
    beam: Beam | None = None,
) -> NodeOutcome:
    """Runs one node to its end and records it in the metadata store.

    What runs on Beam does so as `beam` says, by default in this process. That is no part of its cache key.

    Returns:
        What became of it. An exception of the component is an outcome, not raised; TFX has then recorded the failed
        execution and removed its outputs.
    """
    from tfx_bsl.coders import batch_util  # noqa: F401  (defines the flag)

    # By default Beam sizes the batches of TFX's components by how fast they were just now, so that means and variances
    # are summed up in another order each time and no two runs train the same weights. Batches of so many bytes are the
    # same every time, and larger.
    flags.FLAGS.set_default("tfxio_use_byte_size_batching", True)
    started = time.monotonic()
    state: State
    error = engine = None
    beam = beam or Beam()
    operators = {executable_spec_pb2.BeamExecutableSpec: functools.partial(_beam_operator, beam.arguments(node_id))}
    try:
        execution = _launcher(ir, node_id, connection, patience, custom_executor_operators=operators).launch()
        mlmd, execution_id = PatientMetadata(connection, patience), execution.execution_id if execution else None
        state, error = _recorded(mlmd, execution_id)
        engine = _engine_of_earlier(mlmd, node_id, execution_id) if state == "cached" else beam.engine_of(node_id)
    except Exception as raised:
        # The component is user code, and may raise anything.
        logging.exception("Node %s failed.", node_id)
        state, error, engine = "failed", _sentence(raised), beam.engine_of(node_id)
    return _outcome(node_id, state, started, error, engine)


def reuse(
    ir: pipeline_pb2.Pipeline,
    node_id: str,
    connection: metadata_store_pb2.ConnectionConfig,
    patience: float = RUN_PATIENCE_SECONDS,
) -> NodeOutcome | None:
    """Does all that `launch` does but running a component; needs neither TensorFlow nor Beam.

    Returns:
        What became of the node; None if its component has to run. Its execution waits for that, and `launch` goes on
        with it.
    """
    started = time.monotonic()
    operators = {
        executable_spec_pb2.PythonClassExecutableSpec: _NoOperator,
        executable_spec_pb2.BeamExecutableSpec: _NoOperator,
    }
    launched = _launcher(ir, node_id, connection, patience, custom_executor_operators=operators)
    if _node(ir, node_id).node_info.type.name in launcher._SYSTEM_NODE_HANDLERS:
        execution = launched.launch()
    else:
        prepared = launched._prepare_execution()
        if prepared.is_execution_needed:
            return None
        execution = prepared.execution_info
    mlmd, execution_id = PatientMetadata(connection, patience), execution.execution_id if execution else None
    state, error = _recorded(mlmd, execution_id)
    engine = _engine_of_earlier(mlmd, node_id, execution_id) if state == "cached" else None
    return _outcome(node_id, state, started, error, engine)


def _beam_operator(
    arguments: Sequence[str], executor_spec: executable_spec_pb2.BeamExecutableSpec, platform_config: Any = None
) -> BeamExecutorOperator:
    """What runs a component with these Beam arguments."""
    given = executable_spec_pb2.BeamExecutableSpec()
    given.CopyFrom(executor_spec)
    for argument in arguments:
        given.beam_pipeline_args_placeholders.add().value.string_value = argument
    return BeamExecutorOperator(given, platform_config)


class _NoOperator:
    """In place of one that runs a component, which would import it."""

    def __init__(self, *_: object, **__: object) -> None: ...


def _launcher(
    ir: pipeline_pb2.Pipeline,
    node_id: str,
    connection: metadata_store_pb2.ConnectionConfig,
    patience: float,
    **further: Any,
) -> launcher.Launcher:
    deployment = runner_utils.extract_local_deployment_config(ir)
    return launcher.Launcher(
        pipeline_node=_node(ir, node_id),
        mlmd_connection=PatientMetadata(connection, patience),
        pipeline_info=ir.pipeline_info,
        pipeline_runtime_spec=ir.runtime_spec,
        executor_spec=runner_utils.extract_executor_spec(deployment, node_id),
        custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, node_id),
        **further,
    )


def _outcome(node_id: str, state: State, started: float, error: str | None, engine: str | None) -> NodeOutcome:
    seconds, spent = time.monotonic() - started, os.times()
    cpu_seconds = spent.user + spent.system + spent.children_user + spent.children_system
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return NodeOutcome(node_id, state, seconds, peak_mb, error, cpu_seconds=cpu_seconds, engine=engine)


def _node(ir: pipeline_pb2.Pipeline, node_id: str) -> pipeline_pb2.PipelineNode:
    return next(node.pipeline_node for node in ir.nodes if node.pipeline_node.node_info.id == node_id)


def _recorded(mlmd: metadata.Metadata, execution_id: int | None) -> tuple[State, str | None]:
    """What the metadata store says of an execution that returned."""
    if execution_id is None:
        return "skipped", None
    with mlmd as handle:
        (execution,) = handle.store.get_executions_by_id([execution_id])
    if execution.last_known_state == metadata_store_pb2.Execution.CACHED:
        return "cached", None
    if execution.last_known_state == metadata_store_pb2.Execution.FAILED:
        # The launcher does not raise when inputs cannot be resolved.
        return "failed", "its inputs could not be resolved; the log says which"
    return "done", None


def _engine_of_earlier(mlmd: metadata.Metadata, node_id: str, execution_id: int | None) -> str | None:
    """The engine that made the result that an execution reused, if the record of that run has it."""
    if Beam().engine_of(node_id) is None or execution_id is None:
        return None
    with mlmd as handle, contextlib.suppress(ValueError):  # a record that cannot be read
        reused = outputs(handle.store, [execution_id]).get(execution_id, {})
        run_id = next((maker(handle.store, output.artifact_id) for output in reused.values()), None)
        nodes = Recorder(handle.store).read(run_id).nodes if run_id else ()
        return next((outcome.engine for outcome in nodes if outcome.node_id == node_id), None)
    return None


def _sentence(error: BaseException) -> str:
    """What a component's exception says, without the stack that Beam puts into its text."""
    text = str(error).strip() or type(error).__name__
    # Beam re-raises with the traceback of the worker first or the name of the step last.
    return text.split(" [while running ")[0].split("\n\n")[0].strip()
