"""Stops a component, by an exception where it is: TFX then records a failed execution and removes its outputs."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# How long a component has to clean up, such as to cancel its job on an engine.
AGAIN_SECONDS = 5.0


class InterruptedRunError(Exception):
    """A person, or the system, asked the run to stop.

    An Exception and not a KeyboardInterrupt: TFX's launcher records a failed execution and removes its half-written
    outputs for exceptions only.
    """


@contextlib.contextmanager
def stoppable(reason: str) -> Iterator[None]:
    """Has SIGTERM raise an `InterruptedRunError` in the block; a second one is ignored, so that clean-up goes on.

    AutoGraph, destructors and others swallow any exception, so it is raised again every few seconds until the component
    has ended. What TFX does afterwards is not interrupted again.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
        if number == signal.SIGTERM or _is_in_component(frame):
            raise InterruptedRunError(reason)

    if threading.current_thread() is not threading.main_thread():  # signals can only be handled there
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_component(frame: FrameType | None) -> bool:
    """Whether a component is on the stack: TFX's launcher calls each through the `run_executor` of an operator."""
    while frame is not None:
        if frame.f_code.co_name == "run_executor":
            return True
        frame = frame.f_back
    return False
