"""A live server, requests without a pause, and a worse and a good canary: nothing fails meanwhile."""

import contextlib
import shutil
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
from tests.operations.serving.live_server import LiveServer, serving, wait_for
from tests.operations.test_registry import Factory

pytestmark = pytest.mark.component
SERVED = 3


class Live(Factory):
    """A workspace whose models are real, and labels that one of them, with the bias 0, knows the odds of."""

    def __init__(self, workspace: Path, mode: str) -> None:
        wanted = {"mode": mode, "rows": 300, "labels": 200, "share": 0.4, "prediction_distance": 0.9}
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
        """A run whose model is a copy of a real one."""
        model = self.train(run)
        saved = self.workspace / "artifacts" / "Trainer" / "model" / run / "Format-Serving"
        shutil.rmtree(saved)
        shutil.copytree(source, saved)
        folder = Path(self.settings.canaries if canary else self.settings.pushed)
        small_model.push(saved, folder, version)
        told = {"pushed": 1, "pushed_version": str(version), "pushed_destination": str(folder / str(version))}
        self.execute("Pusher", run, {"model": model}, {"pushed_model": self.artifact("PushedModel", "", 2, **told)})
        return model

    @contextlib.contextmanager
    def served(self) -> Iterator[LiveServer]:
        """A server, and four clients that ask it without a pause until the block ends."""
        limits = {"poll_seconds": 0.2, "payloads": {"rotate_seconds": 0.5}}
        more = ("--payloads", self.settings.payloads, "--canaries", self.settings.canaries)
        canary = self.settings.canary.model_dump_json()
        log = self.workspace / "log"
        with serving(Path(self.settings.pushed), "small", log, *more, "--canary", canary, **limits) as server:
            clients = [threading.Thread(target=self._ask_on, args=(server.url, each)) for each in range(4)]
            for each in clients:
                each.start()
            try:
                yield server
            finally:
                self.done.set()
                for each in clients:
                    each.join()

    def _ask_on(self, url: str, client: int) -> None:
        random = np.random.default_rng(client)
        with httpx.Client(base_url=url, timeout=60) as session:
            number = 0
            while not self.done.wait(0.002):
                row = {"amount": float(random.uniform(-200, 200)), "count": int(random.integers(1000)), "colour": "red"}
                self.ask(session, f"{client}-{number}", row)
                number += 1

    def ask(self, session: httpx.Client, name: str, row: dict) -> int:
        types = {"amount": "FP32", "count": "INT64", "colour": "BYTES"}
        inputs = [
            {"name": each, "datatype": types[each], "shape": [1, 1], "data": [value]} for each, value in row.items()
        ]
        answer = session.post("/v2/models/small/infer", json={"id": name, "inputs": inputs})
        if answer.status_code != 200:
            self.failures.append(answer.text)
            return 0
        self.rows[name] = row
        self.versions[name] = int(answer.json()["model_version"])
        return self.versions[name]

    def labels_arrive(self, span: int) -> None:
        """The truth about what was asked since the last time."""
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
    return {bias: small_model.write(folder / str(index), bias) for index, bias in enumerate((0.0, 1.5))}


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_a_worse_version_is_rejected_and_a_good_one_promoted_while_every_request_is_answered(mode, biased, tmp_path):
    live = Live(tmp_path / "workspace", mode)
    live.learn("three", biased[0.0], SERVED, canary=False)
    worse, good = 50, 60
    with live.served() as server:
        live.learn("worse", biased[1.5], worse, canary=True)
        wait_for(lambda: len(live.rows) > 1200)
        live.labels_arrive(1)
        rejected = wait_for(live.verdict)
        model = live.learn("good", biased[0.0], good, canary=True)
        begun = len(live.rows)
        wait_for(lambda: len(live.rows) > begun + 1200)
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
    assert promoted.numbers["labelled"] >= 200
    assert (change.model_id, live.registry().canary()) == (model, None)
    answered = set(live.versions.values())
    assert answered == {SERVED, change.number} | ({worse, good} if mode == "split" else set())
