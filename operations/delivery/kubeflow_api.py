"""KFP's generated client, with limits on time and with errors for people.

Not `kfp.Client`: that class prints, waits without a limit, retries for half a minute when nobody answers, and mixes a
file of the home folder into its settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import kfp_server_api
import urllib3

from errors import FlightdeckError

TOKEN_VARIABLE = "FLIGHTDECK_KFP_TOKEN"
# The log of a pod is served by no method of the generated client, and in no newer version of the API.
_LOG_PATH = "/apis/v1alpha1/runs/{run_id}/nodes/{node_id}/log"
# How the body begins that says, with status 200, why there is no log, and how long it can be (it holds a stack trace).
_NO_LOG, _NO_LOG_BYTES = b'{"error_message"', 2**20


class KubeflowError(FlightdeckError):
    """Kubeflow Pipelines cannot do what was asked; the text says why and what to do."""


class UnreachableError(KubeflowError):
    """Nobody answers, which may pass."""


class NotFoundError(KubeflowError):
    """The server does not have it."""


class NameClashError(KubeflowError):
    """The server has something of that name already."""


class LogError(KubeflowError):
    """The server does not serve a log."""


class Api(kfp_server_api.ApiClient):
    """The generated client. Everything that it does raises a `KubeflowError` where it fails."""

    def __init__(self, endpoint: str, token: str | None, seconds: tuple[float, float]) -> None:
        """Checks the address, such as ``http://localhost:8888``, and the bearer token; asks nothing yet.

        The seconds are those to wait for a connection, and for the answer to one request.

        Raises:
            KubeflowError: the address or the token cannot be one.
        """
        address = urlsplit(endpoint)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise KubeflowError(f"kubeflow.endpoint: `{endpoint}` is not an address such as http://localhost:8888.")
        if address.username is not None or address.password is not None:
            raise KubeflowError(f"kubeflow.endpoint must not hold credentials; put a token into {TOKEN_VARIABLE}.")
        configuration = kfp_server_api.Configuration(host=endpoint.rstrip("/"))
        configuration.retries = False
        if token:
            if not re.fullmatch(r"[!-~]+", token):
                raise KubeflowError(f"The token in {TOKEN_VARIABLE} is not one word of printable characters.")
            configuration.api_key["authorization"] = token
            configuration.api_key_prefix["authorization"] = "Bearer"
        super().__init__(configuration)
        self.endpoint = configuration.host
        self._seconds = seconds

    def request(self, method: str, url: str, **given: Any) -> Any:
        """Sends one request; everything that the client does comes through here."""
        try:
            answer = super().request(method, url, **{**given, "_request_timeout": self._seconds})
        except kfp_server_api.ApiException as error:
            raise self._refusal(error, url) from None
        except urllib3.exceptions.HTTPError as error:
            raise self._no_answer(error) from None
        if given.get("_preload_content", True) and not isinstance(_json(answer.data), dict):
            raise self._another_server()
        return answer

    def log(self, run_id: str, pod: str, command: str) -> Iterator[str]:
        """What a pod of a run has printed so far; an error names the command that asks Kubernetes.

        Raises:
            LogError: the server does not serve it.
            UnreachableError: nobody answers.
        """
        try:
            answer: Any = self.call_api(
                _LOG_PATH,
                "GET",
                path_params={"run_id": run_id, "node_id": pod},
                auth_settings=["Bearer"],
                _preload_content=False,
                _return_http_data_only=True,
            )
        except UnreachableError:
            raise
        except KubeflowError as error:
            raise LogError(f"{error} Ask Kubernetes: {command}") from None
        # KFP's web page answers this address too, with itself. An empty log has no type.
        if not answer.headers.get("Content-Type", "text/plain").startswith("text/plain"):
            raise LogError(f"{self.endpoint} serves no logs; ask Kubernetes: {command}")
        pieces = answer.stream(2**16, decode_content=True)
        beginning = b""
        try:
            # Held back only as long as it may be the server's error.
            while beginning.startswith(_NO_LOG[: len(beginning)]) and len(beginning) < _NO_LOG_BYTES:
                if not (piece := next(pieces, b"")):
                    break
                beginning += piece
            error = _json(beginning) if beginning.startswith(_NO_LOG) else None
            if isinstance(error, dict) and set(error) <= {"error_message", "error_details"}:
                said = _message(error).rstrip(".")
                raise LogError(f"{self.endpoint} has no log of {pod}.{said}. Ask Kubernetes: {command}")
            yield beginning.decode(errors="replace")
            for piece in pieces:
                yield piece.decode(errors="replace")
        except urllib3.exceptions.HTTPError:
            raise LogError(f"The log of {pod} broke off; ask Kubernetes: {command}") from None

    def _refusal(self, error: kfp_server_api.ApiException, url: str) -> KubeflowError:
        where, status = f"Kubeflow Pipelines at {self.endpoint}", error.status or 0
        answer = _json(error.body)
        said = _message(answer)
        has_token = bool(self.configuration.api_key)
        if status == 0:
            return KubeflowError(f"No safe connection to {self.endpoint}: {' '.join(str(error.reason).split())}")
        if 300 <= status < 400 or status == 401:
            problem = "does not accept the token in" if has_token else "wants a token in"
            return KubeflowError(f"{where} {problem} {TOKEN_VARIABLE} ({status}).{said}")
        if status == 403:
            whom = f"the owner of the token in {TOKEN_VARIABLE}" if has_token else "people without a token"
            return KubeflowError(f"{where} does not allow this to {whom} (403).{said}")
        if status == 404:
            if not isinstance(answer, dict):
                return self._another_server()
            return NotFoundError(f"{where} has nothing at {urlsplit(url).path}.{said}")
        if status == 409:
            return NameClashError(f"{where} has something of that name already; choose another (409).{said}")
        if status == 400:
            return KubeflowError(f"{where} rejected the request (400).{said}")
        if "invalid pipeline spec" in said:  # KFP takes that for a fault of its own
            return KubeflowError(f"{where} does not accept the pipeline ({status}).{said}")
        return KubeflowError(f"{where} failed ({status}); try again, or read the log of its API server.{said}")

    def _no_answer(self, error: urllib3.exceptions.HTTPError) -> KubeflowError:
        if isinstance(error, urllib3.exceptions.ReadTimeoutError):
            return UnreachableError(
                f"{self.endpoint} took a request but has not answered within {self._seconds[1]:g} s."
            )
        if isinstance(error, urllib3.exceptions.ProtocolError) and "BadStatusLine" in str(error):
            return self._another_server()
        if system := re.search(r"\[Errno [^\]]*\] ([^')]+)", str(error)):
            reason = system[1]
        elif isinstance(error, urllib3.exceptions.TimeoutError):
            reason = f"no connection within {self._seconds[0]:g} s"
        else:
            reason = "the connection broke off"
        return UnreachableError(
            f"Nobody answers at {self.endpoint} ({reason}). Is kubeflow.endpoint right, and the port forwarded? "
            "kubectl port-forward --namespace kubeflow svc/ml-pipeline 8888:8888"
        )

    def _another_server(self) -> KubeflowError:
        return KubeflowError(
            f"Something answers at {self.endpoint}, but it is not the API of Kubeflow Pipelines; "
            "check kubeflow.endpoint."
        )


def _json(body: bytes | str | None) -> Any:
    try:
        return json.loads(body or b"")
    except (ValueError, UnicodeDecodeError):
        return None


def _message(answer: Any) -> str:
    """The server's own sentence, on one line of at most 600 characters."""
    names = ("message", "error", "error_message")
    text = next((answer[name] for name in names if answer.get(name)), "") if isinstance(answer, dict) else ""
    line = " ".join(str(text).split())
    return f" It says: {line[:600]}" if line else ""
