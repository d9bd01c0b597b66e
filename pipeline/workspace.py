"""The folder that holds everything runs write, and the promise that only one run writes there at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import secrets
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import storage
from errors import FlightdeckError
from ledger import server_lock
from ledger.server_lock import HeldError
from pipeline import store
from pipeline.settings import Settings

_log = logging.getLogger(__name__)


class WorkspaceError(FlightdeckError):
    """The workspace cannot be used; the text says why and what to do."""


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


@contextlib.contextmanager
def lock_of_folder(settings: Settings, folder: Path) -> Iterator[None]:
    """Locks a folder for this process, which makes it if need be; the lock goes with the process, however it ends.

    The lock of a folder in a bucket is where the metadata are: with a server that has them, or in the workspace.

    Raises:
        HeldError: another process has; the text says which.
        OSError: the folder cannot be written to.
        FlightdeckError: the server cannot be asked.
    """
    if not storage.is_bucket(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # A lock on the folder itself leaves no file behind.
        handle = os.open(folder, os.O_RDONLY)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HeldError("another process") from None
            yield
        finally:
            os.close(handle)
        return
    connection = store.connection(settings)
    if connection.HasField("mysql"):
        with server_lock.held(connection.mysql, str(folder), _end_this_process):
            yield
    else:
        with locked(Path(settings.workspace) / "locks" / hashlib.sha256(str(folder).encode()).hexdigest()[:12]):
            yield


def holder_of_folder(settings: Settings, folder: Path) -> str | None:
    """Who holds the database server's lock of a folder in a bucket; None if nobody does."""
    return server_lock.holder(store.connection(settings).mysql, str(folder))


def _end_this_process() -> None:
    """Ends this process as if somebody had asked it to: what it does alone, another one may do now."""
    _log.error("The server has ended the connection that held a lock; this process ends, too.")
    os.kill(os.getpid(), signal.SIGTERM)


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
