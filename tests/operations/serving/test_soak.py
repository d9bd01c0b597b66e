"""Versions pushed under load, some corrupt: what the soak finds in half a minute, and that it finds what is wrong."""

from pathlib import Path

import numpy as np
import orjson
import pytest

from operations.serving.load import Answered
from operations.serving.settings import Serving

ROWS = [
    {"amount": np.float32(3 * number), "count": number, "colour": ("red", "green", None, "blue")[number % 4]}
    for number in range(300)
]


@pytest.mark.e2e
def test_no_request_fails_while_versions_are_pushed_and_rolled_back(models: dict[float, Path]) -> None:
    from benchmarks.soak import soak

    settings = Serving(poll_seconds=0.2)
    result = soak(models[1.0], ROWS, settings, seconds=30, every=2, swap_seconds=20)
    assert result.problems == ()
    assert result.failed == 0
    assert result.requests > 100
    assert (result.pushes, result.rollbacks, result.corrupt) == (6, 2, 4)
    assert result.swapped >= 3
    assert result.logged_rows > result.requests


def watching(folder: Path, swap_seconds: float, *pushes: tuple):
    """Watches models that answer 0.25 and 0.75, pushed as versions of a kind at some seconds."""
    from benchmarks.soak import Push, _Registry, _Watch

    registry = _Registry(folder / "versions", [])
    registry.pushes = [Push(*push) for push in pushes]
    return _Watch(registry, [[np.array([0.25])], [np.array([0.75])]], swap_seconds=swap_seconds)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("version", "asked", "values", "says"),
    [
        (1, 1.0, [0.25], None),
        (3, 11.0, [0.75], None),
        (3, 11.0, [0.25], "not its own"),
        (3, 11.0, [0.75, 0.75], "not its own"),
        (2, 11.0, [0.75], "Version 2 answered, which cannot"),
        (7, 11.0, [0.75], "Version 7 answered, which cannot"),
        (1, 16.0, [0.25], "6.0 s after version 3 came"),
    ],
)
def test_every_answer_is_judged(tmp_path, version, asked, values, says) -> None:
    pushes = (1, "good", 0, 0.0), (2, "truncated", None, 5.0), (3, "rollback", 1, 10.0)
    watch = watching(tmp_path, 5.0, *pushes)
    content = orjson.dumps({"predictions": [[value] for value in values]})
    judged = watch.judge(Answered(0, 0, asked, asked + 0.1, {"x-model-version": str(version)}, content))
    assert judged is None if says is None else says in (judged or "")


@pytest.mark.unit
def test_a_client_must_not_go_back_to_an_older_version(tmp_path) -> None:
    watch = watching(tmp_path, 60.0, (1, "good", 0, 0.0), (2, "good", 0, 5.0))

    def judged(client: int, version: int) -> str | None:
        headers = {"x-model-version": str(version)}
        return watch.judge(Answered(client, 0, 6.0, 6.1, headers, b'{"predictions": [[0.25]]}'))

    assert judged(0, 2) is None
    assert judged(1, 1) is None
    assert "had seen version 2" in (judged(0, 1) or "")
