"""Which versions are loaded, and the change from one to the next without dropping a request."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import storage
from operations.inference import model as models
from operations.inference.errors import LoadError, NotReadyError, ServingError, UnknownModelError
from operations.inference.model import LoadedModel

if TYPE_CHECKING:
    from operations.serving.settings import Serving

State = Literal["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
# What the files of a version look like from outside: place -> bytes, and what changes with each change.
_Fingerprint = dict[str, tuple[int, str]]

_log = logging.getLogger(__name__)


@dataclasses.dataclass(eq=False)
class VersionStatus:
    """A version that was seen in the folder; its states are TensorFlow Serving's.

    Attributes:
        error: why it could not be loaded, which is an END, too; empty if it could.
        files: what they looked like when it was tried last, or since a time, while they are not complete.
        users: how many blocks of `using` ask its model.
    """

    version: int
    state: State = "START"
    error: str = ""
    files: _Fingerprint | None = None
    since: float = 0.0
    model: LoadedModel | None = None
    users: int = 0


@dataclasses.dataclass(frozen=True)
class Events:
    """Callbacks in the thread of the event loop: a version is loaded (in so many seconds), refused, or unloaded."""

    loaded: Callable[[LoadedModel, float], None] = lambda model, seconds: None
    failed: Callable[[int, str], None] = lambda version, reason: None
    unloaded: Callable[[int], None] = lambda version: None


class Versions:
    """Keeps the newest versions of a folder loaded.

    A version is a folder named by a number that holds a ``saved_model.pb``. Whatever else lies there, such as a copy
    under a temporary name, is none. A version that does not load is refused once, and tried again only when its files
    change. The last loaded version is kept whatever happens to its folder.

    All methods are for the thread of one event loop; files are read, and models loaded, in another one.
    """

    def __init__(self, folder: Path, settings: Serving, events: Events | None = None, canary: bool = False) -> None:
        """Loads nothing before `start`.

        Of canaries there may be none, then nothing is kept; and only the newest counts, even if it does not load.
        """
        self._folder = folder
        self._settings = settings
        self._keep = 1 if canary else settings.keep_versions
        self._events = events or Events()
        self._canary = canary
        self._loader = ThreadPoolExecutor(1, "loader")
        self._seen: dict[int, VersionStatus] = {}
        self._first: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._unreadable = False

    @property
    def current(self) -> int | None:
        """The number of the newest version that answers."""
        return max((number for number, seen in self._seen.items() if seen.state == "AVAILABLE"), default=None)

    @property
    def available(self) -> list[int]:
        """The versions that can be asked, newest first."""
        return [status.version for status in self.states if status.state == "AVAILABLE"]

    @property
    def states(self) -> list[VersionStatus]:
        """The states of all versions that were seen, newest first."""
        return [self._seen[number] for number in sorted(self._seen, reverse=True)]

    def status(self, version: int) -> VersionStatus:
        """Returns the state of one version, or raises UnknownModelError."""
        try:
            return self._seen[version]
        except KeyError:
            raise UnknownModelError(f"There is no version {version}; {self._choice()}", "version") from None

    def require_any(self) -> None:
        """Raises ServingError for a folder without versions, unless one is waited for, before anything slow is done."""
        if self._settings.wait_for_version:
            return
        with contextlib.suppress(OSError):
            if numbers(self._folder):
                return
        raise ServingError(self._nothing_to_serve())

    async def start(self) -> None:
        """Returns when one version can answer, or at once for canaries; goes on to load others and watch the folder.

        Raises:
            ServingError: there is none, and none is waited for.
        """
        self._first = asyncio.get_running_loop().create_future()
        if self._canary:
            self._first.set_result(None)
        self._task = asyncio.create_task(self._watch(), name="versions")
        try:
            await self._first
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Watches no longer, and unloads everything. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for number in self.available:
            self._unload(number)
        self._loader.shutdown(wait=False)

    @contextmanager
    def using(self, version: int | None = None) -> Iterator[LoadedModel]:
        """Keeps a version, or the newest one, loaded for the length of a block.

        Raises:
            UnknownModelError: that version is not loaded.
            NotReadyError: no version is.
        """
        number = self.current if version is None else version
        if number is None:
            raise NotReadyError("No version of the model is loaded.")
        seen = self._seen.get(number)
        if seen is None or seen.model is None or seen.state != "AVAILABLE":
            raise UnknownModelError(f"Version {number} is not loaded; {self._choice()}", "version")
        seen.users += 1
        try:
            yield seen.model
        finally:
            seen.users -= 1
            if seen.state == "UNLOADING" and not seen.users:
                self._close(seen)

    def _choice(self) -> str:
        return f"loaded are {', '.join(map(str, self.available))}." if self.available else "none is loaded."

    async def _watch(self) -> None:
        assert self._first is not None
        told = False
        while True:
            try:
                await self._look()
            except Exception as error:
                # A bug here must not end the watch, nor the service.
                _log.exception("Looking at %s failed", self._folder)
                if not self._first.done():
                    self._first.set_exception(error)
            if not self._first.done() and not self._settings.wait_for_version:
                self._first.set_exception(ServingError(self._nothing_to_serve()))
            if not self._first.done() and not told:
                told = True
                _log.warning("%s. The service is not ready until there is one.", self._nothing_to_serve().rstrip("."))
            await asyncio.sleep(self._settings.poll_seconds)

    async def _look(self) -> None:
        """Makes the loaded versions those that the folder asks for."""
        try:
            present = await self._present()
        except OSError as error:
            if self._held and not self._unreadable:
                _log.error("%s cannot be read (%s); what is loaded stays loaded.", self._folder, storage.why(error))
            self._unreadable = True
            return
        self._unreadable = False
        wanted: list[int] = []
        for number in present:
            if len(wanted) == self._keep:
                break
            if number in self._held or await self._try(number):
                wanted.append(number)
        for number in sorted(set(self.available) - set(wanted)):
            if self._canary or wanted or number != self.current:
                self._unload(number)
        for number in set(self._seen) - set(present) - self._held:
            del self._seen[number]

    @property
    def _held(self) -> set[int]:
        """The versions in memory; one that is being unloaded may still be asked something."""
        return {number for number, seen in self._seen.items() if seen.model is not None}

    async def _present(self) -> list[int]:
        """The versions that may be loaded, newest first."""
        if not self._canary:
            return await self._in_thread(numbers, self._folder)
        with contextlib.suppress(FileNotFoundError):
            return (await self._in_thread(numbers, self._folder))[:1]
        return []

    async def _try(self, number: int) -> bool:
        """Loads a version unless that is known to fail; returns whether it is loaded."""
        folder = self._folder / str(number)
        try:
            files = await self._in_thread(storage.files_below, folder)
        except OSError as error:  # of a bucket; the next look may succeed
            _log.error("%s cannot be read: %s", folder, storage.why(error))
            return False
        seen = self._seen.setdefault(number, VersionStatus(number))
        if seen.error and seen.files == files:
            return False
        started = time.monotonic()
        if "saved_model.pb" not in files:
            if seen.state != "START" or seen.files != files:
                seen.state, seen.error, seen.files, seen.since = "START", "", files, started
            elif started - seen.since >= self._settings.settle_seconds:
                self._refuse(seen, f"{folder} holds no saved_model.pb.")
            return False
        seen.state, seen.error, seen.files = "LOADING", "", files
        try:
            model = await self._in_thread(_load_and_warm_up, folder, number, self._settings.threads)
        except LoadError as error:
            self._refuse(seen, str(error))
            return False
        seen.model, seen.state = model, "AVAILABLE"
        seconds = time.monotonic() - started
        _log.info("Version %d is %s; loading took %.2f s.", number, "a canary" if self._canary else "served", seconds)
        self._events.loaded(model, seconds)
        if self._first is not None and not self._first.done():
            self._first.set_result(None)
        return True

    def _refuse(self, seen: VersionStatus, reason: str) -> None:
        seen.state, seen.error = "END", reason
        serving = f"version {self.current} goes on" if self.current is not None else "no version is served"
        _log.error("Version %d is refused, and %s: %s", seen.version, serving, reason)
        self._events.failed(seen.version, reason)

    def _unload(self, number: int) -> None:
        seen = self._seen[number]
        seen.state = "UNLOADING"
        if not seen.users:
            self._close(seen)

    def _close(self, seen: VersionStatus) -> None:
        model, seen.model, seen.state = seen.model, None, "END"
        assert model is not None
        _log.info("Version %d is unloaded.", seen.version)
        self._events.unloaded(seen.version)
        try:
            self._loader.submit(model.close)
        except RuntimeError:  # The loader has ended: the process is about to.
            model.close()

    def _nothing_to_serve(self) -> str:
        reasons = [status.error for status in self.states if status.error]
        if reasons:
            return f"No version of the model can be served. The newest: {reasons[0]}"
        if not self._folder.is_dir():
            return f"There is no folder of models {self._folder}; train and push a model with: flightdeck run"
        return f"There is no version of a model in {self._folder}; train and push one with: flightdeck run"

    async def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._loader, function, *arguments)


def numbers(folder: Path) -> list[int]:
    """The versions in a folder, newest first."""
    if storage.is_bucket(folder):
        names = [entry.name for entry in storage.entries(folder)]
    else:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    digits = (name for name in names if name.isascii() and name.isdigit())
    return sorted((int(name) for name in digits if name == str(int(name))), reverse=True)


def _load_and_warm_up(folder: Path, number: int, threads: int | None) -> LoadedModel:
    model = models.load(folder, number, threads)
    try:
        model.warm_up()
    except BaseException:
        model.close()
        raise
    return model
