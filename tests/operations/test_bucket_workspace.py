"""A workspace in a bucket, with its metadata, alerts and locks in a real MariaDB."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import storage
from errors import FlightdeckError
from flightdeck.settings import read_settings
from ledger.opening import open_store
from operations.alerts.alert import Alert
from operations.alerts.dispatcher import open_outbox, outbox_place
from operations.alerts.outbox import pending
from operations.loop import heartbeat
from operations.loop.loop import alone, folder_of, watcher
from operations.registry import Registry, RegistryError
from operations.report.hosting import Site, application
from pipeline import store
from pipeline.workspace import lock_of_folder
from tests.ledger.executions import Executions
from tests.operations.test_registry import CONFIG, Factory
from tests.services import buckets, mariadb

pytestmark = pytest.mark.kubeflow


@pytest.fixture
def factory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Factory]:
    """Three runs and their versions, with everything in the bucket and the server."""
    request.getfixturevalue("emulators")
    bucket = buckets.new_bucket("gs")
    with mariadb.running() as server, server.passing_database() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        factory = Factory(tmp_path / "unused", bucket=bucket)
        factory.overrides = (f"workspace={bucket}/flights", "metadata.kind=mysql")
        factory.settings = read_settings(CONFIG, list(factory.overrides))
        factory.store = open_store(store.connection(factory.settings))
        factory.executions = Executions(factory.store, factory.settings.use_case.name)
        yield factory.push_three()


def test_the_registry_is_changed_by_one_at_a_time(factory: Factory) -> None:
    folder = storage.at(factory.settings.pushed)
    assert str(folder).startswith("gs://")
    with (
        lock_of_folder(factory.settings, folder),
        pytest.raises(RegistryError, match="Another process is changing the registry gs://"),
    ):
        factory.registry().rollback()
    assert factory.registry().rollback().version.restores == 2
    assert (factory.registry().served().folder / "saved_model.pb").read_text() == "two"


def test_one_loop_works_on_a_workspace_and_others_are_told_where_it_is(factory: Factory, flightdeck) -> None:
    assert watcher(factory.settings) is None
    with alone(factory.settings) as folder:
        assert folder.is_dir()
        assert not storage.is_bucket(folder)
        with pytest.raises(FlightdeckError, match=r"is watched already, by a process at 127"), alone(factory.settings):
            pass
        code, out, err = flightdeck("watch", "--status", "--json", *factory.options())
        assert code == 0, err
        assert json.loads(out)["watched_by"].startswith("a process at 127.0.0.1:")
    assert watcher(factory.settings) is None
    beat = heartbeat.Heartbeat.model_validate({"when": "2026-11-30T06:00:00Z", "problems": {"spans": "There is none."}})
    heartbeat.write(folder_of(factory.settings), beat)
    assert heartbeat.read(folder_of(factory.settings)) == beat


def test_alerts_wait_in_the_server_and_are_logged_in_the_bucket(factory: Factory) -> None:
    outbox, channels = open_outbox(factory.settings)
    outbox.put(Alert(key="drift", severity="warning", title="drift", source="test"))
    assert pending(outbox_place(factory.settings)) == 1
    assert outbox.deliver(channels) == (1, 0)
    (name,) = storage.files_below(storage.at(factory.settings.workspace) / "alerts")
    line = json.loads((storage.at(factory.settings.workspace) / "alerts" / name).read_text())
    assert (line["key"], line["repeated"]) == ("drift", 0)


def test_commands_work_on_it_and_without_the_server_they_say_what_is_missing(factory: Factory, flightdeck) -> None:
    code, out, err = flightdeck("models", "list", "--json", *factory.options())
    assert code == 0, err
    assert [version["number"] for version in json.loads(out)] == [3, 2, 1]
    for command in (("models", "list"), ("alerts", "list"), ("watch", "--status"), ("report",)):
        code, _, err = flightdeck(*command, "--set", f"workspace={factory.settings.workspace}")
        assert code == 2
        assert "is a bucket, which has no transactions and no locks: set metadata.kind to mysql" in " ".join(
            err.split()
        )


def test_the_report_is_written_into_the_bucket_and_served_from_there(factory: Factory, flightdeck) -> None:
    output = f"{factory.settings.workspace}/reports/latest"
    code, out, err = flightdeck("report", "--json", "--output", output, *factory.options())
    assert code == 0, err
    runs = json.loads(out)["runs"]
    site = Site(storage.at(output))
    assert site.look()

    async def first_page() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(application(site)), base_url="http://report") as web:
            return (await web.get("/")).raise_for_status().text

    page = asyncio.run(first_page())
    assert len(runs) == 3
    assert all(run in page for run in runs)


def test_a_registry_needs_no_lock_to_be_read(factory: Factory) -> None:
    with lock_of_folder(factory.settings, storage.at(factory.settings.pushed)):
        assert Registry(factory.settings).served().number == 3
