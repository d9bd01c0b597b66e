"""What a passenger would expect of the model: directions, invariances, and sense where data is missing.

After Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList", ACL 2020.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from tests.models.conftest import signature

pytestmark = pytest.mark.component

MISSING = {"i": -(2**63), "f": float("nan"), "O": ""}
WEATHER = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
PLANE = ["plane_year", "plane_engines", "plane_seats", "plane_manufacturer", "plane_engine"]

Score = Callable[[pd.DataFrame], np.ndarray]


@pytest.fixture(scope="module")
def score(trained) -> Score:
    """Scores flights through `predict_raw`, as a client would."""
    predict = signature(trained.folder, "predict_raw")
    dtypes = {name: spec.dtype.as_numpy_dtype for name, spec in predict.structured_input_signature[1].items()}

    def probabilities(flights: pd.DataFrame) -> np.ndarray:
        columns = {}
        for name, dtype in dtypes.items():
            values = flights[name].to_numpy(object)
            missing = MISSING[np.dtype(dtype).kind]
            filled = np.where(pd.isna(values), np.array([missing], object), values)
            columns[name] = tf.constant(filled.astype(dtype).reshape(-1, 1))
        return predict(**columns)["probability"].numpy()[:, 0]

    return probabilities


@pytest.fixture
def flights(trained) -> pd.DataFrame:
    return trained.evaluation.slice(0, 2000).to_pandas(integer_object_nulls=True)


def test_delays_at_the_airport_raise_the_probability(score: Score, flights: pd.DataFrame) -> None:
    means = [score(flights.assign(origin_recent_delay=minutes)).mean() for minutes in (-5, 0, 10, 30, 60, 120)]
    assert means == sorted(means)
    assert means[-1] > means[0] + 0.1


def test_evening_flights_are_late_more_often_than_early_ones(score: Score, flights: pd.DataFrame) -> None:
    early, evening = (score(flights.assign(sched_dep_minute=hour * 60)).mean() for hour in (7, 19))
    assert evening > early


def test_heavy_rain_does_not_lower_the_probability(score: Score, flights: pd.DataFrame) -> None:
    dry, wet = (score(flights.assign(precip=inches, visib=miles)).mean() for inches, miles in ((0.0, 10.0), (0.5, 1.0)))
    assert wet > dry


def test_late_flights_are_ranked_above_punctual_ones(score: Score, flights: pd.DataFrame) -> None:
    late = flights["arrived_late"].to_numpy() == 1
    probabilities = score(flights)
    assert probabilities[late].mean() > probabilities[~late].mean() + 0.03
    assert abs(probabilities.mean() - late.mean()) < 0.15


def test_the_order_and_company_of_a_flight_do_not_matter(score: Score, flights: pd.DataFrame) -> None:
    shuffled = flights.sample(frac=1, random_state=0)
    alone = score(flights.iloc[[5]])
    np.testing.assert_allclose(score(shuffled), score(flights)[shuffled.index], atol=1e-6)
    np.testing.assert_allclose(alone, score(flights)[[5]], atol=1e-6)


def test_columns_that_are_no_features_do_not_matter(score: Score, flights: pd.DataFrame) -> None:
    changed = flights.assign(arrived_late=1 - flights["arrived_late"], dep_delay=999.0, tailnum="N00000")
    np.testing.assert_array_equal(score(changed), score(flights))


def test_a_minute_more_or_less_hardly_changes_anything(score: Score, flights: pd.DataFrame) -> None:
    later = flights.assign(sched_dep_minute=(flights["sched_dep_minute"].astype(int) + 1) % 1440)
    assert np.abs(score(later) - score(flights)).max() < 0.1


@pytest.mark.parametrize("missing", [WEATHER, PLANE, ["origin_recent_delay"], [*WEATHER, *PLANE]])
def test_missing_values_leave_a_sane_probability(score: Score, flights: pd.DataFrame, missing: list[str]) -> None:
    known, unknown = score(flights), score(flights.assign(**dict.fromkeys(missing)))
    assert np.isfinite(unknown).all()
    assert abs(unknown.mean() - known.mean()) < 0.15
    assert unknown.std() > 0.02


@pytest.mark.parametrize("column", ["carrier", "dest", "origin", "plane_manufacturer", "plane_engine"])
def test_a_category_never_seen_leaves_a_sane_probability(score: Score, flights: pd.DataFrame, column: str) -> None:
    known, unseen = score(flights), score(flights.assign(**{column: "never seen"}))
    assert abs(unseen.mean() - known.mean()) < 0.15
    assert np.corrcoef(known, unseen)[0, 1] > 0.7


def test_absurd_values_do_not_break_the_probability(score: Score, flights: pd.DataFrame) -> None:
    absurd = flights.assign(wind_speed=1e9, temp=-1e9, distance=3e38, origin_recent_departures=2**62)
    probabilities = score(absurd)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
