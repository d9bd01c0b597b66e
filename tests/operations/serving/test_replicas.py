"""Several services on the same folders, as replicas on a cluster are: what they share, and what each keeps."""

import contextlib
import dataclasses
import shutil
import time
from pathlib import Path

import httpx
import pyarrow.dataset as ds
import pytest

from operations.serving import canary_record
from operations.serving.canary_record import CanaryRecord
from tests.operations.serving import small_model
from tests.operations.serving.live_server import LiveServer, samples, serving, wait_for
from tests.operations.serving.small_model import push

SERVED, CANARY = 3, 50
SPLIT = '{"mode": "split", "share": 0.5, "answer_seconds": 20}'


@dataclasses.dataclass(frozen=True)
class Replicas:
    """Two services that answer with one registry and write one payload log."""

    folder: Path
    servers: tuple[LiveServer, LiveServer]

    @property
    def log(self) -> Path:
        return self.folder / "payloads"

    def versions(self) -> list[int]:
        """What each serves."""
        return [int(self.metric(server, "model_version")) for server in self.servers]

    def metric(self, server: LiveServer, name: str) -> float:
        with server.client() as client:
            return samples(client.get("/metrics").text)[name,]

    def answers(self, name: str) -> list[str]:
        """The version with which each answers the request of a name."""
        asked = [
            httpx.post(
                f"{server.url}/v1/models/shop:predict",
                json={"instances": [small_model.EXAMPLE]},
                headers={"x-request-id": name},
                timeout=30,
            )
            for server in self.servers
        ]
        assert {answer.status_code for answer in asked} == {200}
        return [answer.headers["x-model-version"] for answer in asked]


@contextlib.contextmanager
def replicas(folder: Path, *canaries: Path, canary: str = "{}"):
    log = ("--payloads", str(folder / "payloads"))
    with contextlib.ExitStack() as stack:
        yield Replicas(
            folder,
            tuple(
                stack.enter_context(
                    serving(
                        *(folder / "models", "shop", folder / f"log-{number}", *log),
                        *("--canaries", str(place), "--canary", canary),
                    )
                )
                for number, place in enumerate(canaries or [folder / "models-canary"] * 2)
            ),
        )


@pytest.mark.component
def test_all_follow_the_folder_of_versions_within_ten_seconds(models, tmp_path):
    push(models[0.0], tmp_path / "models", SERVED)
    with replicas(tmp_path) as both:
        assert both.versions() == [SERVED, SERVED]
        push(models[1.0], tmp_path / "models", 4)
        pushed = time.monotonic()
        wait_for(lambda: both.versions() == [4, 4])
        # By the default interval a second and the time of loading; a busy machine may take its time.
        assert time.monotonic() - pushed < 60


@pytest.mark.component
def test_they_ask_the_same_canary_about_the_same_requests_and_what_they_saw_adds_up(models, tmp_path):
    push(models[0.0], tmp_path / "models", SERVED)
    push(models[1.0], tmp_path / "models-canary", CANARY)
    names = [f"client-{number}" for number in range(40)]
    with replicas(tmp_path, canary=SPLIT) as both:
        for server in both.servers:
            wait_for(lambda server=server: both.metric(server, "canary_version") == CANARY)
        decided = [both.answers(name) for name in names]
    assert [first for first, _ in decided] == [second for _, second in decided]
    fell = sum(first == str(CANARY) for first, _ in decided)
    assert 0 < fell < len(names)
    assert len(list((both.log / "canary" / str(CANARY)).glob("*.json"))) == 2
    assert canary_record.read(both.log, CANARY) == CanaryRecord(answered=2 * fell)
    # No file of one replaced a file of the other.
    rows = ds.dataset(both.log, format="parquet", exclude_invalid_files=True).to_table().to_pylist()
    assert sorted(row["prediction_id"] for row in rows) == sorted([*names, *names])


@pytest.mark.component
def test_a_canary_that_one_of_them_cannot_load_is_recorded_as_such(models, tmp_path):
    push(models[0.0], tmp_path / "models", SERVED)
    sound, damaged = tmp_path / "models-canary", tmp_path / "as-another-node-sees-it"
    push(models[1.0], sound, CANARY)
    shutil.copytree(sound, damaged)
    small_model.cut_short(damaged / str(CANARY))
    with replicas(tmp_path, sound, damaged, canary=SPLIT) as both:
        wait_for(lambda: canary_record.read(both.log, CANARY).does_not_load)
        wait_for(lambda: both.metric(both.servers[0], "canary_version") == CANARY)
        wait_for(lambda: "50" in both.answers(f"client-{time.monotonic()}")[0])
    record = canary_record.read(both.log, CANARY)
    assert "cannot be loaded" in record.does_not_load
    assert record.answered > 0


@pytest.mark.unit
def test_a_container_that_starts_anew_with_the_same_host_and_process_id_forgets_no_failure(tmp_path, monkeypatch):
    canary_record.write(tmp_path, CANARY, CanaryRecord(answered=3, failed=2, failure="it ended"))
    monkeypatch.setattr(canary_record, "_TOKEN", "another")
    canary_record.write(tmp_path, CANARY, CanaryRecord(answered=1))

    assert canary_record.read(tmp_path, CANARY) == CanaryRecord(answered=4, failed=2, failure="it ended")
