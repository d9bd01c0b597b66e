"""What a run says about groups of people: sentences, gates, and the document in a record."""

import json

import pytest

from ledger.fairness import ColumnFairness
from ledger.runs import Runs

pytestmark = pytest.mark.unit

PAIR = {"of": "", "higher": "m", "lower": "f", "difference": 0.25, "low": 0.12, "high": 0.38}
FOUND = {
    "name": "selection_rate",
    "values": {"f": 0.25, "m": 0.5, "x": None},
    "counted": {"f": 200, "m": 180, "x": 0},
    "largest": PAIR,
    "surest": PAIR,
    "allowed": 0.1,
}


def column(**measure) -> ColumnFairness:
    document = {
        "column": "sex",
        "feature": False,
        "min_rows": 100,
        "groups": [{"group": "f", "rows": 200}, {"group": "m", "rows": 180}, {"group": "x", "rows": 3}],
        "ungrouped": 7,
        "measures": [FOUND | measure],
    }
    return ColumnFairness.model_validate_json(json.dumps(document))


@pytest.mark.parametrize(
    ("measure", "exceeded"),
    [
        ({}, True),
        ({"allowed": 0.12}, False),  # The interval begins where the gate ends.
        ({"allowed": 0.2}, False),  # Above the gate, but perhaps by luck.
        ({"allowed": None}, None),
        ({"largest": None, "surest": None}, True),
    ],
)
def test_a_gate_refuses_what_is_certainly_more_and_what_it_cannot_judge(measure, exceeded):
    assert column(**measure).measures[0].exceeded is exceeded


def test_a_refusal_says_how_much_between_whom_and_what_is_allowed():
    of_sex = column()

    assert of_sex.refusal(of_sex.measures[0]) == (
        "selection rate by sex differs by 0.2500 between m and f (95 % interval 0.1200 to 0.3800), and 0.1 is allowed"
    )
    of_class = column(surest=PAIR | {"of": "late"})
    assert "differs by 0.2500 of late between m and f" in of_class.refusal(of_class.measures[0])
    nobody = column(largest=None, surest=None)
    assert nobody.refusal(nobody.measures[0]).startswith(
        "selection rate by sex cannot be judged: fewer than two groups"
    )


def test_a_run_shows_its_document_and_one_without_shows_nothing(seeder):
    document = seeder.recorder.put_document([column().model_dump()])
    seeder.run("fair", documents={"fairness": document})
    seeder.run("plain")
    runs = Runs(seeder.store)

    view = runs.view(runs.find("fair"))
    assert view.fairness == (column(),)
    assert view.summary()["fairness"][0]["measures"][0]["largest"] == PAIR
    assert runs.view(runs.find("plain")).fairness == ()
