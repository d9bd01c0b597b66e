"""The folder that holds everything runs write, and the promise that only one run writes there at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from errors import FlightdeckError
from pipeline.settings import Settings


class WorkspaceError(FlightdeckError):
    """The workspace cannot be used; the text says why and what to do."""


class HeldError(Exception):
    """Another process has locked a file; the text says which, as `holder_of`."""


def new_run_id() -> str:
    """A name for a run that sorts by time, such as ``20130701-093000-1f3a`` (UTC)."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def holder(settings: Settings) -> str | None:
    """Who holds the workspace now, such as ``process 12 since ...``; None if nobody does."""
    return holder_of(Path(settings.workspace) / "lock")


def holder_of(file: Path) -> str | None:
    """Who holds the lock of a file; None if nobody does."""
    try:
        lock = os.open(file, os.O_RDONLY)
    except OSError:  # nobody ever has
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _written_by(lock)
    finally:
        os.close(lock)
    return None


def _written_by(lock: int) -> str:
    return os.pread(lock, 200, 0).decode(errors="replace").strip() or "an unknown process"


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Locks a file, which is made if need be, for this process; the lock goes with the process, however it ends.

    Raises:
        HeldError: another process has; the text says which.
        OSError: the file cannot be written to.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise HeldError(_written_by(lock)) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode())
        yield
        os.ftruncate(lock, 0)
    finally:
        os.close(lock)


def lock_of(settings: Settings) -> str | None:
    """Which file locks the workspace, as device and inode: on one machine the same only for the same file.

    None if the workspace was never locked.
    """
    try:
        status = (Path(settings.workspace) / "lock").stat()
    except OSError:
        return None
    return f"{status.st_dev}:{status.st_ino}"


@contextlib.contextmanager
def exclusive(settings: Settings) -> Iterator[Path]:
    """Holds the workspace for one run.

    The lock belongs to the process and goes with it, so a killed run leaves nothing to clean up.

    Yields:
        The workspace's folder, which exists and can be written to.

    Raises:
        WorkspaceError: it cannot be written to, or another run holds it.
    """
    if "://" in settings.workspace:
        raise WorkspaceError(
            f"A run on this machine needs a local workspace, and {settings.workspace} is not one; "
            "choose another with --set workspace=FOLDER."
        )
    workspace = Path(settings.workspace)
    elsewhere = "choose another with --set workspace=FOLDER."
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(workspace / "lock"))
        except HeldError as other:
            raise WorkspaceError(
                f"Another run uses the workspace {workspace} ({other}); wait for it, or {elsewhere}"
            ) from None
        except OSError as error:
            raise WorkspaceError(
                f"The workspace {workspace} cannot be written to ({error.strerror}); {elsewhere}"
            ) from None
        yield workspace
