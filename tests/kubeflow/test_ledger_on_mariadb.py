"""The ledger's questions on the store that a team shares: a real MariaDB."""

import json
import os
from collections.abc import Iterator

import pytest

from ledger.opening import LedgerError, open_readonly, open_writable
from pipeline import store
from tests import forked
from tests.ledger.seeding import Seeder
from tests.services import mariadb

pytestmark = pytest.mark.kubeflow


@pytest.fixture(scope="module")
def server() -> Iterator[mariadb.Server]:
    """Needs no Docker, unlike the fixture `services`."""
    with mariadb.running() as server:
        yield server


@pytest.fixture
def environment(server) -> Iterator[dict[str, str]]:
    with server.passing_database() as environment:
        yield environment


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
        command = ("flightdeck", "runs", *arguments, "--set", "metadata.kind=mysql")
        done = forked.run(*command, env={**os.environ, **environment}, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(runs("list", "--metric", "auc>0.62", "--sort", "auc", "--json"))["runs"]
    assert [run["run_id"] for run in listed] == ["c-run", "b-run"]
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
    assert server.execute(f"SHOW DATABASES LIKE '{name}'") == ()
    server.execute(f"CREATE DATABASE `{name}`")
    assert "There is no metadata store in the database" in sentence(opened, environment)
    assert server.execute(f"SHOW TABLES IN `{name}`") == ()


def test_a_wrong_password_and_another_schema_are_told(server, environment):
    Seeder(store.from_environment(0, environment))

    assert "refuses the user" in sentence(open_readonly, {**environment, "FLIGHTDECK_METADATA_PASSWORD": "guess"})
    assert "may not use the database" in sentence(
        open_readonly, {**environment, "FLIGHTDECK_METADATA_DATABASE": "mysql"}
    )
    server.execute(f"UPDATE `{environment['FLIGHTDECK_METADATA_DATABASE']}`.MLMDEnv SET schema_version = 9")
    assert "has schema 9" in sentence(open_readonly, environment)
