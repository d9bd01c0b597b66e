"""What is measured is what clients see, and the plan follows from it."""

import http.server
import json
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

from operations.serving import bench, load
from operations.serving.bench import Bench, BenchError, Level
from tests import forked
from tests.operations.serving.small_model import push


def level(rows: int, clients: int, rate: float, p99: float = 10.0, cpu: float = 1.0, failed: int = 0) -> Level:
    return Level(rows, clients, rate, p99 / 2, p99, p99, cpu, 0.7, failed, ())


def measured(*levels: Level) -> Bench:
    return Bench(1, 2, 500.0, (), levels)


@pytest.mark.unit
def test_a_plan_rounds_services_and_nodes_up_and_prices_whole_nodes() -> None:
    seen = measured(level(1, 1, 300), level(1, 8, 1000, cpu=1.5), level(64, 8, 400, cpu=3.0))
    one, many = bench.plan(seen, load=3000, margin=0.3, cores_per_node=4, price_per_core_hour=0.05)
    assert (one.rows, one.clients, one.wanted, one.per_replica) == (1, 8, 3900, 1000)
    assert one.cores_per_replica == pytest.approx(1.5)
    assert (one.replicas, one.replicas_per_node, one.nodes) == (4, 2, 2)
    assert one.cost_per_month == pytest.approx(2 * 4 * 0.05 * 730)
    # 400 requests at 3 ms keep 1.2 cores busy: three on a node.
    assert (many.replicas, many.replicas_per_node, many.nodes) == (10, 3, 4)


@pytest.mark.unit
def test_a_plan_counts_only_with_levels_that_are_fast_enough_and_without_errors() -> None:
    seen = measured(level(1, 1, 300, p99=4), level(1, 8, 800, p99=20), level(1, 16, 900, p99=60, failed=1))
    assert bench.plan(seen, 1000, 0, 4)[0].per_replica == 800
    assert bench.plan(seen, 1000, 0, 4, p99_ms=5)[0].per_replica == 300
    with pytest.raises(
        BenchError, match="With 1 rows per request, nothing was measured without errors and with a p99 of at most 1 ms"
    ):
        bench.plan(seen, 1000, 0, 4, p99_ms=1)


