"""Rounds, one after the other, until somebody wants them to end; one loop per workspace."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import storage
from errors import FlightdeckError
from operations.loop import heartbeat
from operations.loop.round import Event, Rounds
from operations.loop.runs import Result
from operations.loop.settings import Settings
from pipeline import workspace
from pipeline.project import CHECKOUT, packages
from pipeline.section import SettingsError

_PACKAGES = (
    *("components", "data", "errors", "flightdeck", "ledger", "models"),
    *("operations", "pipeline", "storage", "teaching"),
)


def folder_of(settings: Settings) -> Path:
    """Where the loop keeps its things."""
    return storage.at(settings.workspace) / "continuous"


@contextlib.contextmanager
def alone(settings: Settings) -> Iterator[Path]:
    """Makes sure that no other loop works on the workspace. The lock goes with the process.

    Yields:
        The folder of the loop on this machine.

    Raises:
        FlightdeckError: another one does, or the folder cannot be written to.
    """
    folder = folder_of(settings)
    with contextlib.ExitStack() as stack:
        try:
            if storage.is_bucket(folder):
                stack.enter_context(workspace.lock_of_folder(settings, folder))
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flightdeck-loop-")))
            else:
                stack.enter_context(workspace.locked(folder / "lock"))
        except workspace.HeldError as other:
            raise FlightdeckError(f"The workspace {settings.workspace} is watched already, by {other}.") from None
        except OSError as error:
            raise FlightdeckError(f"The folder {folder} cannot be written to: {storage.why(error)}.") from None
        yield folder


def watcher(settings: Settings) -> str | None:
    """Who watches the workspace now; None if nobody does."""
    folder = folder_of(settings)
    if storage.is_bucket(folder):
        return workspace.holder_of_folder(settings, folder)
    return workspace.holder_of(folder / "lock")


class Loop:
    """Makes rounds, and ends well when it is asked to."""

    def __init__(self, rounds: Rounds, load: Callable[[], Settings], tell: Callable[[Event], object]) -> None:
        self._rounds, self._load, self._tell = rounds, load, tell
        self._wake, self._asked_to_stop = threading.Event(), False
        self._said: str | None = None

    def once(self, wait: bool) -> Result | None:
        """Makes one round, and on request waits for the run that goes on; what came of the last one that ended."""
        settings = self._load()
        with self._listening():
            result = self._one_round(settings)
            if wait and (seconds := self._rounds.settles_in):
                # Such as what was prepared just before; no other round may come that would find it.
                self._sleep(seconds)
                result = self._one_round(settings) or result
            while wait and not self._asked_to_stop and self._rounds.goes_on():
                self._sleep(min(1.0, settings.continuous.poll_seconds))
                result = self._rounds.settle(settings, datetime.now(UTC)) or result
            if self._asked_to_stop:
                self._rounds.stop(settings, datetime.now(UTC))
        return result

    def run(self) -> bool:
        """Makes rounds until it is interrupted, or, and then true, the code that it is made of has changed."""
        began_with = self._load()
        own = [began_with.project / name for name in packages(began_with.project, began_with.use_case.dotted_paths())]
        code = _code(own)
        with self._listening():
            while not self._asked_to_stop:
                settings = self._settings(began_with)
                if settings is not None:
                    self._one_round(settings)
                if _code(own) != code and not self._rounds.goes_on():
                    return True
                self._sleep((settings or began_with).continuous.poll_seconds)
            self._rounds.stop(began_with, datetime.now(UTC))
        return False

    def _one_round(self, settings: Settings) -> Result | None:
        now = datetime.now(UTC)
        result = self._rounds.one_round(settings, now)
        with contextlib.suppress(OSError):  # A disk that is full ends no loop; that nothing is written is an alarm.
            beat = heartbeat.Heartbeat(when=now, problems=dict(self._rounds.problems))
            heartbeat.write(folder_of(settings), beat)
        return result

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


def _code(own: Iterable[Path] = ()) -> frozenset[tuple[str, int, int]]:
    """The files of Flightdeck's code, and of the packages of a project of its own, with size and time."""
    files = set()
    folders = [*(CHECKOUT / package for package in _PACKAGES), *own]
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        with contextlib.suppress(FileNotFoundError):  # it is being written, or the lock of an editor
            status = path.stat()
            files.add((str(path), status.st_size, status.st_mtime_ns))
    return frozenset(files)
