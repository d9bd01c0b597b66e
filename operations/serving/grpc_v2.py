"""The gRPC side of the Open Inference Protocol, on the event loop of the HTTP side."""

from __future__ import annotations

import logging
import math
import string
import time
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from operations.inference.columns import objects
from operations.inference.contract import Faults
from operations.inference.errors import BadRequestError, RequestError, ServingError
from operations.serving import open_inference_v2 as v2
from operations.serving import tfserving_v1 as v1
from operations.serving.api_keys import OPEN_ROUTES, ApiKeys
from operations.serving.grpc_messages import SERVICE, message
from operations.serving.service import Service, caller_of, new_id
from pipeline import tracing

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}
# Datatype -> the list of a message that holds its values. FP16 has none: it comes as raw contents only.
_CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    v2.BYTES: "bytes_contents",
}
_ROUTES = {
    "ServerLive": "live",
    "ServerReady": "ready",
    "ModelReady": "model_ready",
    "ServerMetadata": "server_metadata",
    "ModelMetadata": "model_metadata",
    "ModelInfer": "infer",
}

_LONGEST_TRAILER = 6000
_log = logging.getLogger(__name__)


def server(service: Service, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """A server that is not started yet, and its port; raises ServingError for an address that is not to be had."""
    made = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", service.settings.max_body_bytes),
            ("grpc.max_send_message_length", -1),
            # Two servers on one port would share the requests, silently.
            ("grpc.so_reuseport", 0),
        ]
    )
    methods = _Methods(service)
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            # Messages are parsed in the handler, so that one that cannot be is the client's error and not ours.
            methods.counted(name, route, getattr(methods, route)),
            response_serializer=message(f"{name}Response").SerializeToString,
        )
        for name, route in _ROUTES.items()
    }
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = f"[{host}]" if ":" in host else host
    try:
        bound = made.add_insecure_port(f"{address}:{port}")
    except RuntimeError:
        bound = 0
    if not bound:
        raise ServingError(
            f"gRPC cannot listen on {address}:{port}, which is taken or no address of this machine; "
            "choose another with --grpc-port, or 0 for any."
        )
    return made, bound


class _Methods:
    def __init__(self, service: Service) -> None:
        self._service = service

    def counted(
        self, name: str, route: str, method: Callable[[Any, Any], Awaitable[Any]]
    ) -> Callable[[bytes, Any], Awaitable[Any]]:
        """A handler that parses a request, counts the answer, and whose errors have gRPC's codes."""
        request_class = message(f"{name}Request")
        keys = ApiKeys() if route in OPEN_ROUTES else self._service.keys

        async def handle(raw: bytes, context: grpc.aio.ServicerContext) -> Any:
            started = time.perf_counter()
            status, refused = 200, None
            self._service.metrics.in_flight += 1
            headers = _texts(context) if name == "ModelInfer" else None
            with tracing.request(f"grpc {route}", headers) as span:
                try:
                    if keys:
                        keys.check(_texts(context).get("authorization"))
                    try:
                        request = request_class.FromString(raw)  # pyright: ignore[reportAttributeAccessIssue]
                    except DecodeError:
                        raise BadRequestError(f"The bytes are no {name}Request.") from None
                    return await method(request, context)
                except RequestError as error:
                    code = _CODES.get(error.status, grpc.StatusCode.UNKNOWN)
                    status, refused = error.status, (code, _within_header(str(error)))
                except Exception:
                    _log.exception("grpc %s failed", route)
                    text = "The request failed inside the service; its log says why."
                    status, refused = 500, (grpc.StatusCode.INTERNAL, text)
                finally:
                    self._service.metrics.in_flight -= 1
                    self._service.metrics.answered("grpc", route, status, time.perf_counter() - started)
                    tracing.answered(span, status)
            await context.abort(*refused)
            return None

        return handle

    async def live(self, request: Any, context: Any) -> Any:
        return message("ServerLiveResponse")(live=True)

    async def ready(self, request: Any, context: Any) -> Any:
        return message("ServerReadyResponse")(ready=self._service.ready)

    async def model_ready(self, request: Any, context: Any) -> Any:
        ready = self._service.ready_for(self._version(request.name, request.version))
        return message("ModelReadyResponse")(ready=ready)

    async def server_metadata(self, request: Any, context: Any) -> Any:
        return message("ServerMetadataResponse")(**v2.SERVER)

    async def model_metadata(self, request: Any, context: Any) -> Any:
        versions = self._service.versions
        with versions.using(self._version(request.name, request.version)) as model:
            document = v2.model_metadata(request.name, model, versions.available)
            # The protocol's outputs have no parameters; KServe's properties of a model are texts.
            properties = {
                name: v2.as_text(value)
                for output in document["outputs"]
                for name, value in output.pop("parameters", {}).items()
            }
            return message("ModelMetadataResponse")(**document, properties=properties)

    async def infer(self, request: Any, context: grpc.aio.ServicerContext) -> Any:
        version = self._version(request.model_name, request.model_version)
        asked = read(request)
        self._service.check_rows(asked.rows)
        request_id = asked.id or new_id()
        answer = await v2.infer(self._service, asked, version, request_id, _caller(context))
        return _answer(asked, request.model_name, answer.version, request_id, answer.outputs, answer.faults)

    def _version(self, name: str, version: str) -> int | None:
        return v2.version_asked(self._service.name, name, version)


