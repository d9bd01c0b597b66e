"""The cluster of `make flink-test`: its slots, a job whose TaskManager is killed, and what can be missing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services import flink
from tests.services.daemon import ServiceError

ROWS_PER_SECOND = 100


@pytest.fixture(scope="module")
def cluster() -> Iterator[flink.Cluster]:
    with flink.cluster() as running:
        yield running


def submit(cluster: flink.Cluster, rows: int, folder: Path) -> str:
    """A job on both slots that writes the numbers from 1 to `rows`, a hundred a second; returns its id."""
    before = {job["jid"] for job in cluster.jobs()}
    source = f"'connector'='datagen', 'rows-per-second'='{ROWS_PER_SECOND}', 'number-of-rows'='{rows}'"
    cluster.submit(
        f"CREATE TABLE numbers (number BIGINT) WITH ({source}, "
        f"'fields.number.kind'='sequence', 'fields.number.start'='1', 'fields.number.end'='{rows}')",
        f"CREATE TABLE written (number BIGINT) WITH ('connector'='filesystem', 'format'='csv', 'path'='{folder}')",
        "INSERT INTO written SELECT number FROM numbers",
    )
    (job,) = {job["jid"] for job in cluster.jobs()} - before
    return job


def running_parts(cluster: flink.Cluster, job: str) -> int:
    return sum(part["tasks"]["RUNNING"] for part in cluster.ask(f"jobs/{job}")["vertices"])


def finished(cluster: flink.Cluster, job: str) -> bool:
    state = cluster.ask(f"jobs/{job}")["state"]
    assert state in ("CREATED", "RUNNING", "RESTARTING", "FINISHED")
    return state == "FINISHED"


def written(folder: Path) -> list[int]:
    return sorted(int(line) for file in folder.glob("[!.]*") for line in file.read_text().split())


@pytest.mark.flink
def test_each_task_manager_has_a_slot_and_the_network_of_the_manifests(cluster):
    workers = cluster.ask("taskmanagers")["taskmanagers"]

    assert [worker["slotsNumber"] for worker in workers] == [1, 1]
    assert {worker["memoryConfiguration"]["networkMemory"] for worker in workers} == {512 << 20}


@pytest.mark.flink
def test_a_second_job_waits_until_the_slots_of_the_first_are_free(cluster, tmp_path):
    first = submit(cluster, 2000, tmp_path / "first")
    flink.wait_for(lambda: running_parts(cluster, first) == 2, "the first job to run")

    second = submit(cluster, 100, tmp_path / "second")

    assert not finished(cluster, first)
    flink.wait_for(lambda: finished(cluster, second), "the second job to end")
    ended, began = cluster.ask(f"jobs/{first}")["end-time"], cluster.ask(f"jobs/{second}")["vertices"][0]["start-time"]
    assert 0 < ended <= began + 1000
    assert (len(written(tmp_path / "first")), len(written(tmp_path / "second"))) == (2000, 100)


@pytest.mark.flink
def test_a_job_outlives_a_task_manager_that_is_killed(cluster, tmp_path):
    job = submit(cluster, 3000, tmp_path / "rows")
    flink.wait_for(lambda: running_parts(cluster, job) == 2, "the job to run")

    cluster.lose_task_manager()

    flink.wait_for(lambda: finished(cluster, job), "the job to end")
    assert cluster.losses(job)
    assert written(tmp_path / "rows") == list(range(1, 3001))


@pytest.mark.unit
@pytest.mark.parametrize("named", [None, "no-such.jar"])
def test_a_missing_jar_or_java_is_one_sentence(monkeypatch, tmp_path, capsys, named):
    monkeypatch.delenv(flink.JAR, raising=False)
    if named:
        monkeypatch.setenv(flink.JAR, str(tmp_path / named))

    assert flink.main() == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{flink.JAR} must name the jar of org.apache.beam:beam-runners-flink-1.20-job-server")
    assert len(said.splitlines()) == 1

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceError, match="install a JDK 17"):
        flink.java()
