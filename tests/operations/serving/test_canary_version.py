"""A canary: asked, watched and recorded, and never in the way of a request."""

import asyncio
import contextlib
import functools
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pyarrow.dataset as ds
import pytest

from operations.inference import columns
from operations.inference.errors import ServingError, UnprocessableError
from operations.inference.model import EXAMPLES
from operations.serving import canary_record, canary_version
from operations.serving.canary_version import falls_to
from operations.serving.service import Answer, Service
from operations.serving.settings import Canary, Serving
from tests.operations.serving import small_model
from tests.operations.serving.live_server import samples
from tests.operations.serving.small_model import push
from tests.operations.serving.test_service import ROW, asking, columns_of_examples, metric, running, until

pytestmark = [pytest.mark.component, pytest.mark.anyio]
SERVED, CANARY = 3, 50
GREEN = {**ROW, "colour": "green"}


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("troubled")
    return {trouble: small_model.write(folder / trouble, 1.0, trouble) for trouble in ("green", "slow")}


@contextlib.asynccontextmanager
async def trying(
    folder: Path, served: Path, canary: Path | None, mode: Literal["shadow", "split"], **settings
) -> AsyncIterator[Service]:
    """A service whose version 3 has a model, and perhaps version 50 as a canary, which is loaded when this begins."""
    push(served, folder / "models", SERVED)
    if canary is not None:
        push(canary, folder / "models-canary", CANARY)
    folders = folder / "models", folder / "payloads", folder / "models-canary"
    async with running(*folders, Canary(mode=mode, **settings)) as service:
        if canary is not None:
            await until(lambda: metric(service, "canary_version") == CANARY)
        yield service


async def ask(service: Service, name: str, row: dict = ROW, version: int | None = None) -> Answer:
    with service.versions.using(version) as model:
        arrays = columns.from_rows([row], model.inputs)
        return await service.predict(model, arrays, [name], pinned=version is not None)


def logged(folder: Path) -> list[dict]:
    return ds.dataset(folder / "payloads", format="parquet", exclude_invalid_files=True).to_table().to_pylist()


def outcomes(service: Service) -> dict[str, float]:
    seen = samples(service.metrics.exposition()[0].decode())
    keys = {outcome: ("canary_requests_total", str(CANARY), outcome) for outcome in ("answered", "failed", "dropped")}
    return {outcome: seen[key] for outcome, key in keys.items() if key in seen}


async def test_a_shadow_answers_the_same_requests_and_only_the_log_sees_it(models, tmp_path) -> None:
    async with trying(tmp_path, models[0.0], models[1.0], "shadow") as service:
        answers = await asyncio.gather(*(ask(service, f"r{number}") for number in range(20)))
        with service.versions.using() as model:
            examples = columns_of_examples([ROW, GREEN])
            answers.append(await service.predict(model, examples, ["e0", "e1"], EXAMPLES))
        assert {answer.version for answer in answers} == {SERVED}
        await ask(service, "pinned", version=SERVED)
        await until(lambda: outcomes(service) == {"answered": 21})
    rows = logged(tmp_path)
    seen = {row["prediction_id"]: row for row in rows if not row["shadow"]}
    shadows = {row["prediction_id"]: row for row in rows if row["shadow"]}
    assert set(seen) == set(shadows) | {"pinned"}
    assert len(shadows) == 22
    for name, shadow in shadows.items():
        own = seen[name]
        assert (own["model_version"], shadow["model_version"]) == (SERVED, CANARY)
        assert shadow["time"] == own["time"]
        # What was asked is not written twice.
        assert {shadow[name] for name in small_model.COLUMNS} == {None}
        assert shadow["probability"] == pytest.approx(small_model.probability(1.0, own), rel=1e-5)
        assert own["probability"] == pytest.approx(small_model.probability(0.0, own), rel=1e-5)
        assert own["seconds"] > 0
        assert shadow["seconds"] is None
    assert canary_record.read(tmp_path / "payloads", CANARY).answered == 21


