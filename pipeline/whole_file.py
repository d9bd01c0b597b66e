"""Text files that are written whole or not at all, whenever the process is killed or the machine loses power."""

from __future__ import annotations

import os
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Writes a text file, or replaces it in one step; after an OSError, what was there before is as it was."""
    staged = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        with staged.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            # Without it a power cut after the rename may leave the new name with no content.
            os.fsync(stream.fileno())
        staged.replace(file)
    except OSError:
        staged.unlink(missing_ok=True)
        raise
