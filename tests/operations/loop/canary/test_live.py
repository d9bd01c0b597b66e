"""A live server, requests without a pause, and a worse and a good canary: nothing fails meanwhile."""

import contextlib
import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from operations.loop.canary.act import look
from operations.loop.canary.judgement import Verdict
from tests.operations.loop.canary.traffic import label
from tests.operations.serving import small_model
from tests.operations.serving.live_server import LiveServer, samples, serving, wait_for
from tests.operations.test_registry import Factory

pytestmark = pytest.mark.component
SERVED = 3
WORSE = 3.0  # added to the logit of each answer


class Live(Factory):
    """A workspace whose models are real, and labels that one of them, with the bias 0, knows the odds of."""

    def __init__(self, workspace: Path, mode: str) -> None:
        wanted = {"mode": mode, "rows": 400, "labels": 400, "share": 0.4, "prediction_distance": 0.9}
        # With so many labels, the worse version loses 0.5 and at least 0.15, and one that is as good at most 0.05,
        # whichever requests they answered.
        wanted |= {"may_lose": 0.1}
        # Where others keep the processor busy, a late answer is no fault of the version.
        wanted |= {"answer_seconds": 20.0}
        super().__init__(workspace, *(f"canary.{name}={value}" for name, value in wanted.items()))
        self.random = np.random.default_rng(1)
        self.rows: dict[str, dict] = {}
        self.versions: dict[str, int] = {}
        self.failures: list[str] = []
        self.labelled: set[str] = set()
        self.done = threading.Event()

    def learn(self, run: str, source: Path, version: int, canary: bool) -> int:
        """A run whose model is a copy of a real one, and pushed."""
        self.source = source
        model = self.train(run)
        self.push(run, model, version, canary)
        return model

    def write_model(self, folder: Path, run: str) -> None:
        small_model.push(self.source, folder.parent, folder.name)

    @contextlib.contextmanager
    def served(self) -> Iterator[LiveServer]:
        """A server, and four clients that ask it without a pause until the block ends."""
        limits = {"poll_seconds": 0.2, "payloads": {"rotate_seconds": 0.5}}
        more = ("--payloads", self.settings.payloads, "--canaries", self.settings.canaries)
        canary = self.settings.canary.model_dump_json()
        log = self.workspace / "log"
        with serving(Path(self.settings.pushed), "small", log, *more, "--canary", canary, **limits) as server:
            clients = [threading.Thread(target=self._ask_on, args=(server.url, number)) for number in range(4)]
            for client in clients:
                client.start()
            try:
                yield server
            finally:
                self.done.set()
                for client in clients:
                    client.join()

    def _ask_on(self, url: str, client: int) -> None:
        random, types = np.random.default_rng(client), {"amount": "FP32", "count": "INT64", "colour": "BYTES"}
        with httpx.Client(base_url=url, timeout=60) as session:
            for number in itertools.takewhile(lambda _: not self.done.wait(0.002), itertools.count()):
                row = {"amount": float(random.uniform(-200, 200)), "count": int(random.integers(1000)), "colour": "red"}
                columns = [
                    {"name": name, "datatype": types[name], "shape": [1, 1], "data": [row[name]]} for name in row
                ]
                name = f"{client}-{number}"
                answer = session.post("/v2/models/small/infer", json={"id": name, "inputs": columns})
                if answer.status_code == 200:
                    self.rows[name], self.versions[name] = row, int(answer.json()["model_version"])
                else:
                    self.failures.append(answer.text)

    def asks_with(self, canary: int, server: LiveServer) -> None:
        """Waits until enough was asked for a verdict since the service has loaded a canary."""
        wait_for(lambda: samples(httpx.get(f"{server.url}/metrics").text)[("canary_version",)] == canary)
        begun = len(self.rows)
        wait_for(lambda: len(self.rows) > begun + 1200)

    def labels_arrive(self, span: int) -> None:
        fresh = [name for name in list(self.rows) if name not in self.labelled]
        odds = [small_model.probability(0.0, self.rows[name]) for name in fresh]
        label(Path(self.settings.spans), span, fresh, (self.random.random(len(fresh)) < odds).astype(int))
        self.labelled |= set(fresh)

    def verdict(self) -> Verdict | None:
        """The verdict on the canary, at level 2; None while more is needed."""
        canary = self.registry().canary()
        if canary is None:
            return None
        verdict = look(self.settings, self.store, canary, datetime.now(UTC), 2, lambda alert: None)
        return verdict if verdict.action != "wait" else None


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> dict[float, Path]:
    folder = tmp_path_factory.mktemp("biased")
    return {bias: small_model.write(folder / str(index), bias) for index, bias in enumerate((0.0, WORSE))}


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_a_worse_version_is_rejected_and_a_good_one_promoted_while_every_request_is_answered(mode, biased, tmp_path):
    live = Live(tmp_path / "workspace", mode)
    live.learn("three", biased[0.0], SERVED, canary=False)
    worse, good = 50, 60
    with live.served() as server:
        live.learn("worse", biased[WORSE], worse, canary=True)
        live.asks_with(worse, server)
        live.labels_arrive(1)
        rejected = wait_for(live.verdict)
        model = live.learn("good", biased[0.0], good, canary=True)
        live.asks_with(good, server)
        live.labels_arrive(2)
        promoted = wait_for(live.verdict)
        change = live.registry().served()
        wait_for(lambda: change.number in live.versions.values())
        asked_at_the_end = f"{server.url}/v1/models/small/versions/{change.number}"
        assert httpx.get(asked_at_the_end).status_code == 200

    assert live.failures == []
    assert (rejected.canary, rejected.action) == (worse, "reject")
    assert "all of it beyond" in rejected.text
    assert (promoted.canary, promoted.action, promoted.numbers["failed"]) == (good, "promote", 0)
    assert promoted.numbers["labelled"] >= 400
    assert (change.model_id, live.registry().canary()) == (model, None)
    answered = set(live.versions.values())
    assert answered == {SERVED, change.number} | ({worse, good} if mode == "split" else set())
