"""What answers and labels say, with intervals that mean what they say."""

import numpy as np
import pytest
from sklearn import metrics

from operations.monitoring import model_signals
from operations.monitoring.settings import Monitoring
from operations.tasks import METRICS
from tests.operations.monitoring.worlds import TASKS, World, backwards, shuffled, world

pytestmark = pytest.mark.unit
SETTINGS = Monitoring()
BINARY = TASKS["binary"]


def answers(rows: int, seed: int, slope: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels that are as likely as the scores say when the slope is 3, and less well sorted when it is lower."""
    random = np.random.default_rng(seed)
    hidden = random.normal(size=rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-3 * hidden))).astype(float)
    return labels, 1 / (1 + np.exp(-(slope * hidden + random.normal(size=rows) * (3 - slope))))


def quality(labels, scores, expected):
    return {signal.name: signal for signal in model_signals.quality(BINARY, labels, scores, {}, expected, SETTINGS)}


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("auc", metrics.roc_auc_score),
        ("log_loss", metrics.log_loss),
        ("calibration", lambda labels, scores: scores.mean() / labels.mean()),
    ],
)
def test_nineteen_of_twenty_intervals_hold_the_truth(name, truth):
    labels, scores = answers(400_000, 2)
    assert model_signals.interval(name, labels, scores)[0] == pytest.approx(truth(labels, scores), abs=1e-6)
    value, held = truth(labels, scores), 0
    for start in range(0, 400_000, 4000):
        part = slice(start, start + 4000)
        _, low, high = model_signals.interval(name, labels[part], scores[part], seed=start)
        held += low <= value <= high

    assert 88 <= held <= 100


def test_a_model_as_good_as_expected_is_not_exceeded_and_a_worse_one_or_labels_turned_round_are():
    labels, scores = answers(5000, 3)
    expected = {"auc": metrics.roc_auc_score(labels, scores), "log_loss": metrics.log_loss(labels, scores)}
    good = quality(*answers(5000, 4), expected)
    worse = quality(*answers(5000, 4, slope=1.0), expected)

    assert not any(signal.exceeded for signal in good.values())
    assert worse["auc"].exceeded
    assert worse["log_loss"].exceeded
    assert "at least" in worse["auc"].meaning
    assert "at most" in worse["log_loss"].meaning
    assert quality(1 - labels, scores, expected)["auc"].exceeded


def test_what_chance_explains_is_no_reason():
    labels, scores = answers(1500, 6)
    expected = {"auc": metrics.roc_auc_score(labels, scores) + SETTINGS.auc_may_lose + 0.002}

    auc = quality(labels, scores, expected)["auc"]

    assert auc.value < auc.threshold < auc.high
    assert not auc.exceeded


def test_too_few_labels_say_nothing():
    labels, scores = answers(SETTINGS.fewest_labels - 1, 7)
    measured = quality(labels, scores, {"auc": 0.99})
    one_sided = quality(np.zeros(2000), np.full(2000, 0.5), {"auc": 0.99})

    for signal in (*measured.values(), *one_sided.values()):
        assert signal.value is None
        assert not signal.exceeded
        assert "cannot be told" in signal.meaning


def test_slices_are_measured_and_not_judged():
    labels, scores = answers(4000, 8)
    half = np.arange(4000) < 2000
    measured = model_signals.quality(BINARY, labels, scores, {"origin=A": half}, {"auc": 0.999}, SETTINGS)
    (of_slice,) = [signal for signal in measured if signal.subject == "origin=A" and signal.name == "auc"]

    assert of_slice.value == pytest.approx(metrics.roc_auc_score(labels[half], scores[half]))
    assert of_slice.threshold is None
    assert not of_slice.exceeded


def test_predictions_of_another_shape_are_a_distance():
    random = np.random.default_rng(9)
    reference = random.beta(2, 5, 20_000)
    same = model_signals.prediction_drift(BINARY, random.beta(2, 5, 5000), reference, SETTINGS)
    other = model_signals.prediction_drift(BINARY, random.beta(5, 2, 5000), reference, SETTINGS)

    assert same.value < 0.01
    assert not same.exceeded
    assert other.exceeded
    assert 0 < other.value <= 1


@pytest.mark.parametrize(
    ("rows", "before", "exceeded"),
    [
        (100, [], False),
        (100, [90, 110, 100], False),
        (10, [90, 110, 100], True),
        (600, [100], True),
        (20, [100], False),
    ],
)
def test_traffic_is_compared_with_the_windows_before(rows, before, exceeded):
    assert model_signals.traffic(rows, before, SETTINGS).exceeded is exceeded


@pytest.mark.parametrize(("limit", "exceeded"), [(None, False), (0.5, True), (2.0, False)])
def test_the_slowest_answers_are_compared_with_what_is_asked_of_them(limit, exceeded):
    seconds = np.concatenate([np.full(9800, 0.01), np.full(200, 1.0), [np.nan]])

    measured = model_signals.latency(seconds, SETTINGS.model_copy(update={"latency_p99_seconds": limit}))

    assert measured is not None
    assert (measured.kind, measured.value, measured.threshold) == ("latency", pytest.approx(1.0), limit)
    assert measured.exceeded is exceeded


def test_a_log_without_latencies_says_nothing_of_them():
    assert model_signals.latency(np.array([np.nan, np.nan]), SETTINGS) is None


def told(labels, models, promised=0.9):
    return model_signals.label_reliability(BINARY, labels, models, promised, SETTINGS)


def turned(labels: np.ndarray, share: float) -> np.ndarray:
    return np.where(np.random.default_rng(1).random(len(labels)) < share, 1 - labels, labels)


NOISE = np.random.default_rng(2).random(5000)
LABELS, SCORES = answers(5000, 11)
WEAK_LABELS, WEAK_SCORES = answers(5000, 12, slope=1.2)


@pytest.mark.parametrize(
    ("labels", "models", "promised", "exceeded", "says"),
    [
        *((turned(LABELS, share), {"version 2": SCORES}, 0.9, True, "may mean nothing") for share in (0.4, 0.5, 0.6)),
        pytest.param(WEAK_LABELS, {"version 2": WEAK_SCORES}, 0.8, False, "", id="a worse model still tells them"),
        pytest.param(LABELS, {"version 2": NOISE}, 0.9, True, "version 2", id="no model tells them"),
        pytest.param(
            LABELS, {"version 2": NOISE, "version 1": SCORES}, 0.9, False, "version 1", id="the one before does"
        ),
    ],
)
def test_labels_are_doubted_when_no_model_tells_them(labels, models, promised, exceeded, says):
    signal = told(labels, models, promised)

    assert signal is not None
    assert (signal.kind, signal.subject, signal.exceeded) == ("label", "arrived_late", exceeded)
    assert says in signal.meaning


def test_of_few_labels_or_of_a_model_that_promised_nothing_nobody_doubts():
    assert told(LABELS[:500], {"version 2": SCORES[:500]}) is None
    assert told(np.zeros(5000), {"version 2": SCORES}) is None
    assert told(LABELS, {"version 2": SCORES}, promised=0.5) is None


def of_window(of: World, predictions: np.ndarray, expected: dict[str, float], labels: np.ndarray | None = None):
    labels = of.labels if labels is None else labels
    measured = model_signals.quality(of.task, labels, predictions, {}, expected, SETTINGS)
    return {signal.name: signal for signal in measured}


@pytest.mark.parametrize(
    ("task", "metrics", "says"),
    [
        ("multiclass", ["accuracy", "log_loss", "macro_f1"], "accuracy is 0."),
        ("regression", ["r2", "rmse", "mae"], " minutes ("),
    ],
)
def test_every_task_has_metrics_that_are_compared_with_those_of_its_evaluation(task, metrics, says):
    expected = world(task, 5000, seed=1).expected
    good, worse = (world(task, 5000, noise=1.5, seed=2) for _ in range(2))
    as_good, as_bad = of_window(good, good.good, expected), of_window(worse, worse.noisy, expected)

    assert list(as_good) == metrics
    assert not any(signal.exceeded for signal in as_good.values())
    assert all(signal.exceeded for signal in as_bad.values())
    assert any(says in signal.meaning for signal in as_bad.values())
    for name in metrics:
        bound = "at least" if METRICS[name].better == "higher" else "at most"
        assert f"{bound} {METRICS[name].number(as_bad[name].threshold)} is expected" in as_bad[name].meaning
    slices = {"origin=A": np.arange(5000) < 2000}
    of_slices = model_signals.quality(worse.task, worse.labels, worse.noisy, slices, expected, SETTINGS)[3:]
    assert [(signal.name, signal.exceeded, signal.threshold) for signal in of_slices] == [
        (name, False, None) for name in metrics
    ]


def test_an_error_may_grow_by_a_share_of_what_it_was():
    of = world("regression", 5000)
    measured = {scale: of_window(of, scale * of.good, {"rmse": scale}, scale * of.labels) for scale in (0.001, 1000.0)}

    small, large = (measured[scale]["rmse"] for scale in (0.001, 1000.0))
    assert small.threshold == pytest.approx(0.001 * (1 + SETTINGS.rmse_may_grow))
    assert large.threshold == pytest.approx(1000 * (1 + SETTINGS.rmse_may_grow))
    assert small.value * 1e6 == pytest.approx(large.value)


@pytest.mark.parametrize(
    ("task", "name"), [("multiclass", "macro_f1"), ("multiclass", "accuracy"), ("regression", "r2")]
)
def test_intervals_of_every_task_hold_the_truth(task, name):
    of = world(task, 100_000, noise=0.5, seed=3)
    truth, held = model_signals.measured(name, of.labels, of.noisy, of.task.measures), 0
    for start in range(0, 100_000, 2000):
        part = slice(start, start + 2000)
        _, low, high = model_signals.interval(name, of.labels[part], of.noisy[part], start, of.task.measures)
        held += low <= truth <= high

    assert 43 <= held <= 50


def test_what_takes_every_class_is_not_told_from_some():
    of = world("multiclass", 4000)
    two = of.labels < 2

    measured = of_window(of, of.good[two], of.expected, of.labels[two])
    none = of_window(of, of.good, of.expected, np.zeros(4000))

    assert measured["accuracy"].value is not None
    assert measured["macro_f1"].value is None
    assert "0 of them very late" in measured["macro_f1"].meaning
    assert {signal.value for signal in none.values()} == {None}
    same = of_window(world("regression", 2000), np.ones(2000), {}, np.full(2000, 3.0))
    assert {signal.value for signal in same.values()} == {None}


@pytest.mark.parametrize("task", TASKS)
def test_predictions_of_every_task_drift_when_they_move_and_when_they_stand_still(task):
    before = world(task, 5000, seed=1)

    def drift(predictions: np.ndarray):
        return model_signals.prediction_drift(before.task, predictions, before.good, SETTINGS)

    same, moved = drift(world(task, 5000, seed=2).good), drift(world(task, 5000, seed=2, shift=2.0).good)
    stuck = drift(np.repeat(before.good[:1], 5000, axis=0))

    assert same.value < 0.01
    assert not same.exceeded
    assert moved.exceeded
    assert stuck.exceeded
    assert max(same.value, moved.value, stuck.value) <= 1


def test_a_model_that_has_become_surer_has_moved_though_its_shares_have_not():
    before = world("multiclass", 5000).good
    surer = np.eye(3)[np.random.default_rng(1).choice(3, 5000, p=before.mean(axis=0))]

    drift = model_signals.prediction_drift(TASKS["multiclass"], surer, before, SETTINGS)

    np.testing.assert_allclose(surer.mean(axis=0), before.mean(axis=0), atol=0.02)
    assert drift.exceeded
    assert "on time " in drift.meaning


def doubted(of: World, labels: np.ndarray, **answers: np.ndarray):
    evaluated = world(next(name for name, task in TASKS.items() if task is of.task), 5000, seed=21)
    promised, _, _ = model_signals.separation(of.task, evaluated.labels, evaluated.good)
    return model_signals.label_reliability(of.task, labels, answers or {"version 2": of.good}, promised, SETTINGS)


@pytest.mark.parametrize("task", TASKS)
def test_labels_of_every_task_are_doubted_if_turned_round_or_joined_to_other_rows(task):
    of = world(task, 5000, noise=2.0, seed=22)

    for labels in (backwards(of.labels), shuffled(of.labels)):
        signal = doubted(of, labels)
        assert (signal.name, signal.subject, signal.exceeded) == ("auc_kept", of.task.target.label, True)
        assert not doubted(of, of.labels, **{"version 2": of.noisy}).exceeded
        assert doubted(of, labels, **{"version 2": of.noisy, "version 1": of.good}).exceeded
    noise = np.random.default_rng(1).permutation(of.good)
    assert doubted(of, of.labels, **{"version 2": noise}).exceeded
    kept = doubted(of, of.labels, **{"version 2": noise, "version 1": of.good})
    assert not kept.exceeded
    assert "version 1" in kept.meaning


@pytest.mark.parametrize("task", TASKS)
def test_a_season_that_no_model_has_seen_is_no_fault_of_the_labels(task):
    """The served model answers as if nothing had changed: it is wrong by what has, and its order is right."""
    of, before = world(task, 5000, seed=23, shift=2.0), world(task, 5000, seed=23)

    assert not doubted(of, of.labels, **{"version 2": before.good}).exceeded
    assert any(signal.exceeded for signal in of_window(of, before.good, before.expected).values())


def test_where_the_evaluation_kept_nothing_or_labels_are_of_one_kind_no_label_is_doubted():
    of = world("multiclass", 5000)

    assert model_signals.label_reliability(of.task, shuffled(of.labels), {"a": of.good}, None, SETTINGS) is None
    assert doubted(of, np.zeros(5000)) is None
    same = world("regression", 5000)
    assert doubted(same, np.full(5000, 1.0)) is None