async def test_a_split_gives_a_share_of_the_ids_to_the_canary_and_always_the_same(models, tmp_path) -> None:
    async with trying(tmp_path, models[0.0], models[1.0], "split", share=0.2) as service:
        names = [f"client-{number}" for number in range(1000)]
        first = [(await ask(service, name)).version for name in names]
        again = [(await ask(service, name)).version for name in names]
        assert first == again
        assert 150 < first.count(CANARY) < 250
        assert {(await ask(service, name, version=SERVED)).version for name in names[:50]} == {SERVED}
    for row in logged(tmp_path):
        bias = 1.0 if row["model_version"] == CANARY else 0.0
        assert row["probability"] == pytest.approx(small_model.probability(bias, ROW), rel=1e-5)
        assert not row["shadow"]


@pytest.mark.parametrize("mode", ["shadow", "split"])
async def test_what_a_canary_refuses_fails_no_request_and_is_counted(mode, models, troubled, tmp_path) -> None:
    async with trying(tmp_path, models[0.0], troubled["green"], mode, share=0.99) as service:
        for number in range(10):
            assert (await ask(service, f"r{number}", GREEN)).outputs["probability"].size == 1
        await until(lambda: outcomes(service).get("failed", 0) >= (10 if mode == "shadow" else 3))
    record = canary_record.read(tmp_path / "payloads", CANARY)
    # In a split, clients are spared what has failed three times in a row.
    assert record.failed == (10 if mode == "shadow" else 3)
    assert "not green" in record.failure
    assert [row["model_version"] for row in logged(tmp_path)] == [SERVED] * 10


