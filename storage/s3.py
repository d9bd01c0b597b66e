"""S3, and what speaks like it, as s3fs speaks to it."""

from __future__ import annotations

import errno
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from fsspec.asyn import sync
from s3fs import S3FileSystem

from storage import ChangedError

_REFUSED = ("PreconditionFailed", "ConditionalRequestConflict")


class S3(S3FileSystem):
    """Its failures are OSErrors, as those of other file systems; and it can write on a condition."""

    async def _call_s3(self, *arguments: Any, **options: Any) -> Any:
        try:
            return await super()._call_s3(*arguments, **options)
        except BotoCoreError as error:
            raise OSError(errno.EIO, str(error)) from error

    def put_if(self, path: str, data: bytes, known: str | None) -> None:
        """Writes an object if its ETag is this one, or if there is none yet; else raises ChangedError."""
        bucket, key, _ = self.split_path(path)
        condition = {"IfNoneMatch": "*"} if known is None else {"IfMatch": known}
        try:
            sync(self.loop, self._call_s3, "put_object", Bucket=bucket, Key=key, Body=data, **condition)
        except OSError as error:
            cause = error.__cause__
            if isinstance(cause, ClientError) and cause.response["Error"].get("Code") in _REFUSED:
                raise ChangedError(errno.EEXIST, f"s3://{path} has been written meanwhile") from None
            raise
