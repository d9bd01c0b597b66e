"""The service from inside: versions come and go while requests are answered, logged and counted."""

import asyncio
import contextlib
import logging
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import storage
from operations.inference import columns
from operations.inference.errors import NotReadyError, ServingError, UnknownModelError
from operations.inference.model import EXAMPLES
from operations.inference.settings import Payloads
from operations.serving.service import Answer, Service
from operations.serving.settings import Canary, Serving
from operations.serving.tfserving_v1 import row_ids
from tests.operations.serving import small_model
from tests.operations.serving.live_server import samples
from tests.operations.serving.small_model import push
from tests.services import buckets

pytestmark = [pytest.mark.component, pytest.mark.anyio]

ROW = {"amount": 20.0, "count": 10, "colour": "red"}
PATIENCE = 60.0


@contextlib.asynccontextmanager
async def running(
    registry: Path, payloads: Path | None = None, canaries: Path | None = None, canary: Canary | None = None, **settings
) -> AsyncIterator[Service]:
    defaults = {"poll_seconds": 0.05, "settle_seconds": 0.2, "payloads": Payloads(rotate_seconds=3600)}
    service = Service("small", registry, Serving(**(defaults | settings)), payloads, canaries=canaries, canary=canary)
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


async def ask(service: Service, version: int | None = None, rows: list[dict] | None = None) -> Answer:
    with service.versions.using(version) as model:
        arrays = columns.from_rows(rows or [ROW], model.inputs)
        return await service.predict(model, arrays, row_ids(secrets.token_hex(12), columns.row_count(arrays)))


@contextlib.asynccontextmanager
async def asking(ask_once: Callable[[str], Awaitable[Answer]], biases: dict[int, float]) -> AsyncIterator[list[int]]:
    """Four clients that ask without a pause until the block ends; the versions that answered, as only they can."""
    seen: list[int] = []
    done = False

    async def client(which: int) -> None:
        number = 0
        while not done:
            answer = await ask_once(f"{which}-{number}")
            expected = small_model.probability(biases[answer.version], ROW)
            assert answer.outputs["probability"].item() == pytest.approx(expected, rel=1e-5)
            seen.append(answer.version)
            number += 1

    clients = [asyncio.ensure_future(client(which)) for which in range(4)]
    yield seen
    done = True
    await asyncio.gather(*clients)


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():
            await asyncio.sleep(0.02)


def states(service: Service) -> dict[int, str]:
    return {status.version: status.state for status in service.versions.states}


def metric(service: Service, name: str, **labels: str) -> float:
    return samples(service.metrics.exposition()[0].decode())[(name, *sorted(labels.values()))]


async def test_the_newest_version_answers_and_the_one_before_it_can_be_asked_for(models, tmp_path) -> None:
    for version, bias in ((1, -1.0), (2, 0.0), (3, 1.0)):
        push(models[bias], tmp_path, version)
    (tmp_path / "notes").mkdir()
    (tmp_path / ".copying-9").mkdir()
    (tmp_path / "4").write_text("a file, no version")
    async with running(tmp_path) as service:
        assert service.ready
        assert service.versions.current == 3
        await until(lambda: states(service) == {3: "AVAILABLE", 2: "AVAILABLE"})
        answer = await ask(service)
        assert answer.version == 3
        assert answer.outputs["probability"].item() == pytest.approx(small_model.probability(1.0, ROW), rel=1e-5)
        older = await ask(service, 2)
        assert older.version == 2
        assert older.outputs["probability"].item() == pytest.approx(small_model.probability(0.0, ROW), rel=1e-5)
        with pytest.raises(UnknownModelError, match=r"Version 1 is not loaded; loaded are 3, 2\."):
            await ask(service, 1)
        with pytest.raises(UnknownModelError, match="There is no version 17"):
            service.versions.status(17)


