"""The driver: what to ingest is decided, checked and fingerprinted before TFX looks into its cache."""

import copy
import json
import logging

from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.components.base import base_driver as legacy_driver
from tfx.orchestration import data_types_utils, metadata
from tfx.orchestration.portable import base_driver, data_types, execution_publish_utils
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.proto.orchestration import driver_output_pb2, execution_result_pb2, pipeline_pb2

from components.span_example_gen import request
from components.span_example_gen.errors import SpanError
from components.span_example_gen.request import Request
from components.span_example_gen.storage import fingerprint

_INVALID_ARGUMENT = 3


class SpanDriver(legacy_driver.BaseDriver, base_driver.BaseDriver):
    """Resolves the window to spans and puts the fingerprint of their files into the cache key.

    TFX's component base class insists on its legacy driver class, its launcher on the portable one; like
    TFX's own file-based driver this one is both.
    """

    def __init__(self, mlmd_connection: metadata.Metadata) -> None:
        legacy_driver.BaseDriver.__init__(self, mlmd_connection)
        base_driver.BaseDriver.__init__(self, mlmd_connection)

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Adds `span`, `spans` and `input_fingerprint` to the execution and to the output artifact.

        Raises:
            SpanError: If the window or one of its files cannot be ingested; the execution is marked as failed.
        """
        try:
            facts = _facts(Request.from_properties(execution_info.exec_properties))
        except SpanError as error:
            if execution_info.pipeline_node:
                self._publish_failure(execution_info.pipeline_node, error)
            raise
        output = driver_output_pb2.DriverOutput()
        for key, value in {**execution_info.exec_properties, **facts}.items():
            data_types_utils.set_metadata_value(output.exec_properties[key], value)
        examples = copy.deepcopy(execution_info.output_dict[request.EXAMPLES][0].mlmd_artifact)
        window = execution_info.exec_properties[request.WINDOW]
        for key, value in {**facts, request.WINDOW: window}.items():
            data_types_utils.set_metadata_value(examples.custom_properties[key], value)
        output.output_artifacts[request.EXAMPLES].artifacts.append(examples)
        return output

    def _publish_failure(self, node: pipeline_pb2.PipelineNode, error: SpanError) -> None:
        # The launcher marks executions whose executor failed, but leaves one whose driver failed as running
        # for ever.
        result = execution_result_pb2.ExecutionResult(code=_INVALID_ARGUMENT, result_message=str(error))
        with self._mlmd_connection as store:
            contexts = context_lib.prepare_contexts(store, node.contexts)
            for execution in execution_lib.get_executions_associated_with_all_contexts(store, contexts):
                if execution.last_known_state == metadata_store_pb2.Execution.RUNNING:
                    execution_publish_utils.publish_failed_execution(
                        store,
                        contexts=contexts,
                        execution_id=execution.id,
                        executor_output=execution_result_pb2.ExecutorOutput(execution_result=result),
                    )


def _facts(asked: Request) -> dict[str, int | str]:
    resolution = asked.resolve()
    facts = {
        request.SPAN: resolution.spans[-1],
        request.SPANS: json.dumps(resolution.spans),
        request.INPUT_FINGERPRINT: fingerprint(resolution.files),
    }
    if resolution.quarantined:
        logging.warning("The %s leaves out spans in quarantine: %s.", asked.where, list(resolution.quarantined))
        facts[request.QUARANTINED] = json.dumps(resolution.quarantined)
    return facts