def read(request: Any) -> v2.InferRequest:
    """Returns what a ``ModelInferRequest`` asks; raises BadRequestError if it is not of the protocol's form."""
    if len(request.id) > v2.LONGEST_ID:
        raise BadRequestError(f"`id` has more than {v2.LONGEST_ID} characters.", "id")
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise BadRequestError(
            f"There are {len(raw)} raw_input_contents for {len(request.inputs)} inputs.", "raw_input_contents"
        )
    names, shapes, data = [], {}, {}
    for index, tensor in enumerate(request.inputs):
        name, datatype = tensor.name[:200], tensor.datatype
        names.append(name)
        shapes[name] = shape = v2.check_tensor(name, datatype, tensor.shape[:])
        if not raw:
            data[name] = _contents(tensor.contents.ListFields(), datatype, name, shape)
            continue
        if tensor.HasField("contents"):
            raise BadRequestError(f"`{name}` has contents, which raw_input_contents leave no place for.", name)
        data[name] = v2.from_raw(name, datatype, shape, raw[index])
    v2.check_names(names)
    outputs = tuple((output.name, bool(raw)) for output in request.outputs)
    return v2.InferRequest(request.id, shapes, data, outputs, bool(raw))


def _contents(fields: Any, datatype: str, name: str, shape: tuple[int, ...]) -> v2.Data:
    """The values as JSON has them, so that both are read alike; bytes that are no text stay bytes."""
    field = _CONTENTS.get(datatype)
    if field is None:
        raise BadRequestError(f"`{name}` is {datatype}, which comes as raw_input_contents only.", name)
    values: list[Any] = []
    for other, given in fields:
        if other.name != field:
            raise BadRequestError(f"`{name}` is {datatype} and has {other.name}; {field} is needed.", name)
        values = given[:]
    count = math.prod(shape)
    if len(values) != count:
        raise BadRequestError(f"`{name}` has {len(values)} values; the shape {list(shape)} has {count}.", name)
    if datatype != v2.BYTES:
        return values
    try:
        return [text.decode() for text in values]
    except UnicodeDecodeError:
        return objects(values)


def _texts(context: grpc.aio.ServicerContext) -> dict[str, str]:
    """The metadata of a request, without what is no text."""
    return {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}


def _caller(context: grpc.aio.ServicerContext) -> str:
    # Such as ipv4:10.0.0.3:52114. The port is another one for each connection.
    address = urllib.parse.unquote(context.peer()).rpartition(":")[0].partition(":")[2]
    return caller_of(_texts(context), address.strip("[]"))


def _within_header(text: str) -> str:
    """A text that fits into the trailer that tells the client of an error, where all but ASCII is longer."""
    encoded = urllib.parse.quote(text, safe=string.printable)
    return text if len(encoded) <= _LONGEST_TRAILER else f"{text[: _LONGEST_TRAILER // 12]} …"


def _answer(
    asked: v2.InferRequest, name: str, version: int, request_id: str, outputs: Any, faults: Faults | None
) -> Any:
    answer = message("ModelInferResponse")(model_name=name, model_version=str(version), id=request_id)
    for key, text in (v2.marks(faults) if faults is not None else {}).items():
        answer.parameters[key].string_param = text
    for output, _, values in v2.chosen(asked, outputs):
        datatype = v2.datatype_of(values)
        tensor = answer.outputs.add(name=output, datatype=datatype, shape=values.shape)
        if asked.binary:
            answer.raw_output_contents.append(v2.to_raw(values))
        elif datatype == v2.BYTES:
            tensor.contents.bytes_contents.extend(map(v1.as_bytes, values.reshape(-1).tolist()))
        else:
            getattr(tensor.contents, _CONTENTS[datatype]).extend(values.reshape(-1).tolist())
    return answer
