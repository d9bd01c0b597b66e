"""Clients that ask a service as fast as it answers, and what they saw."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Sequence

import aiohttp
import numpy as np

_TIMEOUT_SECONDS = 60.0
_JSON = {"Content-Type": "application/json"}


@dataclasses.dataclass(frozen=True)
class Load:
    """What clients saw.

    Attributes:
        clients: how many asked at the same time, each over one connection that it kept.
        seconds: how long they asked.
        milliseconds: how long each answered request took.
        errors: the first few things that went wrong, in words.
        failed: how many requests failed.
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


async def drive(
    url: str,
    bodies: Sequence[bytes],
    clients: int,
    seconds: float,
    check: Callable[[int, bytes], str | None],
) -> Load:
    """Lets clients post bodies, each the next one as soon as the one before is answered.

    Args:
        url: where to post.
        bodies: JSON documents; they are taken in turn.
        clients: how many.
        seconds: for how long.
        check: is given the index of the body and the answer of a request with status 200; says what is wrong with it.

    Returns:
        What they saw; no error is raised for a request that fails.
    """
    taken: list[float] = []
    errors: list[str] = []
    failed = 0
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)

    async def client(session: aiohttp.ClientSession, first: int) -> None:
        nonlocal failed
        index = first
        while time.perf_counter() < end:
            index = (index + 1) % len(bodies)
            asked = time.perf_counter()
            try:
                async with session.post(url, data=bodies[index], headers=_JSON) as response:
                    answer = await response.read()
                    wrong = f"HTTP {response.status}: {answer[:200]!r}" if response.status != 200 else None
            except (aiohttp.ClientError, TimeoutError) as error:
                wrong, answer = f"{type(error).__name__}: {error}", b""
            took = time.perf_counter() - asked
            wrong = wrong or check(index, answer)
            if wrong is None:
                taken.append(took)
                continue
            failed += 1
            if len(errors) < 5:
                errors.append(wrong)
            await asyncio.sleep(0.01)  # A service that is gone must not be asked a million times.

    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started = time.perf_counter()
        end = started + seconds
        # Not all with the same body: what they ask for is joined, and should not be one row many times.
        await asyncio.gather(*(client(session, number * len(bodies) // clients) for number in range(clients)))
        elapsed = time.perf_counter() - started
    return Load(clients, elapsed, np.array(taken) * 1000, tuple(errors), failed)
