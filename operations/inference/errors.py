"""What can be wrong with a request, with the HTTP status that says so, and with a model that should be served."""

from __future__ import annotations

from errors import FlightdeckError


class RequestError(FlightdeckError):
    """A request that cannot be answered. The text is one sentence for the person who sent it.

    Attributes:
        status: the HTTP status of the answer.
        field: the input column, parameter or header that is wrong; None if it is none in particular.
    """

    status = 400

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class BadRequestError(RequestError):
    """400: the body is not JSON, or not in the form of the protocol."""


class UnauthenticatedError(RequestError):
    """401: no API key came with the request, or one that is not taken."""

    status = 401


class UnknownModelError(RequestError):
    """404: there is no such model, version or signature."""

    status = 404


class TooLargeError(RequestError):
    """413: the body or the number of rows exceeds a limit."""

    status = 413


class MediaTypeError(RequestError):
    """415: the content type of the body is not supported."""

    status = 415


class UnprocessableError(RequestError):
    """422: an unknown column, a value of the wrong type, columns of different lengths."""

    status = 422


class NotReadyError(RequestError):
    """503: no version is loaded yet, too many requests wait, or the service is stopping. Worth a retry."""

    status = 503


class LoadError(FlightdeckError):
    """A version that cannot be served."""


class ServingError(FlightdeckError):
    """The service cannot start."""
