"""The HTTP side of the service: routes, bodies within limits, and errors in the form of each protocol."""

from __future__ import annotations

import asyncio
import gzip
import io
import logging
import re
import time
import zlib
from collections.abc import Awaitable, Callable

import orjson
from starlette.applications import Starlette
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from operations.inference.columns import row_count
from operations.inference.contract import ContractError
from operations.inference.errors import (
    BadRequestError,
    MediaTypeError,
    NotReadyError,
    RequestError,
    TooLargeError,
    UnauthenticatedError,
    UnknownModelError,
)
from operations.serving import open_inference_v2 as v2
from operations.serving import openapi
from operations.serving import tfserving_v1 as v1
from operations.serving.api_keys import OPEN_ROUTES, ApiKeys
from operations.serving.service import Service, caller_of, new_id
from pipeline import tracing

JSON = "application/json"
OCTETS = "application/octet-stream"
REQUEST_ID = "x-request-id"
MODEL_VERSION = "x-model-version"
HEADER_LENGTH = "inference-header-content-length"

# What curl says when it is told no type, and nothing at all: the examples of TensorFlow Serving's page send these.
_READ_AS_JSON = ("", JSON, "application/x-www-form-urlencoded")
# Method, path, and the protocol and name by which metrics know it; MODEL is a model, or a version of it. They are tried
# in turn, so what is asked most comes first.
ROUTES = (
    ("POST", "/v1/MODEL:predict", "v1", "predict"),
    ("POST", "/v2/MODEL/infer", "v2", "infer"),
    ("POST", "/v1/MODEL:explain", "v1", "explain"),
    ("GET", "/healthz", "http", "health"),
    ("GET", "/metrics", "http", "metrics"),
    ("GET", "/openapi.json", "http", "openapi"),
    ("GET", "/v1/MODEL/metadata", "v1", "metadata"),
    ("GET", "/v1/MODEL", "v1", "status"),
    ("GET", "/v2/MODEL/ready", "v2", "model_ready"),
    ("GET", "/v2/MODEL", "v2", "model_metadata"),
    ("GET", "/v2/health/live", "v2", "live"),
    ("GET", "/v2/health/ready", "v2", "ready"),
    ("GET", "/v2", "v2", "server_metadata"),
)
_BODY_SECONDS = 30.0
_LINGER_SECONDS = 1.0
_ID = re.compile(r"[\x21-\x7e]{1,200}")


class _NameConvertor(StringConvertor):
    """A model's name ends where a method begins: `:classify` must not look like a part of it."""

    regex = "[^/:]+"


register_url_convertor("model", _NameConvertor())

Handler = Callable[[Request], Awaitable[Response]]
_log = logging.getLogger(__name__)


class _SlowBodyError(RequestError):
    """The body does not arrive."""

    status = 408


def application(service: Service) -> Starlette:
    """The HTTP application of a service, which is started and stopped elsewhere."""
    api = _Api(service)
    routes = [
        Route(
            path.replace("MODEL", "models/{name:model}" + version),
            api.counted(protocol, name, getattr(api, f"{protocol}_{name}")),
            methods=[method],
        )
        for version in ("", "/versions/{version}")
        for method, path, protocol, name in ROUTES
        if not version or "MODEL" in path
    ]
    http = Starlette(routes=routes, exception_handlers={HTTPException: api.no_route})
    http.router.redirect_slashes = False
    return http


