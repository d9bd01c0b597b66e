"""What Prometheus is told about the service."""

from __future__ import annotations


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def answered(self, protocol: str, route: str, status: int, seconds: float) -> None:
        """Counts a request; protocols call it once for each, failed ones too.

        Args:
            protocol: ``v1``, ``v2`` or ``grpc``; ``http`` for the rest.
            route: what was asked, such as ``predict``; never text of the client.
            status: the HTTP status, or what would be it.
            seconds: from the first byte to the answer.
        """
        raise NotImplementedError

    def exposition(self) -> tuple[bytes, str]:
        """Returns the document for Prometheus, and its content type."""
        raise NotImplementedError
