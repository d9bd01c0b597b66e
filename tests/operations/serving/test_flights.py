"""The same flights get the same score whichever way the model is asked, and the version that is served is asked.

A real run, the real command line, the real service; compared flight by flight.
"""

import json
import shutil
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from flightdeck.settings import Settings, read_settings
from operations.registry import Registry, Version
from operations.serving import child
from tests.world import World

pytestmark = pytest.mark.e2e

CLOSE = 1e-6
SPAN = "3:3"
EXPLAINED = 50


@pytest.fixture(scope="module")
def world(small_spans, tmp_path_factory):
    """A workspace in which one model was trained on two months and pushed."""
    made = World(tmp_path_factory.mktemp("flights") / "workspace", small_spans)
    assert made.run('data.window="1:2"')["outcome"] == "pushed"
    return made


@pytest.fixture(scope="module")
def settings(world) -> Settings:
    return read_settings(Path("config/local.yaml"), [option for option in world.options() if option != "--set"])


@pytest.fixture(scope="module")
def file(small_spans) -> str:
    """A month that the model has not seen."""
    return str(small_spans / "span-003" / "flights.parquet")


@pytest.fixture(scope="module")
def flights(file) -> pa.Table:
    return pq.read_table(file)


def predicted(world, tmp_path: Path, *arguments: str) -> tuple[dict, pa.Table]:
    output = tmp_path / "out.parquet"
    answer = world.json("predict", *arguments, "--output", str(output))
    return answer, pq.read_table(output)


@pytest.fixture
def served(world, settings) -> Version:
    """The version that is served when a test begins."""
    return Registry(settings).served()


@pytest.fixture(scope="module")
def in_process(world, file, tmp_path_factory) -> dict[str, float]:
    """The scores of a batch in one process, by flight."""
    _, table = predicted(world, tmp_path_factory.mktemp("process"), file)
    return by_flight(table)


@pytest.fixture(scope="module")
def explained_in_process(world, flights, tmp_path_factory) -> dict[str, dict]:
    """The first rows with their explanations by a batch, by flight."""
    folder = tmp_path_factory.mktemp("explained")
    pq.write_table(flights.slice(0, EXPLAINED), folder / "rows.parquet")
    _, table = predicted(world, folder, str(folder / "rows.parquet"), "--explain")
    return {row["flight_id"]: row for row in table.to_pylist()}


def test_a_batch_says_why_and_it_adds_up(settings, in_process, explained_in_process):
    assert len(explained_in_process) == EXPLAINED
    for flight, row in explained_in_process.items():
        assert row["probability"] == pytest.approx(in_process[flight], abs=CLOSE)
        moved = sum(row[f"why_{name}"] for name in settings.features.inputs)
        assert moved == pytest.approx(row["probability"] - row["base_value"], abs=1e-5)
    assert max(abs(row["why_origin_recent_delay"]) for row in explained_in_process.values()) > 0.001


def test_explanations_through_the_pipeline_are_refused(world, file, tmp_path):
    output = tmp_path / "none.parquet"
    refusal = world.says("predict", file, "--explain", "--pipeline", "--output", str(output), expect=2)
    assert "explained in one process" in refusal
    assert not output.exists()


def by_flight(table: pa.Table) -> dict[str, float]:
    scores = dict(zip(table["flight_id"].to_pylist(), table["probability"].to_pylist(), strict=True))
    assert len(scores) == table.num_rows
    return scores


def expect_same(scores: dict[str, float], expected: dict[str, float]) -> None:
    assert scores.keys() == expected.keys()
    assert len({round(score, 4) for score in expected.values()}) > 100
    worst = max(scores, key=lambda flight: abs(scores[flight] - expected[flight]))
    assert scores[worst] == pytest.approx(expected[worst], abs=CLOSE), worst


def test_a_batch_is_complete_in_order_and_says_which_version_answered(world, served, flights, file, tmp_path):
    answer, table = predicted(world, tmp_path, file, file)
    assert (answer["through"], answer["rows"], answer["version"]) == ("process", 2 * flights.num_rows, served.number)
    assert table["flight_id"].to_pylist() == flights["flight_id"].to_pylist() * 2
    assert set(table["model_version"].to_pylist()) == {served.number}
    assert table["scheduled_departure"].slice(0, flights.num_rows).equals(flights["scheduled_departure"])


def test_the_pipeline_gives_the_same_scores_in_the_same_order(world, flights, in_process, tmp_path):
    answer, table = predicted(world, tmp_path, "--window", SPAN)
    assert answer["through"] == "pipeline"
    assert table["flight_id"].to_pylist() == flights["flight_id"].to_pylist()
    expect_same(by_flight(table), in_process)