class _Api:
    """What each route does: PROTOCOL_NAME."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._body_limit = service.settings.max_body_bytes

    def counted(self, protocol: str, route: str, handler: Handler) -> Handler:
        """A handler that counts what it answers, and whose errors are answers."""
        flat = protocol == "v1"
        keys = ApiKeys() if route in OPEN_ROUTES else self._service.keys

        async def handle(request: Request) -> Response:
            started = time.perf_counter()
            self._service.metrics.in_flight += 1
            # What asks for nothing but a state, such as a probe, leaves no trace.
            traced = tracing.request(f"{protocol} {route}", request.headers if request.method == "POST" else None)
            with traced as span:
                try:
                    if keys:
                        keys.check(request.headers.get("authorization"))
                    response = await handler(request)
                except RequestError as error:
                    response = _refusal(error, flat)
                except ClientDisconnect:
                    response = Response(status_code=400)  # Nobody reads it.
                except Exception:
                    _log.exception("%s %s failed", protocol, route)
                    response = _json({"error": "The request failed inside the service; its log says why."}, 500)
                finally:
                    self._service.metrics.in_flight -= 1
                tracing.answered(span, response.status_code)
            if self._service.stopping:
                # The client should open its next connection elsewhere.
                response.headers["connection"] = "close"
            self._service.metrics.answered(protocol, route, response.status_code, time.perf_counter() - started)
            return response

        return handle

    async def no_route(self, request: Request, error: Exception) -> Response:
        """Says that an address or a method is not served."""
        assert isinstance(error, HTTPException)
        self._service.metrics.answered("http", "none", error.status_code, 0.0)
        what = f"{request.method[:20]} {request.scope['path'][:200]}"
        text = f"{what} is not served; /openapi.json lists what is."
        if error.status_code == 405:
            text = f"{what} is not served; this address takes {(error.headers or {}).get('Allow', 'another method')}."
        return _json({"error": text}, error.status_code, error.headers)

    async def http_health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def http_metrics(self, request: Request) -> Response:
        body, content_type = self._service.metrics.exposition()
        return Response(body, headers={"content-type": content_type})

    async def http_openapi(self, request: Request) -> Response:
        with self._service.versions.using() as model:
            settings = self._service.settings
            refuses = settings.validation == "refuse"
            limits = settings.max_rows, settings.explain_rows
            return _json(openapi.document(self._service.name, model, limits, refuses, bool(self._service.keys)))

    async def v1_predict(self, request: Request) -> Response:
        return await self._v1_answer(request, explain=False)

    async def v1_explain(self, request: Request) -> Response:
        return await self._v1_answer(request, explain=True)

    async def _v1_answer(self, request: Request, explain: bool) -> Response:
        name, version = self._named(request)
        _check_media_type(request, _READ_AS_JSON)
        request_id = _request_id(request)
        asked = v1.parse(await _body(request, self._body_limit))
        self._service.check_rows(asked.rows, explain)
        try:
            with self._service.versions.using(version) as model:
                signature, columns = v1.arrays(asked, model, explain)
                ids = v1.ids_for(asked, request_id, row_count(columns))
                if explain:
                    answer = await self._service.explain(model, columns)
                else:
                    pinned, caller = version is not None, _caller(request)
                    answer = await self._service.predict(model, columns, ids, signature, pinned, caller)
        except UnknownModelError as error:
            raise v1.not_found(name, version, error) from None
        body = (v1.explanation if explain else v1.answer)(asked, answer.outputs, ids, answer.faults)
        return _answer(body, answer.version, request_id)

    async def v1_status(self, request: Request) -> Response:
        name, version = self._named(request)
        if version is None:
            return _json(v1.status(self._service.versions.states))
        try:
            return _json(v1.status([self._service.versions.status(version)]))
        except UnknownModelError:
            raise UnknownModelError(f"Could not find version {version} of model {name}", "version") from None

    async def v1_metadata(self, request: Request) -> Response:
        name, version = self._named(request)
        try:
            with self._service.versions.using(version) as model:
                return _json(v1.metadata(name, model))
        except UnknownModelError as error:
            raise v1.not_found(name, version, error) from None

    async def v2_server_metadata(self, request: Request) -> Response:
        return _json(v2.SERVER)

    async def v2_live(self, request: Request) -> Response:
        return _json({"live": True})

    async def v2_ready(self, request: Request) -> Response:
        ready = self._service.ready
        return _json({"ready": ready}, 200 if ready else 503)

    async def v2_model_ready(self, request: Request) -> Response:
        name, version = self._named(request)
        ready = self._service.ready_for(version)
        return _json({"name": name, "ready": ready}, 200 if ready else 503)

    async def v2_model_metadata(self, request: Request) -> Response:
        name, version = self._named(request)
        with self._service.versions.using(version) as model:
            return _json(v2.model_metadata(name, model, self._service.versions.available))

    async def v2_infer(self, request: Request) -> Response:
        name, version = self._named(request)
        header_length = _header_length(request)
        _check_media_type(request, _READ_AS_JSON if header_length is None else (*_READ_AS_JSON, OCTETS))
        asked = v2.parse(await _body(request, self._body_limit), header_length)
        self._service.check_rows(asked.rows)
        request_id = asked.id or _request_id(request)
        answer = await v2.infer(self._service, asked, version, request_id, _caller(request))
        body, json_length = v2.answer(asked, name, answer.version, request_id, answer.outputs, answer.faults)
        response = _answer(body, answer.version, request_id, JSON if json_length is None else OCTETS)
        if json_length is not None:
            response.headers[HEADER_LENGTH] = str(json_length)
        return response

    def _named(self, request: Request) -> tuple[str, int | None]:
        """The model and the version in the address; raises UnknownModelError as `version_asked` does."""
        name, path = request.path_params["name"], request.scope["path"]
        if name != self._service.name and path.startswith("/v1/"):
            if request.method == "GET" and not path.endswith("/metadata"):
                raise UnknownModelError(f"Could not find any versions of model {name[:100]}", "name")
            raise v1.not_found(name[:100], None)
        return name, v2.version_asked(self._service.name, name, request.path_params.get("version"))


async def _body(request: Request, limit: int) -> bytes | bytearray:
    """Reads and unpacks the body, and never holds more than `limit` bytes of it.

    Raises TooLargeError, also for what is unpacked, BadRequestError for what is no gzip, or _SlowBodyError.
    """
    body = bytearray()
    too_large = TooLargeError(f"The body has more than {limit} bytes; send fewer rows at once.", "content-length")
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            announced = request.headers.get("content-length", "")
            if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
                await _linger(request, limit)
                raise too_large
            async for chunk in request.stream():
                body += chunk
                if len(body) > limit:
                    body.clear()
                    await _linger(request, limit)
                    raise too_large
    except TimeoutError:
        raise _SlowBodyError(f"The body did not arrive within {_BODY_SECONDS:g} s.") from None
    if _encoding(request) != "gzip":
        return body
    try:
        unpacked = gzip.GzipFile(fileobj=io.BytesIO(body)).read(limit + 1)
    except (OSError, EOFError, zlib.error):
        raise BadRequestError("The body is not valid gzip, or not all of it.", "content-encoding") from None
    if len(unpacked) > limit:
        raise too_large
    return unpacked


async def _linger(request: Request, limit: int) -> None:
    """Reads on for a while: a connection that is closed while data arrive is reset, and its answer may be lost."""
    read = 0
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            async for chunk in request.stream():
                read += len(chunk)
                if read > 4 * limit:
                    return
    except (TimeoutError, ClientDisconnect, RuntimeError):
        return  # RuntimeError: the stream was read to its end before.


def _check_media_type(request: Request, allowed: tuple[str, ...]) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in allowed:
        wanted = f"{JSON}, or {OCTETS} with Inference-Header-Content-Length" if OCTETS in allowed else JSON
        raise MediaTypeError(f"The content type {kind[:80]!r} is not read; send {wanted}.", "content-type")
    encoding = _encoding(request)
    if encoding not in ("", "identity", "gzip"):
        raise MediaTypeError(
            f"The content encoding {encoding[:40]!r} is not read; send the body plain, or as gzip.", "content-encoding"
        )


def _encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "identity").strip().lower()


def _caller(request: Request) -> str:
    return caller_of(request.headers, request.client.host if request.client else "")


def _header_length(request: Request) -> int | None:
    value = request.headers.get(HEADER_LENGTH)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", value):
        raise BadRequestError("Inference-Header-Content-Length must be a number of bytes.", HEADER_LENGTH)
    return int(value)


def _request_id(request: Request) -> str:
    """What the client calls the request in a header, or a new name."""
    given = request.headers.get(REQUEST_ID)
    if given is None:
        return new_id()
    if not _ID.fullmatch(given):
        raise BadRequestError("`x-request-id` must be 1 to 200 visible ASCII characters.", REQUEST_ID)
    return given


def _refusal(error: RequestError, flat: bool) -> Response:
    """The answer for an error: TensorFlow Serving's one key and its status, or the field as well."""
    status = 400 if flat and error.status == 422 else error.status
    document: dict[str, object] = {"error": str(error)}
    if not flat and error.field:
        document["field"] = error.field
    if isinstance(error, ContractError):
        document["faults"] = error.faults.documents()
    headers = {}
    if isinstance(error, NotReadyError):
        headers["retry-after"] = "1"
    if isinstance(error, UnauthenticatedError):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, TooLargeError | _SlowBodyError):
        headers["connection"] = "close"  # What is left of the body is not read.
    return _json(document, status, headers)


def _answer(body: bytes, version: int, request_id: str, media_type: str = JSON) -> Response:
    headers = {"content-type": media_type, MODEL_VERSION: str(version)}
    if _ID.fullmatch(request_id):  # One from a body may be any text.
        headers[REQUEST_ID] = request_id
    return Response(body, headers=headers)


def _json(document: object, status: int = 200, headers: object = None) -> Response:
    return Response(
        orjson.dumps(document),
        status,
        {**(headers or {}), "content-type": JSON},  # pyright: ignore[reportGeneralTypeIssues]
    )