async def test_a_pushed_version_takes_over_without_a_failed_request(models, tmp_path) -> None:
    biases = {1: -1.0, 2: 0.0, 3: 1.0, 4: -1.0}
    push(models[biases[1]], tmp_path, 1)
    async with running(tmp_path, keep_versions=1) as service:
        async with asking(lambda name: ask(service), biases) as seen:
            for version in (2, 3, 4):
                push(models[biases[version]], tmp_path, version)
                await until(lambda version=version: seen[-1:] == [version])
        assert seen == sorted(seen)
        assert set(seen) == {1, 2, 3, 4}
        await until(lambda: states(service) == {4: "AVAILABLE", 3: "END", 2: "END", 1: "END"})
        assert metric(service, "model_version") == 4
        assert metric(service, "version_loads_total") == 4
        assert metric(service, "version_loaded", version="4") == 1


async def test_a_version_is_unloaded_only_when_nobody_uses_it(models, tmp_path) -> None:
    push(models[0.0], tmp_path, 1)
    async with running(tmp_path, keep_versions=1) as service:
        with service.versions.using() as model:
            push(models[1.0], tmp_path, 2)
            await until(lambda: states(service) == {2: "AVAILABLE", 1: "UNLOADING"})
            answer = await service.predict(model, columns.from_rows([ROW], model.inputs), ["a"])
            assert answer.version == 1
            assert (await ask(service)).version == 2
        assert states(service) == {2: "AVAILABLE", 1: "END"}


async def test_a_version_that_does_not_load_is_refused_until_it_changes(models, tmp_path, caplog) -> None:
    caplog.set_level(logging.ERROR)
    registry = tmp_path / "registry"
    push(models[0.0], registry, 1)
    bad = tmp_path / "bad"
    shutil.copytree(models[1.0], bad)
    small_model.cut_short(bad)
    async with running(registry) as service:
        push(bad, registry, 2)
        await until(lambda: states(service).get(2) == "END")
        assert "cannot be loaded" in service.versions.status(2).error
        await asyncio.sleep(0.5)
        assert metric(service, "version_load_failures_total") == 1
        assert (await ask(service)).version == 1
        with pytest.raises(UnknownModelError):
            await ask(service, 2)
        shutil.copytree(models[1.0], registry / "2", dirs_exist_ok=True)
        await until(lambda: service.versions.current == 2)
        assert service.versions.status(2).error == ""
    assert "Version 2 is refused, and version 1 goes on" in caplog.text


