"""The service stands beside KServe and MLServer: asked the same, answering alike, and the pages quote what was seen."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import pipeline
from benchmarks.serving_peers import asking, measuring, page
from benchmarks.serving_peers.servers import BATCHING, KSERVE, MLSERVER, OURS, UNLOGGED, PeersError
from flightdeck.settings import read_settings
from operations.inference import columns
from operations.serving import grpc_v2, open_inference_v2, tfserving_v1
from operations.serving.grpc_messages import message
from tests.benchmarks.test_pipeline import MACHINE
from tests.operations.serving import small_model
from tests.world import ROOT

DATATYPES = {"amount": "FP32", "count": "INT64", "colour": "BYTES"}
ROWS = [{"amount": np.float32(0.1 * row), "count": row, "colour": "größer" if row % 2 else "red"} for row in range(9)]
SPEEDS = {OURS: (3100.0, 9.5), UNLOGGED: (3200.0, 9.0), KSERVE: (340.0, 120.0)}


def document(ours_ms: float = 9.5) -> dict:
    def seen(per_second: float, p99: float) -> dict:
        return {"requests_per_second": per_second, "p50_ms": 1.0, "p99_ms": p99, "cpu_us": 300.0}

    servers = {name: seen(*speeds) for name, speeds in SPEEDS.items()}
    servers[OURS]["p99_ms"] = ours_ms
    cells = [
        {"protocol": "v2", "rows": 1, "connections": 1, "servers": {name: seen(9.0, 9.0) for name in SPEEDS}},
        {"protocol": "v2", "rows": 1, "connections": 32, "servers": servers},
        {
            "protocol": "v1",
            "rows": 64,
            "connections": 32,
            "servers": {OURS: seen(700.0, 40.0), UNLOGGED: seen(800.0, 30.0)},
        },
    ]
    parts = {measuring.SERVER_ALONE: 70.0, "reading the body": 30.0, measuring.IN_ALL: 300.0}
    return {
        "machine": MACHINE,
        "peers": ["KServe 0.21.0"],
        "turn_seconds": 1.5,
        "turns": 4,
        "apart": 1e-8,
        "cells": cells,
        "bare": {"1": {"signature": 600.0, "session": 2000.0}},
        "parts": {"v2": parts, "grpc": {**parts, measuring.IN_ALL: 600.0}},
    }


@pytest.mark.unit
@pytest.mark.parametrize("size", [1, 4])
def test_every_server_is_asked_for_the_same_rows_in_each_protocol(size):
    rows = [{**ROWS[0], "amount": None}, *ROWS]
    for body in asking.bodies(rows, DATATYPES, "small", [size]):
        inputs = small_model.INPUTS
        request = message("ModelInferRequest").FromString(body.of["grpc"])
        by_rows = columns.from_rows(tfserving_v1.parse(body.of["v1"]).values, inputs)
        for asked in (open_inference_v2.parse(body.of["v2"]), grpc_v2.read(request)):
            by_columns = columns.from_columns(asked.data, inputs)
            assert asked.rows == size
            for name, values in by_rows.items():
                np.testing.assert_array_equal(by_columns[name], values)
        # The protocols have no word for a missing value that all servers know.
        assert not any(map(math.isnan, by_rows["amount"].ravel().tolist()))


@pytest.mark.unit
def test_too_few_rows_are_refused_in_a_sentence():
    with pytest.raises(PeersError, match="Only 9 rows have all values; 64 are needed"):
        asking.bodies(ROWS, DATATYPES, "small", [64])


@pytest.mark.unit
def test_a_peer_that_is_ahead_is_named():
    assert page.behind(document()) == []
    assert page.behind(document(ours_ms=130.0)) == ["REST, V2, 1 row, 32 connections: KServe has a shorter p99"]
    shown = page.page(document(ours_ms=130.0))
    assert "The service is not ahead everywhere: REST, V2, 1 row, 32 connections: KServe has a shorter p99." in shown
    assert "Without its payload log, which the peers have no counterpart of, it answers more requests" in shown


@pytest.mark.unit
def test_the_page_shows_each_figure_and_what_is_left_of_a_request():
    shown = page.page(document())
    assert "| REST, V2, 1 row, 32 connections | 3,100, 9.5, 300 | 3,200, 9.0, 300 | 340, 120.0, 300 |" in shown
    assert "| REST, V1, 64 rows, 32 connections | 700, 40.0, 300 | 800, 30.0, 300 |  |" in shown
    assert "| everything else | 200 | 500 |" in shown
    assert "the service reaches that with REST:\n3,100." in shown


@pytest.mark.unit
def test_no_page_shows_other_figures_than_those_that_were_measured():
    measured = json.loads(page.FIGURES.read_text())
    assert page.PAGE.read_text() == page.page(measured)
    for name in pipeline.QUOTING:
        assert page.row(measured, ROOT / name) in (ROOT / name).read_text().splitlines()


@pytest.mark.unit
def test_servers_that_answer_differently_are_not_compared():
    assert asking.apart([np.array([0.25, 0.5]), np.array([0.25, 0.5000001])], 2) == pytest.approx(1e-7)
    for other, wrong in (([0.25, 0.50001], "1e-05 apart"), ([0.25, math.nan], "nan apart"), ([0.25], "each of 2 rows")):
        with pytest.raises(PeersError, match=wrong):
            asking.apart([np.array([0.25, 0.5]), np.array(other)], 2)


@pytest.mark.proof
def test_the_peers_answer_as_the_service_does(tmp_path: Path):
    models = tmp_path / "models"
    small_model.push(small_model.write(tmp_path / "written", 0.5), models, 1)
    settings = read_settings(ROOT / "config" / "local.yaml", [f"workspace={tmp_path}", f"push.destination={models}"])
    measured = measuring.compare(settings, ROWS, tmp_path / "peers", sizes=(1,), connections=(2,), turn=0.5, turns=1)
    assert measured["apart"] <= 1e-6
    assert [cell["protocol"] for cell in measured["cells"]] == ["v2", "grpc", "v1"]
    for cell in measured["cells"][:2]:
        assert cell["servers"].keys() == {OURS, UNLOGGED, KSERVE, MLSERVER, BATCHING}
        assert all(seen["requests_per_second"] > 0 for seen in cell["servers"].values())
    taken = measured["parts"]["v2"]
    assert taken.pop("contract") == 0  # The small model has none.
    assert min(taken.values()) > 0
