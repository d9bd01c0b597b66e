"""Missing and unseen values and distances, by the rules of a schema: what a window shows, and what chance may."""

import numpy as np
import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from operations.monitoring import data_signals
from operations.monitoring.settings import Monitoring
from operations.tasks import RMSE
from tests.operations.monitoring.worlds import TASKS

pytestmark = pytest.mark.unit
SCHEMA = text_format.Parse(
    """
    default_environment: "TRAINING"
    default_environment: "SERVING"
    feature { name: "colour" type: BYTES domain: "colour" presence { min_fraction: 1.0 } }
    feature { name: "town" type: BYTES domain: "town" distribution_constraints { min_domain_mass: 0.9 } }
    feature { name: "weight" type: FLOAT float_domain { min: 0 max: 10 } }
    feature { name: "free" type: BYTES drift_comparator { infinity_norm { threshold: 0.05 } } }
    feature { name: "height" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 0.02 } } }
    feature {
      name: "answer" type: INT not_in_environment: "SERVING"
      drift_comparator { jensen_shannon_divergence { threshold: 0.03 } }
    }
    string_domain { name: "colour" value: "red" value: "blue" }
    string_domain { name: "town" value: "Ulm" }
    """,
    schema_pb2.Schema(),
)


ROWS = 400
SETTINGS = Monitoring(fewest_requests=10)


