"""A MariaDB server on the loopback interface, with a user and database for ML Metadata."""

import contextlib
import dataclasses
import getpass
import json
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pymysql

from tests.ports import free_port
from tests.services.daemon import Daemon, ServiceError, install, one_at_a_time

DAEMON = Daemon("mariadb", program="mariadbd")
PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults")
NAME = "flightdeck"


@dataclasses.dataclass(frozen=True)
class Server:
    """How to reach the server.

    The user may also use any database whose name begins with that of ``database``; ML Metadata creates it when it
    connects.
    """

    host: str
    port: int
    user: str
    password: str
    database: str

    def new_database(self) -> dict[str, str]:
        """The variables that `pipeline.store.connection` reads, for a database that nobody has used."""
        return {
            "FLIGHTDECK_METADATA_HOST": self.host,
            "FLIGHTDECK_METADATA_PORT": str(self.port),
            "FLIGHTDECK_METADATA_DATABASE": f"{self.database}_{secrets.token_hex(4)}",
            "FLIGHTDECK_METADATA_USERNAME": self.user,
            "FLIGHTDECK_METADATA_PASSWORD": self.password,
        }

    @contextlib.contextmanager
    def passing_database(self) -> Iterator[dict[str, str]]:
        """Like `new_database`; the database is removed afterwards."""
        environment = self.new_database()
        try:
            yield environment
        finally:
            self.execute(f"DROP DATABASE IF EXISTS `{environment['FLIGHTDECK_METADATA_DATABASE']}`")

    def execute(self, statement: str) -> tuple:
        """The rows that a statement returns."""
        login = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        with pymysql.connect(**login, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())


@contextlib.contextmanager
def running() -> Iterator[Server]:
    """A server, which is ended afterwards unless it ran before."""
    ours = find() is None
    with one_at_a_time():
        server = start()
    try:
        yield server
    finally:
        if ours:
            stop()


def start() -> Server:
    """A server that answers: ours, if it runs already, or else a new one on the same data with a new password."""
    if (server := find()) is not None:
        return server
    if not all(shutil.which(program) for program in PROGRAMS):
        install("mariadb")
    DAEMON.stop()
    data = DAEMON.folder / "data"
    if not (data / "mysql").is_dir():
        _create(data)
    server = Server("127.0.0.1", free_port(), NAME, secrets.token_urlsafe(24), NAME)
    setup = DAEMON.folder / "setup.sql"
    _write_private(setup, _setup(server))
    try:
        DAEMON.start(_command(data, server, setup), ready=lambda: _greets(server), seconds=60)
    finally:
        setup.unlink()
    _write_private(_credentials(), json.dumps(dataclasses.asdict(server)))
    return server


def find() -> Server | None:
    """Our server, if it runs and answers."""
    if DAEMON.pid() is None or not _credentials().is_file():
        return None
    server = Server(**json.loads(_credentials().read_text()))
    return server if _greets(server) else None


def stop() -> bool:
    """Ends the server; its data stays. Returns whether it was running."""
    _credentials().unlink(missing_ok=True)
    return DAEMON.stop()


def _create(data: Path) -> None:
    shutil.rmtree(data, ignore_errors=True)  # what an interrupted start left
    data.mkdir(parents=True)
    command = ["mariadb-install-db", "--no-defaults", f"--datadir={data}", f"--user={getpass.getuser()}"]
    command += ["--auth-root-authentication-method=socket", "--skip-test-db"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"mariadb-install-db failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def _command(data: Path, server: Server, setup: Path) -> list[str]:
    return [
        # It refuses to run as root unless told to.
        *(shutil.which("mariadbd") or "mariadbd", "--no-defaults", f"--user={getpass.getuser()}"),
        *(f"--datadir={data}", f"--socket={DAEMON.sockets / 'mariadb.sock'}"),
        *(f"--bind-address={server.host}", f"--port={server.port}", "--skip-name-resolve"),
        *(f"--pid-file={DAEMON.folder / 'mariadbd.pid'}", f"--init-file={setup}"),
        # A commit does not wait for the disk: what a power cut would lose is only a test, and the disk is busy.
        "--innodb-flush-log-at-trx-commit=0",
    ]


def _setup(server: Server) -> str:
    """SQL that the server executes before it accepts connections; one statement a line."""
    user = f"'{server.user}'@'{server.host}'"
    return (
        f"CREATE DATABASE IF NOT EXISTS {server.database};\n"
        f"CREATE OR REPLACE USER {user} IDENTIFIED BY '{server.password}';\n"
        f"GRANT ALL ON `{server.database}%`.* TO {user};\n"
    )


def _greets(server: Server) -> bool:
    """Whether a MariaDB server speaks first, as its protocol wants, at the address."""
    try:
        with socket.create_connection((server.host, server.port), timeout=5) as connection:
            return b"MariaDB" in connection.recv(256)
    except OSError:
        return False


def _credentials() -> Path:
    return DAEMON.folder / "credentials.json"


def _write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, "utf-8")
