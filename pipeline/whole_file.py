"""Files that are written whole or not at all, whenever the process is killed or the machine loses power."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(file: Path, content: str | bytes) -> None:
    """Writes a file, or replaces it in one step, rights and all; after an OSError, it is as it was before."""
    staged = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with staged.open("wb") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            # Without it a power cut after the rename may leave the new name with no content.
            os.fsync(stream.fileno())
        if file.is_file():
            shutil.copymode(file, staged)
        staged.replace(file)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
