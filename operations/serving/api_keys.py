"""Who may ask: clients that send one of the service's API keys, as the bearer token of RFC 6750.

A client sends ``Authorization: Bearer KEY`` with a request of HTTP, and gRPC's metadata of the same name.
What says whether the service is alive and ready, and its metrics, are open to probes and to Prometheus: a scraper that
held a key could ask for predictions.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping

from operations.inference.errors import ServingError, UnauthenticatedError

VARIABLE = "FLIGHTDECK_SERVING_API_KEY"
# By the names that metrics have for routes, of HTTP and of gRPC.
OPEN_ROUTES = frozenset({"health", "live", "ready", "model_ready", "metrics"})
_BETWEEN = re.compile(r"[\s,]+")
_KEY = re.compile(r"[\x21-\x7e]+")


class ApiKeys:
    """The keys that a service takes; none of them is ever shown."""

    def __init__(self, keys: tuple[str, ...] = ()) -> None:
        """Makes them; without any, everybody may ask."""
        self._keys = tuple(key.encode() for key in keys)

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    def check(self, authorization: str | None) -> None:
        """Raises UnauthenticatedError unless a header holds one of the keys, or none is needed.

        How long it takes tells nothing about a key but its length.
        """
        if not self._keys:
            return
        scheme, _, given = (authorization or "").partition(" ")
        token = given.strip().encode(errors="replace")
        # All of them, so that the time does not tell which one it is.
        taken = [hmac.compare_digest(token, key) for key in self._keys]
        if scheme.lower() != "bearer" or not any(taken):
            raise UnauthenticatedError(
                "This service needs an API key: send `Authorization: Bearer KEY` with one that it takes.",
                "authorization",
            )


def from_environment(environment: Mapping[str, str]) -> ApiKeys:
    """The keys in the variable, separated by commas or lines: two of them while clients change from one to the next.

    Raises:
        ServingError: the variable is set but empty, or a key has characters that no header can carry.
    """
    if VARIABLE not in environment:
        return ApiKeys()
    keys = tuple(filter(None, _BETWEEN.split(environment[VARIABLE])))
    if not keys:
        raise ServingError(f"{VARIABLE} is set but contains no API key: add one, or unset it to answer every client.")
    for number, key in enumerate(keys, 1):
        if not _KEY.fullmatch(key):
            raise ServingError(f"Key {number} in {VARIABLE} has characters that no header carries; use ASCII.")
    return ApiKeys(keys)


def without_keys(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for a service on this machine that answers its parent alone."""
    return {name: value for name, value in environment.items() if name != VARIABLE}
