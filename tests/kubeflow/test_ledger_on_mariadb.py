"""The ledger's questions on the store that a team shares: a real MariaDB."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import pymysql
import pytest

from ledger.opening import LedgerError, open_readonly, open_writable
from pipeline import store
from tests.ledger.seeding import Seeder
from tests.services import mariadb
from tests.services.up import up
from tests.world import ROOT

pytestmark = pytest.mark.kubeflow


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb.Server]:
    """Needs no Docker, unlike the fixture `services`."""
    ours = mariadb.find() is None
    yield mariadb.Server(**up(["mariadb"])["mysql"])
    if ours:
        mariadb.stop()


@pytest.fixture
def environment(server) -> Iterator[dict[str, str]]:
    """Of a database of the test's own, which does not exist yet."""
    name = f"{server.database}_{secrets.token_hex(4)}"
    yield server.environment(name)
    execute(server, f"DROP DATABASE IF EXISTS `{name}`")


def execute(server: mariadb.Server, statement: str) -> tuple:
    with contextlib.closing(
        pymysql.connect(host=server.host, port=server.port, user=server.user, password=server.password, autocommit=True)
    ) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def sentence(opened, environment: dict[str, str]) -> str:
    with pytest.raises(LedgerError) as caught:
        opened(store.from_environment(0, environment))
    assert "\n" not in str(caught.value)
    assert environment["FLIGHTDECK_METADATA_PASSWORD"] not in str(caught.value)
    return str(caught.value)


def test_the_command_line_lists_finds_shows_and_notes(environment):
    seeder = Seeder(store.from_environment(0, environment))
    for name, auc in (("a-run", 0.612345678), ("b-run", 0.7123456789012), ("c-run", 0.65)):
        seeder.run(name, auc)
    seeder.foreign("theirs")

    def runs(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "flightdeck", "runs", *arguments, "--set", "metadata.kind=mysql"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(runs("list", "--metric", "auc>0.62", "--sort", "auc", "--json"))["runs"]
    assert [each["run_id"] for each in listed] == ["c-run", "b-run"]
    assert listed[1]["metrics"]["auc"] == 0.7123456789012  # all digits, which a double of MySQL would not have
    assert "theirs" in runs("list")
    assert json.loads(runs("best", "--json"))["run_id"] == "b-run"
    runs("note", "best", "größer, 日本, 🛫")
    runs("tag", "best", "v1/good")
    page = runs("show", "b-r")
    assert "größer, 日本, 🛫" in page
    assert "v1/good" in page


@pytest.mark.parametrize("opened", [open_readonly, open_writable])
def test_asking_makes_no_database_and_no_tables(server, environment, opened):
    name = environment["FLIGHTDECK_METADATA_DATABASE"]

    assert f"has no database {name} yet" in sentence(opened, environment)
    assert execute(server, f"SHOW DATABASES LIKE '{name}'") == ()
    execute(server, f"CREATE DATABASE `{name}`")
    assert "holds no metadata store yet" in sentence(opened, environment)
    assert execute(server, f"SHOW TABLES IN `{name}`") == ()


def test_a_wrong_password_and_another_schema_are_told(server, environment):
    Seeder(store.from_environment(0, environment))

    assert "refuses the user" in sentence(open_readonly, {**environment, "FLIGHTDECK_METADATA_PASSWORD": "guess"})
    assert "may not use the database" in sentence(
        open_readonly, {**environment, "FLIGHTDECK_METADATA_DATABASE": "mysql"}
    )
    execute(server, f"UPDATE `{environment['FLIGHTDECK_METADATA_DATABASE']}`.MLMDEnv SET schema_version = 9")
    assert "has schema 9" in sentence(open_readonly, environment)