def test_the_service_gives_the_same_scores_and_explanations(settings, flights, in_process, explained_in_process):
    inputs = sorted(settings.features.inputs)
    rows = flights.select(inputs).to_pylist()
    with child.serving(settings.use_case.name, Path(settings.pushed), settings.serving, None, None) as service:
        batches = rows, [{}], [{**rows[0], "carrier": "ZZ", "temp": 99999}]
        url = f"{service.url}/v1/models/{settings.use_case.name}:predict"
        answers = [httpx.post(url, json={"instances": batch}, timeout=120) for batch in batches]
        asked = {"instances": rows[:EXPLAINED]}
        explained = httpx.post(url.replace(":predict", ":explain"), json=asked, timeout=120).json()["explanations"]
    for flight, why in zip(flights["flight_id"].to_pylist(), explained, strict=False):
        assert why["probability"] == pytest.approx(in_process[flight], abs=CLOSE)
        batch = explained_in_process[flight]
        assert why["base_value"] == pytest.approx(batch["base_value"], abs=CLOSE)
        assert why["attributions"].keys() == set(inputs)
        for name, attribution in why["attributions"].items():
            assert attribution == pytest.approx(batch[f"why_{name}"], abs=CLOSE), name
    assert [answer.status_code for answer in answers] == [200, 400, 400]
    answered, *refused = (answer.json() for answer in answers)
    # The version carries the contract that it was trained with.
    assert {fault["column"] for fault in refused[0]["faults"]} >= {"carrier", "distance", "origin"}
    assert [(fault["column"], fault["value"]) for fault in refused[1]["faults"]] == [("carrier", "ZZ"), ("temp", 99999)]
    assert "one of 9E, AA" in refused[1]["error"]
    assert "a number from -40 to 130" in refused[1]["error"]
    scores = np.ravel(answered["predictions"]).tolist()
    expect_same(dict(zip(flights["flight_id"].to_pylist(), scores, strict=True)), in_process)


def test_a_stream_of_files_gives_the_same_scores(world, settings, served, flights, in_process, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    pq.write_table(flights.slice(0, 700), folder / "a.parquet")
    pa_csv.write_csv(flights.slice(700, 400), folder / "b.csv")
    rows = flights.slice(1100).to_pylist()
    (folder / "c.jsonl").write_text("\n".join(json.dumps(row, default=str) for row in [*rows, {"distance": "far"}]))
    tally = world.json("stream", str(folder), "--once")
    assert (tally["files"], tally["rows"], tally["dead"]) == (3, flights.num_rows, 1)
    log = pa.concat_tables(pq.read_table(file) for file in Path(settings.payloads).glob("*/stream-*.parquet"))
    assert set(log["model_version"].to_pylist()) == {served.number}
    scores = dict(zip(log["prediction_id"].to_pylist(), log["probability"].to_pylist(), strict=True))
    assert log.num_rows == flights.num_rows
    expect_same(scores, in_process)


def test_predictions_are_in_the_lineage_of_the_version(world, served, in_process):
    import ml_metadata

    store = ml_metadata.MetadataStore(world.connection())
    execution = store.get_executions_by_type("flightdeck.Predict")[0]
    events = store.get_events_by_execution_ids([execution.id])
    artifacts = store.get_artifacts_by_id([event.artifact_id for event in events])
    kinds = {artifact.id: artifact.type for artifact in artifacts}
    given = {kinds[event.artifact_id] for event in events if event.type == ml_metadata.proto.Event.INPUT}
    made = {kinds[event.artifact_id] for event in events if event.type == ml_metadata.proto.Event.OUTPUT}
    assert (given, made) == ({"Model", "PushedModel"}, {"flightdeck.Predictions"})
    assert {served.model_id, served.artifact_id} < {event.artifact_id for event in events}


def test_a_file_that_cannot_be_used_is_refused_and_nothing_is_written(world, flights, tmp_path):
    origins = pa.array(["XXX", *flights["origin"].to_pylist()[1:]])
    table = flights.set_column(flights.schema.get_field_index("origin"), "origin", origins)
    pq.write_table(table, tmp_path / "renamed.parquet")
    output = tmp_path / "none.parquet"
    refusal = world.says("predict", str(tmp_path / "renamed.parquet"), "--output", str(output), expect=2)
    assert "renamed.parquet is refused, because 1 of its rows break the contract of the version" in refusal
    assert "`origin` in row 0 is" in refusal
    assert "Traceback" not in refusal
    assert not output.exists()


def test_after_a_rollback_every_way_asks_the_model_that_is_served(world, settings, served, in_process, file, tmp_path):
    """Trains and pushes another model, which is blessed, and goes back from it."""
    challenger = world.run('data.window="1:2"', "model.seed=7")
    assert challenger["outcome"] == "pushed"
    newest = by_flight(predicted(world, tmp_path, file)[1])
    assert max(abs(newest[flight] - in_process[flight]) for flight in newest) > 0.001

    change = world.json("models", "rollback", "--reason", "test")
    assert change["seconds"] < 10
    assert change["restores"] == served.number
    carried = [
        (Path(settings.pushed) / str(number) / "assets.extra" / "contract.json").read_text()
        for number in (served.number, change["number"])
    ]
    assert carried[0] == carried[1]

    for way in ([file], ["--window", SPAN]):
        answer, table = predicted(world, tmp_path, *way)
        assert answer["version"] == change["number"]
        assert set(table["model_version"].to_pylist()) == {change["number"]}
        expect_same(by_flight(table), in_process)
    shutil.rmtree(tmp_path)
