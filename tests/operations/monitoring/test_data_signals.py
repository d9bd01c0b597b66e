"""Missing and unseen values, by the rules of a schema."""

import pandas as pd
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from operations.monitoring import data_signals
from pipeline.settings import Monitoring

pytestmark = pytest.mark.unit
SCHEMA = text_format.Parse(
    """
    default_environment: "TRAINING"
    default_environment: "SERVING"
    feature { name: "colour" type: BYTES domain: "colour" presence { min_fraction: 1.0 } }
    feature { name: "town" type: BYTES domain: "town" distribution_constraints { min_domain_mass: 0.9 } }
    feature { name: "weight" type: FLOAT float_domain { min: 0 max: 10 } }
    feature { name: "free" type: BYTES }
    feature {
      name: "answer" type: INT not_in_environment: "SERVING"
      drift_comparator { jensen_shannon_divergence { threshold: 0.03 } }
    }
    string_domain { name: "colour" value: "red" value: "blue" }
    string_domain { name: "town" value: "Ulm" }
    """,
    schema_pb2.Schema(),
)


def rows(**changes: list) -> pd.DataFrame:
    table = {
        "colour": ["red", "blue"] * 10,
        "town": ["Ulm"] * 20,
        "weight": [1.0] * 20,
        "free": ["x"] * 20,
        "answer": [None] * 20,
    }
    return pd.DataFrame({**table, **changes})


def unseen(table: pd.DataFrame) -> dict:
    return {each.subject: each for each in data_signals.unseen(table, SCHEMA)}


def missing(table: pd.DataFrame, **trained: float) -> dict:
    return {each.subject: each for each in data_signals.missing(table, trained, SCHEMA, Monitoring())}


def test_values_that_the_schema_allows_are_fine():
    assert not any(each.exceeded for each in unseen(rows()).values())
    assert not any(each.exceeded for each in missing(rows()).values())


def test_an_unknown_word_is_named_with_its_share_and_count():
    found = unseen(rows(colour=["red"] * 17 + ["mauve"] * 3))["colour"]

    assert found.exceeded
    assert found.value == pytest.approx(0.15)
    assert "mauve (3 times)" in found.meaning


@pytest.mark.parametrize(("others", "exceeded"), [(2, False), (3, True)])
def test_an_open_domain_may_have_some_others(others, exceeded):
    assert unseen(rows(town=["Ulm"] * (20 - others) + ["Rom"] * others))["town"].exceeded is exceeded


@pytest.mark.parametrize("value", [-1.0, 11.0, float("inf")])
def test_a_number_out_of_its_range_is_unseen(value):
    assert unseen(rows(weight=[1.0] * 19 + [value]))["weight"].exceeded


def test_what_is_missing_is_not_unseen_as_well():
    table = rows(colour=["red"] * 19 + [None], weight=[1.0] * 19 + [None])

    assert not unseen(table)["colour"].exceeded
    assert not unseen(table)["weight"].exceeded


def test_a_required_column_may_lack_nothing():
    found = missing(rows(colour=["red"] * 19 + [None]))["colour"]

    assert found.exceeded
    assert found.value == pytest.approx(0.05)


@pytest.mark.parametrize(("lacking", "exceeded"), [(4, False), (6, True)])
def test_an_optional_column_is_compared_with_training(lacking, exceeded):
    table = rows(free=[None] * lacking + ["x"] * (20 - lacking))

    assert missing(table, free=0.15)["free"].exceeded is exceeded


def test_a_column_that_is_not_served_is_not_missed():
    assert "answer" not in missing(rows())


@pytest.mark.parametrize(("positives", "exceeded"), [(20, False), (33, False), (80, True)])
def test_labels_are_compared_by_their_own_comparator(positives, exceeded):
    def labels(positive: int) -> pd.DataFrame:
        return pd.DataFrame({"answer": [1] * positive + [0] * (100 - positive)})

    before = data_signals.statistics(labels(20), SCHEMA)

    (found,) = data_signals.label_drift(labels(positives), before, SCHEMA, "the week before")

    assert (found.kind, found.subject, found.threshold) == ("label", "answer", pytest.approx(0.03))
    assert found.exceeded is exceeded
    assert f"mean {positives / 100:.3f}" in found.meaning


def test_over_a_window_that_is_left_out_labels_may_change_twice_as_much():
    before, now = (pd.DataFrame({"answer": [1] * positive + [0] * (100 - positive)}) for positive in (20, 43))
    reference = data_signals.statistics(before, SCHEMA)

    neighbours, over_a_gap = (
        data_signals.label_drift(now, reference, SCHEMA, "the week before", steps)[0] for steps in (1, 2)
    )

    assert (neighbours.exceeded, over_a_gap.exceeded) == (True, False)
    assert over_a_gap.threshold == 2 * neighbours.threshold
    assert "within 0.06" in over_a_gap.meaning
