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
    """The body is not JSON, or not in the form of the protocol."""

    status = 400


class UnknownModelError(RequestError):
    """There is no such model, version or signature."""

    status = 404


class TooLargeError(RequestError):
    """The body or the number of rows exceeds a limit."""

    status = 413


class MediaTypeError(RequestError):
    """The body is of a content type that is not read."""

    status = 415


class UnprocessableError(RequestError):
    """The form is right, the content is not: an unknown column, a value of the wrong type, ragged columns."""

    status = 422


class NotReadyError(RequestError):
    """No version is loaded yet, too many requests wait, or the service is stopping: worth another try later."""

    status = 503


class LoadError(FlightdeckError):
    """A version that cannot be served; the text says why in one sentence."""


class ServingError(FlightdeckError):
    """The service cannot start; the text says why and what to do."""
