"""How a real Evaluator measures groups of people, and refuses and blesses: against what the rows say by pandas."""

import json

import numpy as np
import pytest
from tensorflow_model_analysis.proto import config_pb2

from components import tasks
from components.evaluation import batched_extracts, fairness_metrics
from components.scores.component import BASELINE_KEY, CANDIDATE_KEY
from data.contract import Column
from pipeline import evaluation
from pipeline.settings import Evaluation
from tests.components.evaluations import ROWS, Subject, slice_of, worlds
from tests.components.scorers import GRADE, PRICE, SOLD, Grader, Pricer, Scorer

pytestmark = pytest.mark.component

ROW_METRICS = "components.evaluation.row_metrics"
SUBJECTS = {
    "binary": Subject(SOLD, Scorer(), Scorer(shop=0.7)),
    "multiclass": Subject(GRADE, Grader(), Grader(shop=0.7)),
    "regression": Subject(PRICE, Pricer(shop=3.0), Pricer()),
}
SHOP, FLOOR = (
    Column.model_validate(
        {
            **{"name": name, "type": kind, "known": "before", "role": "slice", "meaning": "Of people."},
            **{"sensitive": True, "values": values},
        }
    )
    for name, kind, values in (("shop", "string", ["B", "A", "Ü", "C"]), ("floor", "int64", None))
)


@pytest.fixture(scope="module", params=SUBJECTS)
def world(request, tmp_path_factory):
    yield from worlds(tmp_path_factory.mktemp(request.param), SUBJECTS[request.param])


def config(world, fairness: dict[str, float] | None = None, min_rows: int = 20) -> config_pb2.EvalConfig:
    asked = {"name": "RowCount", "module": ROW_METRICS, "at_least": 1.0}
    settings = {"metrics": [asked], "min_slice_size": min_rows, "fairness": fairness or {}}
    made = evaluation.configuration(
        Evaluation.model_validate_json(json.dumps(settings)), tasks.of(world.target), [SHOP, FLOOR]
    )
    assert batched_extracts.why_not_batched(made) == []
    return made


def expected(world, column: str, model: str) -> dict[str, dict[str, dict[str, float]]]:
    """By measure, and of several classes by class: the value of each group, from the rows themselves."""
    frame = world.rows()[()].to_pandas()
    present = [value[0] if value is not None and len(value) else None for value in frame[column]]
    frame["group"] = [
        value.decode() if isinstance(value, bytes) else None if value is None else str(value) for value in present
    ]
    labels = np.array([value[0] for value in frame[world.label]], float)
    answers = np.array(frame[model].tolist(), float)
    by_group = frame.groupby(frame["group"], sort=True).groups
    task = tasks.of(world.target)

    def means(values, chosen):
        return {
            group: float(values[rows][chosen[rows]].mean())
            for group, rows in ((group, np.asarray(rows)) for group, rows in by_group.items())
        }

    everything = np.ones(len(frame), bool)
    if task.name == "regression":
        return {"mean_error": {"": means(answers[:, 0] - labels, everything)}}
    said = (
        {"": (answers[:, 0] >= 0.5, labels == 1)}
        if task.name == "binary"
        else {name: (answers.argmax(axis=1) == number, labels == number) for number, name in enumerate(task.classes)}
    )
    return {
        "selection_rate": {name: means(called, everything) for name, (called, _) in said.items()},
        "true_positive_rate": {name: means(called, truth) for name, (called, truth) in said.items()},
    }


def spread(values: dict[str, float]) -> float:
    return max(values.values()) - min(values.values())


def test_groups_are_measured_as_the_rows_say(world):
    output, blessing = world.batched(config(world), champion=True)

    assert blessing.mlmd_artifact.custom_properties["blessed"].int_value == 1
    shop, floor = evaluation.differences(output)
    assert [column.column for column in (shop, floor)] == ["shop", "floor"]
    for column in (shop, floor):
        told = expected(world, column.column, CANDIDATE_KEY)
        assert sum(group.rows for group in column.groups) + column.ungrouped == ROWS
        assert column.ungrouped > 0
        assert {measured.name for measured in column.measures} == told.keys()
        for measured in column.measures:
            of_class = {name: spread(values) for name, values in told[measured.name].items()}
            assert measured.largest is not None
            assert measured.largest.difference == pytest.approx(max(of_class.values()), abs=1e-6)
            assert of_class[measured.largest.of] == pytest.approx(max(of_class.values()), abs=1e-6)
            assert measured.values == pytest.approx(told[measured.name][measured.largest.of], abs=1e-6)
            assert measured.largest.low < measured.largest.difference < measured.largest.high
            assert measured.allowed is None
    assert [group.group for group in shop.groups] == ["B", "A", "Ü", "C"]  # as the contract lists them
    slices = {part.slice for part in evaluation.results(output)}
    assert {"", "shop=Ü", "floor=2"} <= slices
    assert all(not name.startswith("fairness") for part in evaluation.results(output) for name in part.challenger)