async def test_a_folder_that_is_being_filled_is_waited_for_and_an_empty_one_refused(models, tmp_path) -> None:
    push(models[0.0], tmp_path, 1)
    async with running(tmp_path, settle_seconds=0.5) as service:
        shutil.copytree(models[1.0], tmp_path / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
        (tmp_path / "3").mkdir()
        await until(lambda: states(service).get(2) == "START")
        shutil.copy(models[1.0] / "saved_model.pb", tmp_path / "2")
        await until(lambda: service.versions.current == 2)
        await until(lambda: states(service)[3] == "END")
        assert "holds no saved_model.pb" in service.versions.status(3).error
        assert service.versions.status(2).error == ""


async def test_a_removed_version_gives_way_but_the_last_one_goes_on(models, tmp_path) -> None:
    push(models[0.0], tmp_path / "registry", 1)
    push(models[1.0], tmp_path / "registry", 2)
    async with running(tmp_path / "registry", keep_versions=1) as service:
        assert (await ask(service)).version == 2
        shutil.rmtree(tmp_path / "registry" / "2")
        await until(lambda: service.versions.current == 1)
        shutil.rmtree(tmp_path / "registry" / "1")
        await asyncio.sleep(0.3)
        assert (await ask(service)).version == 1
        shutil.rmtree(tmp_path / "registry")
        await asyncio.sleep(0.3)
        assert (await ask(service)).version == 1


async def test_a_column_to_leave_out_of_the_log_that_does_not_exist_is_refused(models, tmp_path) -> None:
    push(models[0.0], tmp_path / "registry", 1)
    settings = Serving(payloads=Payloads(exclude=("amount", "color")))
    service = Service("small", tmp_path / "registry", settings, tmp_path / "payloads")
    with pytest.raises(ServingError, match="exclude names `color`, which the model neither takes nor gives"):
        await service.start()
    assert not service.ready


async def test_an_older_version_is_served_when_the_newest_does_not_load_at_the_start(models, tmp_path) -> None:
    push(models[0.0], tmp_path, 1)
    push(models[1.0], tmp_path, 2)
    small_model.cut_short(tmp_path / "2")
    async with running(tmp_path) as service:
        assert (await ask(service)).version == 1


async def test_after_a_graceful_end_every_answer_is_logged_and_nothing_is_answered(models, tmp_path) -> None:
    push(models[0.0], tmp_path / "registry", 5)
    answered: list[tuple[str, float]] = []
    async with running(tmp_path / "registry", tmp_path / "payloads") as service:
        rows = [ROW, {"amount": 1.0}, {"amount": 2.0, "colour": "green"}]
        answers = await asyncio.gather(*(ask(service, rows=rows) for _ in range(20)))
        with service.versions.using() as model:
            examples = columns_of_examples(rows)
            answers.append(await service.predict(model, examples, ["a", "b", "c"], EXAMPLES))
        for answer in answers:
            answered += zip(answer.prediction_ids, answer.outputs["probability"].ravel().tolist(), strict=True)
    with pytest.raises(NotReadyError):
        await ask(service)
    await service.stop()
    assert not service.ready
    assert len(dict(answered)) == len(answered)
    assert metric(service, "payload_rows_total", outcome="written") == len(answered)
    assert metric(service, "rows_total") == len(answered)
    table = pq.read_table(tmp_path / "payloads")
    logged = zip(table["prediction_id"].to_pylist(), table["probability"].to_pylist(), strict=True)
    assert dict(logged) == dict(answered)
    assert set(table["model_version"].to_pylist()) == {5}
    # Rows and examples are logged alike.
    assert table["amount"].to_pylist() == [20.0, 1.0, 2.0] * 21
    assert table["count"].to_pylist() == [10, None, None] * 21
    assert table["colour"].to_pylist() == ["red", None, "green"] * 21


def columns_of_examples(rows: list[dict]) -> columns.Columns:
    return {"examples": columns.objects([small_model.example(row) for row in rows])}


@pytest.mark.usefixtures("emulators")
async def test_versions_and_payloads_in_a_bucket_are_like_those_in_a_folder(models) -> None:
    """A version that is still being copied there is none; one that is damaged is refused, and its successor served."""
    bucket = storage.at(buckets.new_bucket("gs"))
    registry, payloads = bucket / "models", bucket / "payloads"
    with pytest.raises(ServingError, match="no folder of models gs://"):
        Service("small", registry, Serving()).versions.require_any()
    storage.copy_folder(models[0.0], registry / "7", last="saved_model.pb")
    async with running(registry, payloads) as service:
        assert (await ask(service)).version == 7
        one = models[1.0]
        for name in storage.files_below(one):
            if name != "saved_model.pb":
                (registry / "8" / name).write_bytes((one / name).read_bytes())
        (registry / "9" / "saved_model.pb").write_bytes(b"not a model")
        await until(lambda: service.versions.states[0].state == "END")
        assert [state.version for state in service.versions.states if state.state == "AVAILABLE"] == [7]
        (registry / "8" / "saved_model.pb").write_bytes((one / "saved_model.pb").read_bytes())
        await until(lambda: service.versions.current == 8)
        answer = await ask(service)
        assert answer.outputs["probability"].item() == pytest.approx(small_model.probability(1.0, ROW), rel=1e-5)
    (file,) = [payloads / name for name in storage.files_below(payloads)]
    with file.open("rb") as stream:
        assert pq.read_table(stream)["model_version"].to_pylist() == [7, 8]
