"""Rounds, one after the other, until somebody wants them to end; one loop per workspace."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from errors import FlightdeckError
from operations.loop.round import Event, Rounds
from operations.loop.runs import Result
from operations.loop.settings import Settings
from pipeline.settings import SettingsError
from pipeline.stamp import PROJECT

_PACKAGES = ("components", "data", "flightdeck", "ledger", "models", "operations", "pipeline", "teaching")


def folder_of(settings: Settings) -> Path:
    """Where the loop keeps its things.

    Raises:
        FlightdeckError: it cannot be on this machine.
    """
    if "://" in settings.workspace:
        raise FlightdeckError(
            f"The loop keeps its lock in a folder, and the workspace {settings.workspace} is not one; mount it, and "
            "name the mount with --set workspace=FOLDER."
        )
    return Path(settings.workspace) / "continuous"


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[Path]:
    """Makes sure that no other loop works on the workspace. The lock goes with the process.

    Yields:
        The folder of the loop.

    Raises:
        FlightdeckError: another one does, or the folder cannot be written to.
    """
    folder = folder_of(settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise FlightdeckError(f"The folder {folder} cannot be written to: {error.strerror}.") from None
    try:
        if not _locked(lock, fcntl.LOCK_EX):
            raise FlightdeckError(f"The workspace {settings.workspace} is watched already, by {_holder(lock)}.")
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC".encode(), 0)
        yield folder
    finally:
        os.close(lock)


def watcher(settings: Settings) -> str | None:
    """Who watches the workspace now; None if nobody does."""
    try:
        lock = os.open(folder_of(settings) / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _locked(lock, fcntl.LOCK_SH) else _holder(lock)
    finally:
        os.close(lock)


def _locked(lock: int, how: int) -> bool:
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _holder(lock: int) -> str:
    return os.pread(lock, 200, 0).decode(errors="replace").strip() or "an unknown process"


class Loop:
    """Makes rounds, and ends well when it is asked to."""

    def __init__(self, rounds: Rounds, load: Callable[[], Settings], tell: Callable[[Event], object]) -> None:
        """Begins nothing yet."""
        self._rounds, self._load, self._tell = rounds, load, tell
        self._wake, self._asked_to_stop = threading.Event(), False
        self._said: str | None = None

    def once(self, wait: bool) -> Result | None:
        """Makes one round.

        Args:
            wait: for the run that it began, or found, to end.

        Returns:
            What came of the last run that ended meanwhile; None if none did.
        """
        settings = self._load()
        with self._listening():
            result = self._rounds.one_round(settings, datetime.now(UTC))
            while wait and not self._asked_to_stop and self._rounds.goes_on():
                self._sleep(min(1.0, settings.continuous.poll_seconds))
                result = self._rounds.settle(settings, datetime.now(UTC)) or result
            if self._asked_to_stop:
                self._rounds.stop(settings, datetime.now(UTC))
        return result

    def run(self) -> bool:
        """Makes rounds until it is interrupted, or the code that it is made of has changed.

        Returns:
            Whether it should begin again, with the changed code.
        """
        began_with, code = self._load(), _code()
        with self._listening():
            while not self._asked_to_stop:
                settings = self._settings(began_with)
                if settings is not None:
                    self._rounds.one_round(settings, datetime.now(UTC))
                if _code() != code and not self._rounds.goes_on():
                    return True
                self._sleep((settings or began_with).continuous.poll_seconds)
            self._rounds.stop(began_with, datetime.now(UTC))
        return False

    def _settings(self, began_with: Settings) -> Settings | None:
        """The settings as they are now; None if no run could be begun with them."""
        try:
            settings = self._load()
            if settings.workspace != began_with.workspace:
                raise SettingsError("The settings name another workspace now: end this command, and start it again.")
        except SettingsError as error:
            if self._said != str(error):
                self._said = str(error)
                self._tell(Event("problem", str(error), {"about": "settings"}))
            return None
        self._said = None
        return settings

    def _sleep(self, seconds: float) -> None:
        """Until so long has passed, a run has ended, or somebody wants an end."""
        if not self._asked_to_stop:
            self._wake.wait(seconds)
        self._wake.clear()

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Ends at the next good moment after SIGINT or SIGTERM, at once after a second one; wakes when a run ends."""

        def stop(number: int, _frame: object) -> None:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            self._asked_to_stop = True
            self._wake.set()

        handlers = {
            signal.SIGINT: stop,
            signal.SIGTERM: stop,
            signal.SIGCHLD: lambda _number, _frame: self._wake.set(),
        }
        previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _code() -> frozenset[tuple[str, int, int]]:
    """The files of this project's code, with size and time."""
    found = set()
    for path in (path for package in _PACKAGES for path in (PROJECT / package).rglob("*.py")):
        with contextlib.suppress(FileNotFoundError):  # it is being written, or the lock of an editor
            told = path.stat()
            found.add((str(path), told.st_size, told.st_mtime_ns))
    return frozenset(found)