def test_rows_that_come_one_by_one_are_measured_alike(world):
    made = config(world)
    batched, _ = world.batched(made)
    made.options.min_slice_size.value = 2
    assert batched_extracts.why_not_batched(made)
    single, _ = world.batched(made)

    ours, theirs = evaluation.differences(batched), evaluation.differences(single)
    for one, other in zip(ours, theirs, strict=True):
        assert one.groups == other.groups
        for measured, again in zip(one.measures, other.measures, strict=True):
            assert measured.values == pytest.approx(again.values)
            assert measured.counted == again.counted


def test_a_gate_refuses_what_certainly_differs_more_and_says_between_whom(world):
    measures = tasks.of(world.target).disparities
    told = {
        measured.name: measured
        for column in evaluation.differences(world.batched(config(world))[0])[:1]
        for measured in column.measures
    }
    sure = {name: told[name].surest.low for name in measures}
    assert max(sure.values()) > 0.01
    first = max(sure, key=lambda name: sure[name])

    refused, blessing = world.batched(config(world, {first: sure[first] - 0.005}), champion=True)
    assert blessing.mlmd_artifact.custom_properties["blessed"].int_value == 0
    (reason, *others) = evaluation.failed_thresholds(refused)
    pair = told[first].surest
    assert all(" by floor " in other for other in others)
    assert reason.startswith(f"{first.replace('_', ' ')} by shop differs by ")
    assert f"between {pair.higher} and {pair.lower} (95 % interval " in reason
    assert reason.endswith(f", and {sure[first] - 0.005:g} is allowed")
    (column, _) = evaluation.differences(refused)
    assert {measured.name: measured.allowed for measured in column.measures if measured.allowed is not None} == {
        first: sure[first] - 0.005
    }
    blessed, blessing = world.batched(config(world, dict.fromkeys(measures, 1000.0)))
    assert blessing.mlmd_artifact.custom_properties["blessed"].int_value == 1
    assert evaluation.failed_thresholds(blessed) == []


def test_a_difference_above_the_gate_that_luck_may_explain_does_not_refuse(world):
    first = tasks.of(world.target).disparities[0]
    found = [
        measured
        for column in evaluation.differences(world.batched(config(world))[0])
        for measured in column.measures
        if measured.name == first
    ]
    highest = max(measured.surest.low for measured in found)
    allowed = max(highest, 0.0) + 1e-6
    assert max(measured.largest.difference for measured in found) > allowed

    blessed, blessing = world.batched(config(world, {first: allowed}))

    assert evaluation.failed_thresholds(blessed) == []
    assert blessing.mlmd_artifact.custom_properties["blessed"].int_value == 1


def test_a_gate_refuses_what_it_cannot_judge(world):
    first = tasks.of(world.target).disparities[0]
    output, blessing = world.batched(config(world, {first: 1000.0}, min_rows=ROWS))

    assert blessing.mlmd_artifact.custom_properties["blessed"].int_value == 0
    reasons = evaluation.failed_thresholds(output)
    assert len(reasons) == 2
    assert reasons[0] == (
        f"{first.replace('_', ' ')} by shop cannot be judged: fewer than two groups have {ROWS} rows, and enough of "
        "them that count"
    )


def test_of_many_groups_those_that_are_compared_are_listed(world, monkeypatch):
    whole = evaluation.differences(world.batched(config(world))[0])[0]
    monkeypatch.setattr(fairness_metrics, "_MOST_LISTED", 3)
    rows = sorted(group.rows for group in whole.groups)
    (few, _) = evaluation.differences(world.batched(config(world, min_rows=rows[2]))[0])

    assert [group.rows >= rows[2] for group in few.groups] == [True] * len(few.groups)
    assert (len(few.groups), few.unlisted) == (2, len(rows) - 2)
    for measured in few.measures:
        assert measured.values.keys() == measured.counted.keys() == {group.group for group in few.groups}


def test_the_champion_is_measured_beside_and_does_not_decide(world):
    output, _ = world.batched(config(world), champion=True)

    values = {
        metric.key.model_name: json.loads(metric.value.bytes_value)
        for record in evaluation._metrics(output)
        if not slice_of(record)
        for metric in record.metric_keys_and_values
        if metric.key.name == "fairness/shop"
    }
    assert values.keys() == {"candidate", "baseline"}
    told = expected(world, "shop", BASELINE_KEY)
    for measured in values["baseline"]["measures"]:
        of = (measured["largest"] or {"of": ""})["of"]
        assert measured["values"] == pytest.approx(told[measured["name"]][of], abs=1e-6)