def rows(**changes: list) -> pd.DataFrame:
    table = {
        "colour": ["red", "blue"] * (ROWS // 2),
        "town": ["Ulm"] * ROWS,
        "weight": [1.0] * ROWS,
        "free": ["x"] * ROWS,
        "answer": [None] * ROWS,
    }
    return pd.DataFrame({**table, **changes})


def some(value: object, times: int, others: object) -> list:
    return [value] * times + [others] * (ROWS - times)


def unseen(table: pd.DataFrame, requests: np.ndarray | None = None) -> dict:
    """The signals by column; each row came with a request of its own unless it is said otherwise."""
    came = np.arange(len(table)) if requests is None else requests
    return {signal.subject: signal for signal in data_signals.unseen(table, came, SCHEMA, SETTINGS)}


def missing(table: pd.DataFrame, requests: np.ndarray | None = None, **trained: float) -> dict:
    came = np.arange(len(table)) if requests is None else requests
    return {signal.subject: signal for signal in data_signals.missing(table, came, SCHEMA, SETTINGS, trained)}


def test_values_that_the_schema_allows_are_fine():
    assert not any(signal.exceeded for signal in unseen(rows()).values())
    assert not any(signal.exceeded for signal in missing(rows()).values())


def test_an_unknown_word_is_named_with_its_share_and_count():
    measured = unseen(rows(colour=some("mauve", 60, "red")))["colour"]

    assert measured.exceeded
    assert measured.value == pytest.approx(0.15)
    assert "60 of 400 values (15.00%, " in measured.meaning
    assert "mauve (60)" in measured.meaning


# 10 % are allowed. Of 400 rows, the 95 % interval of 13 % begins above that, and the one of 12 % does not.
@pytest.mark.parametrize(("others", "exceeded"), [(40, False), (48, False), (54, True)])
def test_an_open_domain_may_have_some_others(others, exceeded):
    assert unseen(rows(town=some("Rom", others, "Ulm")))["town"].exceeded is exceeded


@pytest.mark.parametrize("value", [-1.0, 11.0, float("inf")])
def test_a_number_out_of_its_range_is_unseen(value):
    assert unseen(rows(weight=some(value, 10, 1.0)))["weight"].exceeded


def test_what_is_missing_is_not_unseen_as_well():
    signals = unseen(rows(colour=some(None, 20, "red"), weight=some(None, 20, 1.0)))

    assert not any(signal.exceeded for signal in signals.values())


@pytest.mark.parametrize(
    ("column", "lacking", "exceeded"),
    [("colour", 20, True), ("free", 80, False), ("free", 110, False), ("free", 120, True)],
)
def test_a_required_column_may_lack_nothing_and_an_optional_one_is_compared_with_training(column, lacking, exceeded):
    signal = missing(rows(**{column: some(None, lacking, "x")}), free=0.15)[column]

    assert signal.value == pytest.approx(lacking / ROWS)
    assert signal.exceeded is exceeded


@pytest.mark.parametrize(("requests", "exceeded"), [(1, False), (9, False), (10, True)])
def test_a_few_requests_decide_nothing_however_many_rows_they_have(requests, exceeded):
    came = np.arange(ROWS)
    came[:100] = np.arange(100) % requests  # a hundred rows at fault, in so many requests

    for measured in (
        unseen(rows(colour=some("mauve", 100, "red")), came)["colour"],
        missing(rows(colour=some(None, 100, "red")), came)["colour"],
    ):
        assert measured.value == pytest.approx(0.25)
        assert measured.exceeded is exceeded
        assert ("as fewer than 10 requests have one" in measured.meaning) is not exceeded


def test_one_value_among_thousands_is_shown_and_decides_nothing():
    table = pd.DataFrame({"colour": ["red"] * 4705 + ["text"]})

    measured = unseen(table)["colour"]

    assert not measured.exceeded
    assert measured.low is not None
    assert 0 < measured.low < measured.value < measured.high
    assert measured.meaning == (
        "colour: 1 of 4,706 values (0.02%, 95% interval 0.00% to 0.12%) is not allowed by the schema, most often text "
        "(1); not certainly more than 0.00%, as fewer than 10 requests have one"
    )


def drift(now: pd.DataFrame, before: pd.DataFrame, trained: dict | None = None) -> dict:
    """The signals by column, each row from a request of its own."""
    kept = (data_signals.without_extremes(of, np.arange(len(of)), trained or {}, SETTINGS) for of in (now, before))
    one, other = (data_signals.statistics(table, SCHEMA) for table in kept)
    return {signal.subject: signal for signal in data_signals.drift(one, other, SCHEMA, "the day before")}


def heights(number: int, mean: float = 0.0, seed: int = 0) -> pd.DataFrame:
    return pd.DataFrame({"height": np.random.default_rng(seed).normal(mean, 1.0, number)})


def test_a_distance_has_an_interval_that_narrows_with_the_rows():
    small, large = (drift(heights(of, 0.3), heights(of, seed=1))["height"] for of in (300, 30_000))

    assert small.low < large.low < large.value < large.high < small.high
    assert small.value > small.threshold
    assert (small.exceeded, large.exceeded) == (False, True)
    assert "not certainly more than 0.02" in small.meaning
    assert "more than 0.02" in large.meaning


@pytest.mark.parametrize("column", ["height", "free"])
def test_a_column_that_no_model_reads_is_in_no_request_and_the_monitor_does_not_mind(column):
    examples = heights(500).assign(free=["x", "y"] * 250, weight=1.0)
    asked = examples.drop(columns=column)

    assert drift(examples, examples).keys() == {"height", "free"}
    assert drift(asked, examples).keys() == {"height", "free"} - {column}
    assert column not in missing(asked)
    assert column not in unseen(asked)


def test_the_interval_of_a_distance_holds_what_the_samples_were_drawn_from():
    """The shares of two categories in two populations: 0.50 and 0.58, so that the distance is 0.08."""
    random, holds = np.random.default_rng(5), 0
    for _ in range(20):
        one, other = (pd.DataFrame({"free": np.where(random.random(1000) < p, "x", "y")}) for p in (0.50, 0.58))
        measured = drift(one, other)["free"]
        holds += measured.low <= 0.08 <= measured.high
    assert holds >= 18


@pytest.mark.parametrize(("extremes", "exceeded"), [(1, False), (9, False), (10, True)])
def test_a_few_extreme_values_do_not_move_the_bins_of_all_others(extremes, exceeded):
    before = heights(5000, seed=1)
    now = pd.concat([heights(5000), pd.DataFrame({"height": [99_999.0] * extremes})], ignore_index=True)

    assert drift(now, before)["height"].exceeded  # what TFDV makes of them
    assert drift(now, before, {"height": (-5.0, 5.0)})["height"].exceeded is exceeded


def test_values_that_many_requests_have_count_though_training_had_none_like_them():
    now = heights(5000, mean=8.0)

    measured = drift(now, heights(5000, seed=1), {"height": (-5.0, 5.0)})["height"]

    assert measured.exceeded
    assert measured.value > 0.9


def test_a_column_that_is_not_served_is_not_missed():
    assert "answer" not in missing(rows())


def labels(percent: int) -> pd.DataFrame:
    """Two thousand labels, so many in a hundred positive."""
    return pd.DataFrame({"answer": [1] * (20 * percent) + [0] * (20 * (100 - percent))})


# Over a window that is left out they may change twice as much.
@pytest.mark.parametrize(
    ("positives", "steps", "exceeded", "says"),
    [
        (20, 1, False, "within 0.03"),
        (33, 1, False, "0.03"),
        (80, 1, True, "0.03"),
        (44, 1, True, "0.03"),
        (44, 2, False, "within 0.06"),
    ],
)
def test_labels_are_compared_by_their_own_comparator(positives, steps, exceeded, says):
    before = data_signals.statistics(labels(20), SCHEMA)

    summary = f"mean {positives / 100:.3f}"
    (signal,) = data_signals.label_drift(labels(positives), before, SCHEMA, summary, "the week before", steps)

    assert (signal.kind, signal.subject, signal.threshold) == ("label", "answer", pytest.approx(0.03 * steps))
    assert signal.exceeded is exceeded
    assert f"mean {positives / 100:.3f}" in signal.meaning
    assert says in signal.meaning


def delays(rows: int, seed: int, shift: float = 0.0, extremes: int = 0) -> np.ndarray:
    """Minutes, most of them around zero, and a few far away."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.normal(shift, 20, rows), random.uniform(500, 2000, extremes)])


@pytest.mark.parametrize(
    ("now", "exceeded"),
    [
        pytest.param(delays(3000, 2), False, id="the same"),
        pytest.param(delays(3000, 2, extremes=8), False, id="some days have extremes"),
        pytest.param(delays(3000, 2, shift=20.0), True, id="all later"),
        pytest.param(60 * delays(3000, 2), True, id="seconds in place of minutes"),
        pytest.param(np.abs(delays(3000, 2)), True, id="without the sign"),
        pytest.param(np.zeros(3000), True, id="one value for all"),
    ],
)
def test_numbers_are_compared_where_the_reference_has_them(now, exceeded):
    signal = data_signals.number_drift(TASKS["regression"], now, delays(3000, 1, extremes=3), "the day before", 0.1)

    assert (signal.kind, signal.subject, signal.exceeded) == ("label", "arr_delay", exceeded)
    assert signal.low <= signal.value <= signal.high
    assert f"the labels (mean {RMSE.number(now.mean())} minutes) are from those of the day before" in signal.meaning
    assert "more than 0.1" in signal.meaning if exceeded else "within 0.1" in signal.meaning
