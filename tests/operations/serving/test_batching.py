"""Requests that wait together are answered together, each with its own rows."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from operations.inference.errors import NotReadyError, UnprocessableError
from operations.serving.batching import Batcher

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Doubling:
    """A model that doubles, refuses negative values, and can be held up."""

    version = 7

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def predict(self, columns: dict[str, np.ndarray], signature: str) -> dict[str, np.ndarray]:
        self.entered.set()
        assert self.go.wait(30)
        self.calls.append(len(columns["x"]))
        if (columns["x"] < 0).any():
            raise UnprocessableError("negative", "x")
        return {"y": columns["x"] * 2}


def ask(batcher: Batcher, model: Any, *values: float, signature: str = "raw") -> asyncio.Task:
    columns = {"x": np.array(values).reshape(-1, 1)}
    return asyncio.ensure_future(batcher.run(model, signature, columns, len(values)))


async def held(batcher: Batcher, model: Doubling) -> asyncio.Task:
    """A request that is being computed until `model.go` is set."""
    model.go.clear()
    model.entered.clear()
    task = ask(batcher, model, 0)
    await asyncio.to_thread(model.entered.wait, 30)
    return task


async def released(model: Doubling, tasks: list[asyncio.Task]) -> list[Any]:
    """The answers to what waits, and the errors, once the model goes on."""
    await asyncio.sleep(0)
    model.go.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_waits_is_answered_by_one_call_and_each_gets_its_own_rows() -> None:
    model = Doubling()
    seen: list[int] = []
    batcher = Batcher(100, 0, 1000, lambda model, rows, outputs: seen.append(rows))
    tasks = [await held(batcher, model), ask(batcher, model, 1, 2), ask(batcher, model, 3), ask(batcher, model, 4)]
    await asyncio.sleep(0)
    assert batcher.waiting_rows == 5
    answers = await released(model, tasks)
    assert [answer["y"].ravel().tolist() for answer in answers] == [[0], [2, 4], [6], [8]]
    assert model.calls == seen == [1, 4]
    assert batcher.waiting_rows == 0
    await batcher.stop()


async def test_a_batch_is_no_larger_than_allowed_and_a_large_request_goes_alone() -> None:
    model = Doubling()
    batcher = Batcher(4, 0, 1000)
    tasks = [await held(batcher, model), *(ask(batcher, model, *range(rows)) for rows in (3, 1, 2, 9, 1))]
    answers = await released(model, tasks)
    assert [len(answer["y"]) for answer in answers] == [1, 3, 1, 2, 9, 1]
    assert model.calls == [1, 4, 2, 9, 1]
    await batcher.stop()


async def test_different_models_and_signatures_are_not_joined() -> None:
    model, other = Doubling(), Doubling()
    batcher = Batcher(100, 0, 1000)
    tasks = [await held(batcher, model), ask(batcher, model, 1), ask(batcher, other, 2)]
    tasks += [ask(batcher, other, 3, signature="examples"), ask(batcher, other, 4, signature="examples")]
    await released(model, tasks)
    assert (model.calls, other.calls) == ([1, 1], [1, 2])
    await batcher.stop()


async def test_a_delay_lets_a_request_wait_for_company() -> None:
    model = Doubling()
    batcher = Batcher(2, 30.0, 1000)
    first = ask(batcher, model, 1)
    await asyncio.sleep(0.05)
    assert not first.done()
    await asyncio.wait_for(asyncio.gather(first, ask(batcher, model, 2)), 20)
    assert model.calls == [2]
    await batcher.stop()


async def test_a_request_that_the_model_refuses_does_not_spoil_its_neighbours() -> None:
    model, batcher = Doubling(), Batcher(100, 0, 1000)
    tasks = [await held(batcher, model), ask(batcher, model, 1), ask(batcher, model, -1), ask(batcher, model, 2)]
    answers = await released(model, tasks)
    assert isinstance(answers[2], UnprocessableError)
    assert [answers[index]["y"].item() for index in (0, 1, 3)] == [0, 2, 4]
    await batcher.stop()


async def test_more_than_may_wait_is_refused_and_one_who_hangs_up_is_not_computed() -> None:
    model = Doubling()
    batcher = Batcher(100, 0, 5)
    first, second = await held(batcher, model), ask(batcher, model, 1, 2)
    await asyncio.sleep(0)
    with pytest.raises(NotReadyError, match="3 rows wait already"):
        await ask(batcher, model, 1, 2, 3)
    second.cancel()
    third = ask(batcher, model, 7)
    await asyncio.sleep(0)
    model.go.set()
    await asyncio.gather(first, third)
    assert model.calls == [1, 1]
    assert batcher.waiting_rows == 0
    # Nothing else waits: even what is larger than the queue is taken.
    assert len((await ask(batcher, model, *range(9)))["y"]) == 9
    await batcher.stop()


async def test_the_end_answers_what_was_asked_before_and_nothing_after() -> None:
    model, batcher = Doubling(), Batcher(100, 0, 1000)
    tasks = [await held(batcher, model), ask(batcher, model, 1)]
    await asyncio.sleep(0)
    stopping = asyncio.ensure_future(batcher.stop())
    await asyncio.sleep(0)
    with pytest.raises(NotReadyError):
        await ask(batcher, model, 2)
    model.go.set()
    await stopping
    assert [answer["y"].item() for answer in await asyncio.gather(*tasks)] == [0, 2]
    await batcher.stop()
