"""A live server of a small real model, started once; the toy model of TensorFlow Serving's documentation."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.operations.serving import small_model
from tests.operations.serving.live_server import LiveServer, serving


@pytest.fixture
def anyio_backend() -> str:
    """Tests that are coroutines run on the event loop of the service."""
    return "asyncio"


@pytest.fixture(scope="session")
def half_plus_three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with one input: y = x / 2 + 3."""
    import tensorflow as tf

    module, folder = tf.Module(), tmp_path_factory.mktemp("half_plus_three")
    module.a, module.b = tf.Variable(0.5), tf.Variable(3.0)
    predict = tf.function(lambda x: {"y": module.a * x + module.b})
    signature = predict.get_concrete_function(x=tf.TensorSpec([None], tf.float32, name="x"))
    tf.saved_model.save(module, str(folder), signatures={"predict_raw": signature})
    return folder


@pytest.fixture(scope="session")
def shop(models: dict[float, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A live server of the small model with the bias 0, as version 7, under low limits."""
    folder = tmp_path_factory.mktemp("shop")
    small_model.push(models[0.0], folder / "versions", 7)
    limits = {"max_body_bytes": 200_000, "max_rows": 1000}
    with serving(folder / "versions", "shop", folder / "log", "--payloads", str(folder / "payloads"), **limits) as live:
        yield live


@pytest.fixture(scope="session")
def client(shop: LiveServer) -> Iterator[httpx.Client]:
    with shop.client() as client:
        yield client
