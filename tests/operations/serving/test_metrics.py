"""What Prometheus reads is what happened."""

import numpy as np
import pytest

from operations.serving.metrics import Metrics
from operations.tasks import task_of
from tests.operations.serving import live_server
from tests.operations.serving.small_model import CLASSES, TARGETS

pytestmark = pytest.mark.unit


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return live_server.samples(metrics.exposition()[0].decode())


def test_requests_are_counted_by_protocol_route_and_status() -> None:
    metrics = Metrics()
    for status in (200, 200, 422):
        metrics.answered("v1", "predict", status, 0.003)
    metrics.answered("grpc", "infer", 200, 3.0)
    seen = samples(metrics)
    assert seen["requests_total", "200", "predict", "v1"] == 2
    assert seen["requests_total", "422", "predict", "v1"] == 1
    assert seen["request_seconds_bucket", "0.005", "predict", "v1"] == 3
    assert seen["request_seconds_count", "grpc", "infer"] == 1
    assert seen["request_seconds_bucket", "2.0", "grpc", "infer"] == 0


def test_predictions_are_counted_as_prometheus_counts_them() -> None:
    metrics = Metrics((0.25, 0.5, 1.0))
    values = np.array([[0.25], [0.3], [0.5], [0.75], [2.0], [np.nan]], np.float32)
    metrics.predictions.observe(7, task_of(None), {"probability": values, "label": np.array([b"x"], object)})
    metrics.predictions.observe(7, task_of(None), {"probability": values[:1]})
    metrics.predictions.observe(8, task_of(None), {"probability": values[:1]})
    seen = samples(metrics)
    buckets = [seen["prediction_bucket", *sorted((bound, "probability", "7"))] for bound in ("0.25", "0.5", "1.0")]
    assert buckets == [2, 4, 5]
    assert seen["prediction_count", "7", "probability"] == 7
    assert seen["prediction_sum", "7", "probability"] == pytest.approx(4.05)
    assert seen["prediction_count", "8", "probability"] == 1
    metrics.predictions.forget(7)
    assert ("prediction_count", "7", "probability") not in samples(metrics)


def test_versions_of_other_tasks_are_counted_by_their_own_bounds() -> None:
    metrics = Metrics()
    probabilities = np.array([[0.1, 0.2, 0.7], [0.2, 0.2, 0.6], [0.8, 0.1, 0.1]], np.float32)
    delays = np.array([[-3.0], [0.0], [99.0]], np.float32)
    multiclass, regression = task_of(TARGETS["multiclass"]), task_of(TARGETS["regression"], [-5.0, 0.0, 12.5])
    metrics.predictions.observe(1, task_of(None), {"probability": delays})
    metrics.predictions.observe(2, multiclass, multiclass.named({"probabilities": probabilities}))
    metrics.predictions.observe(3, regression, {"value": delays})
    seen = samples(metrics)
    early, largest = f"probabilities/{CLASSES[0]}", f"probabilities/{CLASSES[2]}"
    assert (seen["prediction_count", "2", early], seen["prediction_count", "2", largest]) == (1, 2)
    assert [seen["prediction_bucket", *sorted((bound, largest, "2"))] for bound in ("0.6", "0.75")] == [0, 2]
    bounds = ("-5.0", "0.0", "12.5", "+Inf")
    assert [seen["prediction_bucket", *sorted((bound, "value", "3"))] for bound in bounds] == [0, 2, 2, 3]
    assert seen["prediction_bucket", *sorted(("0.05", "probability", "1"))] == 2


def test_what_to_alert_on_is_there_before_it_happens() -> None:
    seen = samples(Metrics())
    assert seen["version_load_failures_total",] == 0
    assert seen["payload_rows_total", "dropped"] == seen["payload_rows_total", "failed"] == 0
