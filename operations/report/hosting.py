"""The report for browsers elsewhere: a whole copy of the site, on this machine's disk, until there is a newer one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

import storage
from errors import FlightdeckError

_LOOK_SECONDS = 10.0
_log = logging.getLogger(__name__)


class Site:
    """Answers with the newest report of a folder, here or in a bucket; with 503 before the first one."""

    def __init__(self, folder: Path) -> None:
        """Reads nothing before `look`."""
        self._folder = folder
        self._known: str | None = None
        self._files: StaticFiles | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request, as ASGI has it."""
        if self._files is None:
            raise HTTPException(503, f"There is no report in {self._folder} yet; write one with: flightdeck report")
        await self._files(scope, receive, send)

    def look(self) -> bool:
        """Copies the report if it has changed, and returns whether it did.

        Its first page is written last, so a report that is being written is taken when it is complete.

        Raises:
            OSError: it cannot be read, or was replaced meanwhile; the copy before stays.
        """
        first_page = self._folder / "index.html"
        now = storage.state(first_page)
        if now is None or now == self._known:
            return False
        copy = tempfile.TemporaryDirectory(prefix="flightdeck-report-")
        try:
            storage.copy_folder(self._folder, Path(copy.name) / "site")
            if storage.state(first_page) != now:
                raise storage.ChangedError(f"{self._folder} has been replaced meanwhile.")
        except OSError:
            copy.cleanup()
            raise
        older, self._copy = self._copy, copy
        self._files, self._known = StaticFiles(directory=Path(copy.name) / "site", html=True), now
        if older is not None:
            older.cleanup()
        return True

    async def watch(self) -> None:
        """Looks again and again, for ever."""
        while True:
            try:
                if await asyncio.to_thread(self.look):
                    _log.info("The report of %s is served.", self._folder)
            except OSError as error:
                _log.warning("The report of %s cannot be read: %s", self._folder, storage.why(error))
            await asyncio.sleep(_LOOK_SECONDS)


def application(site: Site) -> Starlette:
    """The site as an ASGI application, which looks for a newer report while it runs."""

    @contextlib.asynccontextmanager
    async def watched(_: Starlette) -> AsyncIterator[None]:
        watching = asyncio.create_task(site.watch(), name="report")
        yield
        watching.cancel()

    return Starlette(routes=[Mount("/", app=site)], lifespan=watched)


def listen(host: str, port: int) -> socket.socket:
    """A socket on an address; raises FlightdeckError if it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise FlightdeckError(
            f"Nothing can listen on {host}:{port} ({storage.why(error)}); choose another with --port, or 0 for any."
        ) from None


def run(site: Site, listening: socket.socket) -> None:
    """Serves the site until SIGTERM or SIGINT."""
    config = uvicorn.Config(application(site), log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])