async def test_clients_of_a_split_are_spared_for_a_while_only(models, troubled, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(canary_version, "_SPARED_SECONDS", 0.0)  # the while is over at once
    async with trying(tmp_path, models[0.0], troubled["green"], "split", share=0.99) as service:
        for number in range(5):
            assert (await ask(service, f"r{number}", GREEN)).version == SERVED
        assert (await ask(service, "r0")).version == CANARY
    assert canary_record.read(tmp_path / "payloads", CANARY).failed == 5


async def test_a_request_that_no_version_can_answer_is_not_held_against_one(troubled, tmp_path) -> None:
    async with trying(tmp_path, troubled["green"], troubled["green"], "split", share=0.99) as service:
        for number in range(5):
            with pytest.raises(UnprocessableError):
                await ask(service, f"r{number}", GREEN)
    assert canary_record.read(tmp_path / "payloads", CANARY).failed == 0


@pytest.mark.parametrize("mode", ["shadow", "split"])
async def test_a_canary_that_is_slow_holds_nobody_up(mode, models, troubled, tmp_path) -> None:
    changes = {"share": 0.99, "answer_seconds": 0.05, "queue_rows": 2}
    async with trying(tmp_path, models[0.0], troubled["slow"], mode, **changes) as service:
        versions = {(await ask(service, f"r{number}", GREEN)).version for number in range(6)}
        assert versions == {SERVED}
        await until(lambda: sum(outcomes(service).values()) == 6)
        assert outcomes(service)["dropped"] >= 1
    record = canary_record.read(tmp_path / "payloads", CANARY)
    assert (record.answered, record.failed + record.dropped_rows) == (0, 6)
    assert "within 0.05 s" in record.failure


async def test_a_canary_that_does_not_load_or_fit_is_only_recorded(models, half_plus_three, tmp_path) -> None:
    async def scenario(folder: Path, canary: Path) -> str:
        async with trying(folder, models[0.0], None, "shadow") as service:
            push(canary, folder / "models-canary", CANARY)
            log = folder / "payloads"
            async with asyncio.timeout(60):
                while not canary_record.read(log, CANARY).does_not_load:
                    assert (await ask(service, "r")).version == SERVED
                    await asyncio.sleep(0.05)
        return canary_record.read(log, CANARY).does_not_load

    bad = shutil.copytree(models[1.0], tmp_path / "bad")
    small_model.cut_short(bad)
    assert "cannot be loaded" in await scenario(tmp_path / "damaged", bad)
    assert "takes x, which requests do not have" in await scenario(tmp_path / "unfit", half_plus_three)


async def test_a_canary_that_predicts_something_else_is_only_recorded(of_tasks, models, tmp_path) -> None:
    async def scenario(folder: Path, served: Path, canary: Path) -> str:
        async with trying(folder, served, canary, "split", share=0.99) as service:
            assert (await ask(service, "r")).version == SERVED
        return canary_record.read(folder / "payloads", CANARY).does_not_load

    one, other, third = small_model.CLASSES
    contract = small_model.contract_of("multiclass")
    renamed = {**contract, "target": {**contract["target"], "classes": [other, one, third]}}
    reordered = push(of_tasks["multiclass"], tmp_path, 1, renamed)
    said = await scenario(tmp_path / "classes", of_tasks["multiclass"], reordered)
    assert f"probabilities of {other}, {one}, {third}, and version {SERVED} the probabilities of {one}," in said
    said = await scenario(tmp_path / "task", of_tasks["regression"], models[0.0])
    assert said == f"It does not give value, as version {SERVED} does."


async def test_a_shadow_is_logged_with_its_own_class(of_tasks, tmp_path) -> None:
    surer = small_model.write(tmp_path / "model", 3.0, task="multiclass")
    async with trying(tmp_path, of_tasks["multiclass"], surer, "shadow") as service:
        await ask(service, "r", GREEN)
        await until(lambda: outcomes(service).get("answered") == 1)
    answers = {row["model_version"]: row for row in logged(tmp_path)}
    for version, bias in ((SERVED, 0.0), (CANARY, 3.0)):
        assert answers[version]["class"] == small_model.class_of(bias, GREEN)
        assert answers[version]["probabilities"] == pytest.approx(small_model.probabilities(bias, GREEN), rel=1e-5)
    assert answers[SERVED]["class"] != answers[CANARY]["class"]


@pytest.mark.parametrize("mode", ["shadow", "split"])
async def test_a_promotion_while_requests_come_drops_none_and_ends_the_canary(mode, models, tmp_path) -> None:
    async with trying(tmp_path, models[0.0], models[1.0], mode, share=0.5) as service:
        async with asking(functools.partial(ask, service), {SERVED: 0.0, CANARY: 1.0, 60: 1.0}) as seen:
            await until(lambda: len(seen) > 50)
            push(models[1.0], tmp_path / "models", 60)
            shutil.rmtree(tmp_path / "models-canary" / str(CANARY))
            await until(lambda: seen[-1:] == [60] and metric(service, "canary_version") == 0)
            count = len(seen)
            await until(lambda: len(seen) > count + 50)
        assert set(seen[count:]) == {60}
        assert service.versions.current == 60


async def test_only_the_newest_canary_is_loaded(models, tmp_path) -> None:
    push(models[-1.0], tmp_path / "models-canary", 40)
    async with trying(tmp_path, models[0.0], models[1.0], "shadow") as service:
        await ask(service, "r")
        await until(lambda: outcomes(service) == {"answered": 1})
        bad = shutil.copytree(models[1.0], tmp_path / "bad")
        small_model.cut_short(bad)
        push(bad, tmp_path / "models-canary", 60)
        await until(lambda: metric(service, "canary_version") == 0)
        assert (await ask(service, "s")).version == SERVED


def test_without_a_payload_log_there_is_no_canary(tmp_path) -> None:
    with pytest.raises(ServingError, match=r"serving\.payloads\.enabled"):
        Service("small", tmp_path, Serving(), None, canaries=tmp_path, canary=Canary(mode="shadow"))


def test_which_ids_fall_to_a_version_is_the_same_on_every_server_and_cast_anew_for_the_next() -> None:
    names = [f"client-{number}" for number in range(10_000)]
    taken = {share: {name for name in names if falls_to(name, CANARY, share)} for share in (0.0, 0.1, 0.5, 1.0)}
    assert (len(taken[0.0]), len(taken[1.0])) == (0, 10_000)
    assert len(taken[0.1]) == pytest.approx(1000, abs=100)
    assert len(taken[0.5]) == pytest.approx(5000, abs=200)
    assert taken[0.1] < taken[0.5]
    # The hash itself, which no start of a process may change.
    assert sorted(taken[0.1])[:3] == ["client-1001", "client-101", "client-1022"]
    again = {name for name in names if falls_to(name, CANARY + 1, 0.5)}
    assert len(again & taken[0.5]) == pytest.approx(2500, abs=200)
