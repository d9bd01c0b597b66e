"""Cloud Storage, as gcsfs speaks to it."""

from __future__ import annotations

import errno
import json
import secrets
from typing import Any

import aiohttp
import requests
from fsspec.asyn import sync
from gcsfs.core import GCSFileSystem
from gcsfs.retry import HttpError
from google.auth.exceptions import GoogleAuthError

from storage import ChangedError


class CloudStorage(GCSFileSystem):
    """Its failures are OSErrors, as those of other file systems; and it can write on a condition."""

    protocol = ("gs", "gcs")

    async def _call(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super()._call(*arguments, **options)
        except (HttpError, GoogleAuthError, aiohttp.ClientError, requests.RequestException) as error:
            if isinstance(error, OSError) and error.strerror:
                raise
            raise OSError(errno.EIO, str(error) or type(error).__name__) from error

    def put_if(self, path: str, data: bytes, known: str | None) -> None:
        """Writes an object if its generation is this one, or if there is none yet; else raises ChangedError."""
        bucket, name, _ = self.split_path(path)
        described = json.dumps({"name": name}).encode()
        parts = ((b"application/json; charset=UTF-8", described), (b"application/octet-stream", data))
        mark = secrets.token_hex(16).encode()
        body = b"".join(b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n" % (mark, kind, part) for kind, part in parts)
        try:
            sync(
                self.loop,
                self._call,
                "POST",
                f"{self.base.replace('/storage/', '/upload/storage/')}b/{{}}/o",
                bucket,
                uploadType="multipart",
                ifGenerationMatch=known or "0",
                headers={"Content-Type": f'multipart/related; boundary="{mark.decode()}"'},
                data=b"%b--%b--" % (body, mark),
            )
        except FileExistsError:
            raise ChangedError(errno.EEXIST, f"gs://{path} has been written meanwhile") from None