@pytest.mark.unit
def test_a_plan_knows_small_nodes_spare_services_and_no_price() -> None:
    seen = measured(level(1, 8, 1000, cpu=2.0))
    (small,) = bench.plan(seen, 900, 0, cores_per_node=1)
    assert (small.per_replica, small.replicas, small.nodes) == (500, 2, 2)
    (spare,) = bench.plan(seen, 10, 0, cores_per_node=4, at_least=2)
    assert (spare.replicas, spare.nodes, spare.cost_per_month) == (2, 1, None)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("arguments", "says"),
    [((0, 0.3, 4), "load"), ((1, -0.1, 4), "margin"), ((1, 0.3, 0), "cores"), ((float("nan"), 0.3, 4), "load"),
     ((1, 0.3, 4, -1), "price")],
)  # fmt: skip
def test_numbers_that_make_no_plan_are_refused(arguments: tuple, says: str) -> None:
    with pytest.raises(BenchError, match=says):
        bench.plan(measured(level(1, 1, 10)), *arguments)


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the body in capital letters, and "bad" with an error."""

    protocol_version = "HTTP/1.1"
    posted: list[bytes]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.posted.append(body)
        status, answer = (500, b"no") if body == b"bad" else (200, body.upper())
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.mark.unit
def test_a_load_counts_what_was_answered_and_what_was_not() -> None:
    import asyncio

    Answers.posted = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"

    def check(answer: load.Answered) -> str | None:
        assert 0 <= answer.client < 3
        return None if answer.content == (b"A", b"B", b"BAD")[answer.body] else "wrong"

    seen = asyncio.run(load.drive(url, [b"a", b"b"], 3, 0.3, check))
    assert seen.failed == 0
    assert len(seen.milliseconds) == len(Answers.posted) > 3
    assert set(Answers.posted) == {b"a", b"b"}
    assert seen.requests_per_second == pytest.approx(len(seen.milliseconds) / seen.seconds)
    assert 0 < seen.percentile(50) <= seen.percentile(99) <= seen.milliseconds.max()
    seen = asyncio.run(load.drive(url, [b"a", b"b", b"bad"], 1, 0.3, check))
    assert 0 < seen.failed <= len(Answers.posted) // 3
    assert seen.errors[0] == "HTTP 500: b'no'"
    server.shutdown()
    server.server_close()
    nobody = asyncio.run(load.drive(url, [b"a"], 1, 0.1, check))
    assert nobody.failed > 0
    assert np.isnan(nobody.percentile(50))


@pytest.fixture(scope="module")
def workspace(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with spans and with a model that takes columns of their names."""
    import tensorflow as tf

    from data.prepare import slice_spans

    folder = tmp_path_factory.mktemp("bench")
    slice_spans(prepared, folder / "spans", 500, [1, 2])
    kinds = {"carrier": tf.string, "distance": tf.float32, "day_of_week": tf.int64, "wind_gust": tf.float32}
    score = tf.function(lambda distance, **_: {"probability": tf.sigmoid(distance * 1e-3)})
    score = score.get_concrete_function(**{name: tf.TensorSpec([None, 1], kind, name) for name, kind in kinds.items()})
    tf.saved_model.save(tf.Module(), str(folder / "model"), signatures={"predict_raw": score})
    distance = {"name": "distance", "required": True, "range": [0, 9999]}
    contract = {"columns": [{"name": "carrier", "required": True}, distance]}
    push(folder / "model", folder / "models" / "late-flights", 7, contract)
    return folder


def flightdeck(workspace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return forked.run("flightdeck", "serve", "bench", "--set", f"workspace={workspace}", *arguments)


@pytest.mark.e2e
def test_the_command_measures_real_rows_and_plans_for_a_load(workspace: Path) -> None:
    done = flightdeck(
        workspace, "--clients", "1", "--clients", "4", "--batch", "1", "--batch", "16", "--seconds", "0.5",
        "--load", "100000", "--price-per-core-hour", "0.04", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["version"] == 7
    assert [(row["rows"], row["clients"]) for row in document["levels"]] == [(1, 1), (1, 4), (16, 1), (16, 4)]
    in_process = {bare["rows"]: bare["calls_per_second"] for bare in document["bare"]}
    for row in document["levels"]:
        assert row["failed"] == 0
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
        assert row["cpu_ms"] > 0
        assert row["unchecked_per_second"] > 0
        assert row["of_bare"] == pytest.approx(row["requests_per_second"] / in_process[row["rows"]])
    for plan in document["plans"]:
        assert plan["replicas"] * plan["per_replica"] >= 130_000
        assert plan["nodes"] * plan["replicas_per_node"] >= plan["replicas"]
        assert plan["cost_per_month"] == pytest.approx(plan["nodes"] * 4 * 0.04 * 730)
    # What was measured is not taken for demand.
    assert not (workspace / "payloads").exists()


@pytest.mark.e2e
def test_what_cannot_be_measured_is_one_sentence(workspace: Path, tmp_path: Path) -> None:
    nothing = flightdeck(tmp_path)
    assert (nothing.returncode, nothing.stderr.count("\n")) == (2, 1)
    assert "There are no spans in" in nothing.stderr
    push(workspace / "model", tmp_path, 1, {"columns": 3})
    broken = flightdeck(workspace, "--set", f"push.destination={tmp_path}")
    assert (broken.returncode, broken.stderr.count("cannot be measured:")) == (2, 1), broken.stderr
    unserved = flightdeck(workspace, "--set", f"push.destination={tmp_path}/none")
    assert unserved.returncode == 2
    assert "There is no folder of models" in unserved.stderr
