"""TensorFlow without what it says about every machine that has no GPU, and with everything else that it says."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

# TensorFlow prints these before it reads its own log level. Errors begin with E or F, and are not among them.
_NOISE = re.compile(rb"I\d{4} |WARNING: All log messages before absl::InitializeLog\(\) is called")


def tensorflow() -> Any:
    """Returns the module ``tensorflow``; its log level is that of errors, unless TF_CPP_MIN_LOG_LEVEL says otherwise.

    What the import writes to standard error follows when it is done, but for the lines that are no errors.
    """
    if "tensorflow" not in sys.modules:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        with _without_noise():
            import tensorflow  # noqa: F401  # pyright: ignore[reportUnusedImport]
    import tensorflow as tf

    tf.get_logger().setLevel(logging.ERROR)  # It calls the loader of sessions deprecated.
    return tf


def devices() -> dict[str, int]:
    """Returns how many devices of a kind a session may use, as ``ConfigProto.device_count`` takes it.

    Without a driver there is none to use, and looking for one is an error in TensorFlow's log ("failed call to
    cuInit"). With a driver that error is one, and stays.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return {"GPU": 0}
    return {}


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Keeps standard error for a while, of C++ too, and then writes it without the noise, also after an exception."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        stderr = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept:
                if not _NOISE.match(line):
                    os.write(2, line)
