"""Buckets through fsspec: Cloud Storage by gcsfs, S3 and what speaks like it by s3fs.

Where they are, and who asks, comes from the environment, as their own tools have it: Application Default Credentials
and STORAGE_EMULATOR_HOST; AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL and others.
"""

from __future__ import annotations

from typing import Any, cast

import fsspec
from upath import UPath

from errors import FlightdeckError


def path(location: str) -> UPath:
    """The place of a URI; a FlightdeckError if it is of neither kind."""
    scheme = location.partition("://")[0]
    if scheme == "gs":
        from storage.cloud_storage import CloudStorage

        kind = CloudStorage
    elif scheme == "s3":
        from storage.s3 import S3

        kind = S3
    else:
        raise FlightdeckError(f"{location} is neither a folder nor a bucket: a bucket begins with gs:// or s3://.")
    fsspec.register_implementation(scheme, kind, clobber=True)
    # What a bucket was like a moment ago is never remembered: others write there.
    return UPath(location, use_listings_cache=False)


def state(file: UPath) -> str | None:
    """The generation of an object in Cloud Storage, or its ETag in S3; None if there is none."""
    try:
        info: dict[str, Any] = file.fs.info(file.path)
    except FileNotFoundError:
        return None
    return None if info["type"] == "directory" else _state(info)


def replace(file: UPath, data: bytes, known: str | None) -> None:
    """Writes an object if it is still in a state, or if there is none yet; raises ChangedError if it is not."""
    cast("Any", file.fs).put_if(file.path, data, known)


def entries(folder: UPath) -> list[str]:
    """The names of what is in a folder, in order; raises FileNotFoundError if that is nothing."""
    root = folder.path.rstrip("/") + "/"
    paths = (path.rstrip("/") for path in folder.fs.ls(folder.path, detail=False))
    # Without the sign that some clients put there for an empty folder, which has the folder's own name.
    return sorted({path.removeprefix(root) for path in paths if path.startswith(root)})


def files_below(folder: UPath) -> dict[str, tuple[int, str]]:
    """The objects below a folder: place -> bytes and state. What others put there as a sign of a folder is none."""
    root = folder.path.rstrip("/") + "/"
    found = cast("dict[str, dict[str, Any]]", folder.fs.find(folder.path, detail=True))
    return {
        name.removeprefix(root): (int(info["size"]), _state(info))
        for name, info in sorted(found.items())
        if name.startswith(root) and info["type"] == "file" and not info["name"].endswith("/")
    }


def _state(info: dict[str, Any]) -> str:
    return str(info.get("generation") or info["ETag"])
