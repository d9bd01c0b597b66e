"""The messages of the Open Inference Protocol's gRPC service, built from a table: no compiler, no generated file.

Names, types and field numbers are what goes over the wire, and are the protocol's: see
https://github.com/kserve/open-inference-protocol (specification/protocol/open_inference_grpc.proto). They live in a
descriptor pool of their own, so that a client library of the same protocol can be imported beside them.
"""

from __future__ import annotations

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

# One field per line: type, name, number. `*` is repeated, `@` a map from strings, `|` a member of the message's oneof.
_MESSAGES = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready 1",
    "ModelReadyRequest": """
        string name 1
        string version 2""",
    "ModelReadyResponse": "bool ready 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": """
        string name 1
        string version 2
        *string extensions 3""",
    "ModelMetadataRequest": """
        string name 1
        string version 2""",
    "ModelMetadataResponse": """
        string name 1
        *string versions 2
        string platform 3
        *ModelMetadataResponse.TensorMetadata inputs 4
        *ModelMetadataResponse.TensorMetadata outputs 5
        @string properties 6""",
    "ModelMetadataResponse.TensorMetadata": """
        string name 1
        string datatype 2
        *int64 shape 3""",
    "ModelInferRequest": """
        string model_name 1
        string model_version 2
        string id 3
        @InferParameter parameters 4
        *ModelInferRequest.InferInputTensor inputs 5
        *ModelInferRequest.InferRequestedOutputTensor outputs 6
        *bytes raw_input_contents 7""",
    "ModelInferRequest.InferInputTensor": """
        string name 1
        string datatype 2
        *int64 shape 3
        @InferParameter parameters 4
        InferTensorContents contents 5""",
    "ModelInferRequest.InferRequestedOutputTensor": """
        string name 1
        @InferParameter parameters 2""",
    "ModelInferResponse": """
        string model_name 1
        string model_version 2
        string id 3
        @InferParameter parameters 4
        *ModelInferResponse.InferOutputTensor outputs 5
        *bytes raw_output_contents 6""",
    "ModelInferResponse.InferOutputTensor": """
        string name 1
        string datatype 2
        *int64 shape 3
        @InferParameter parameters 4
        InferTensorContents contents 5""",
    "InferParameter": """
        |bool bool_param 1
        |int64 int64_param 2
        |string string_param 3
        |double double_param 4
        |uint64 uint64_param 5""",
    "InferTensorContents": """
        *bool bool_contents 1
        *int32 int_contents 2
        *int64 int64_contents 3
        *uint32 uint_contents 4
        *uint64 uint64_contents 5
        *float fp32_contents 6
        *double fp64_contents 7
        *bytes bytes_contents 8""",
}

# Each takes a message of its name with `Request`, and answers with one with `Response`.
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

_Field = descriptor_pb2.FieldDescriptorProto


def _build() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    built: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in _MESSAGES.items():
        parent, _, short = name.rpartition(".")
        message = (built[parent].nested_type if parent else file.message_type).add(name=short)
        built[name] = message
        for line in filter(None, map(str.strip, fields.splitlines())):
            _add_field(message, f".{PACKAGE}.{name}", *line.split())
    service = file.service.add(name=SERVICE.rpartition(".")[2])
    for name in METHODS:
        kind = f".{PACKAGE}.{name}"
        service.method.add(name=name, input_type=f"{kind}Request", output_type=f"{kind}Response")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add_field(message: descriptor_pb2.DescriptorProto, path: str, kind: str, name: str, number: str) -> None:
    mark, kind = (kind[0], kind[1:]) if kind[0] in "*@|" else ("", kind)
    field = message.field.add(name=name, number=int(number), label=_Field.LABEL_OPTIONAL)
    if mark == "|":
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if mark == "*":
        field.label = _Field.LABEL_REPEATED
    if mark == "@":
        # A map is a repeated message with a key and a value, marked as such.
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add_field(entry, path, "string", "key", "1")
        _add_field(entry, path, kind, "value", "2")
        field.label, field.type, field.type_name = _Field.LABEL_REPEATED, _Field.TYPE_MESSAGE, f"{path}.{entry.name}"
    elif kind in _MESSAGES:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{kind.upper()}")


_POOL = _build()


def message(name: str) -> type:
    """The class of a message, such as ``ModelInferRequest``."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
