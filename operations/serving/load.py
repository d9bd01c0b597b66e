"""Clients that ask a service as fast as it answers, and what they saw."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import aiohttp
import numpy as np

_TIMEOUT_SECONDS = 60.0
# A service that is gone must not be asked a million times.
_AFTER_ERROR_SECONDS = 0.01
_ERRORS_KEPT = 5
_JSON = {"Content-Type": "application/json"}


@dataclasses.dataclass(frozen=True)
class Answered:
    """One request with the status 200: the numbers of its client and its body; times of `time.perf_counter`."""

    client: int
    body: int
    asked: float
    answered: float
    headers: Mapping[str, str]
    content: bytes


@dataclasses.dataclass(frozen=True)
class Load:
    """What clients saw, which asked at the same time, each over a connection of its own.

    Attributes:
        milliseconds: of each answered request.
        errors: the first few failures, in words.
    """

    clients: int
    seconds: float
    milliseconds: np.ndarray
    errors: tuple[str, ...]
    failed: int

    @property
    def requests_per_second(self) -> float:
        """Answered requests per second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        """The milliseconds that this share, in percent, of the answers did not exceed; NaN without any answer."""
        return float(np.percentile(self.milliseconds, share)) if len(self.milliseconds) else float("nan")


def joined(loads: Sequence[Load]) -> Load:
    """What the same number of clients saw in several stretches of time."""
    return Load(
        loads[0].clients,
        sum(load.seconds for load in loads),
        np.concatenate([load.milliseconds for load in loads]),
        tuple(error for load in loads for error in load.errors)[:_ERRORS_KEPT],
        sum(load.failed for load in loads),
    )


async def drive(
    url: str,
    bodies: Sequence[bytes],
    clients: int,
    seconds: float,
    check: Callable[[Answered], str | None],
) -> Load:
    """Lets clients post bodies, each the next one as soon as the one before is answered, and returns what they saw.

    The JSON documents are taken in turn; `check` says what is wrong with an answer, if anything is. No error is raised
    for a request that fails.
    """
    taken: list[float] = []
    errors: list[str] = []
    failed = 0
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)

    async def ask(session: aiohttp.ClientSession, client: int, index: int) -> tuple[float, str | None]:
        asked = time.perf_counter()
        try:
            async with session.post(url, data=bodies[index], headers=_JSON) as response:
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            return 0.0, f"{type(error).__name__}: {error}"
        answered = time.perf_counter()
        if response.status != 200:
            return 0.0, f"HTTP {response.status}: {content[:200]!r}"
        return answered - asked, check(Answered(client, index, asked, answered, response.headers, content))

    async def client(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal failed
        # Not all with the same body: what they ask for is joined, and should not be one row many times.
        index = number * len(bodies) // clients
        while time.perf_counter() < end:
            took, wrong = await ask(session, number, index % len(bodies))
            index += 1
            if wrong is None:
                taken.append(took)
                continue
            failed += 1
            if len(errors) < _ERRORS_KEPT:
                errors.append(wrong)
            await asyncio.sleep(_AFTER_ERROR_SECONDS)

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started = time.perf_counter()
        end = started + seconds
        await asyncio.gather(*(client(session, number) for number in range(clients)))
        elapsed = time.perf_counter() - started
    return Load(clients, elapsed, np.array(taken) * 1000, tuple(errors), failed)
