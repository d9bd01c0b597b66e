"""What TensorFlow says when it is imported: its noise is left out, and everything else is passed on."""

import os

import pytest

from operations.inference.tensorflow_import import _without_noise

pytestmark = pytest.mark.unit

NOISE = """\
WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
I0000 00:00:1795908034.977874   20165 cudart_stub.cc:31] Could not find cuda drivers on your machine.
"""
ERRORS = """\
E0000 00:00:1795908052.580746   20165 cuda_platform.cc:52] failed call to cuInit: UNKNOWN ERROR (303)
F0000 00:00:1795908052.580746   20165 tensor.cc:7] Check failed
libtensorflow.so: version `GLIBC_9' not found
"""


def test_errors_are_passed_on_and_noise_is_not_even_if_the_import_fails(capfd):
    def fail() -> None:
        with _without_noise():
            os.write(2, (NOISE + ERRORS).encode())
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    os.write(2, b"and afterwards it is as before\n")

    assert capfd.readouterr().err == f"{ERRORS}and afterwards it is as before\n"
