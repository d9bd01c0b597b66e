"""The page about served versions: what was kept of them stands on it, in words and in plots."""

import dataclasses

import pytest

from operations.report import monitoring
from operations.report.monitoring import gather, page
from tests.operations.report import histories
from tests.operations.report.test_site import text

pytestmark = pytest.mark.unit


@pytest.fixture
def history(seeds, tmp_path):
    histories.keep(seeds.store, "toys")
    histories.tell(tmp_path / "outbox.sqlite")
    return gather(seeds.store, "toys", histories.VERSIONS, tmp_path / "outbox.sqlite")


def values(plot) -> list[dict]:
    spec = plot.spec
    layers = [spec, *spec.get("layer", [])]
    named = list(spec.get("datasets", {}).values())
    inline = [layer["data"]["values"] for layer in layers if "values" in layer.get("data", {})]
    return [row for rows in [*named, *inline] for row in rows]


def test_every_decision_verdict_change_and_alert_is_in_the_timeline(history):
    points = values(page(history)["events"])
    lanes = [point["lane"] for point in points]

    assert {lane: lanes.count(lane) for lane in set(lanes)} == {
        "versions": 3,
        "canary": 1,
        "decisions": len(histories.MONTHS),
        "alerts": 1,
    }
    assert {point["what"] for point in points if point["lane"] == "versions"} == {"pushed", "promoted", "rolled back"}
    assert any("it restores version 1, by ada: worse" in point["words"] for point in points)


def test_quality_has_its_interval_its_threshold_and_a_colour_for_each_version(history):
    (auc,) = page(history)["quality"]
    points = values(auc)

    assert [point["at"][:7] for point in points] == [f"2013-{month:02d}" for month in histories.MONTHS[:-1]]
    assert {point["group"] for point in points} == {"version 1", "version 2"}
    assert all(point["low"] < point["value"] < point["high"] and point["threshold"] == 0.65 for point in points)
    assert "In the latest: 0.7070 (95 % from 0.6970 to 0.7170)" in auc.words


def test_the_grid_shows_how_near_each_signal_came_and_which_was_beyond(history):
    content = page(history)
    cells = values(content["grid"])

    assert content["choices"][0] == "drift: size"
    assert {point["row"] for point in cells} == {"drift: size", "missing: colour", "quality: auc"}
    beyond = [point for point in cells if point["state"] == "exceeded"]
    assert [(point["row"], point["at"], point["share"]) for point in beyond] == [("drift: size", "2013-07", 2.0)]
    # An area under the curve above its threshold is within it, and nearer the lower it is.
    assert all(point["share"] < 1 for point in cells if point["row"] == "quality: auc")
    assert "Exceeded at least once: drift: size." in content["grid"].words


def test_two_versions_of_one_window_are_two_columns_of_the_grid(history):
    other = histories.window(histories.FAULTY).model_copy(update={"version": "9"})
    cells = values(page(dataclasses.replace(history, windows=(*history.windows, other)))["grid"])

    assert [point["of"] for point in cells if point["at"] == "2013-07 (2)"] == ["version 9"] * 3


def test_every_number_stands_there_in_words_and_nothing_that_was_written_is_html(seeds, history, tmp_path):
    seeds.run("first")
    written = seeds.write(tmp_path / "site", history=history)
    words = text(written.index.parent / monitoring.FILE)

    assert written.further == {"Monitoring": monitoring.FILE}
    for month in histories.MONTHS:
        for signal in histories.window(month).signals:
            assert signal.meaning in words
    assert "2013-07, version 2: 1 of 4 signals exceeded" in words
    assert histories.VERDICT.reasons[0] in words
    assert "quarantine size has moved" in words
    assert "not delivered yet" in words
    assert histories.HOSTILE not in (written.index.parent / monitoring.FILE).read_text()


def test_nothing_monitored_makes_no_page_no_link_and_no_outbox(seeds, tmp_path):
    seeds.run("first")
    history = gather(seeds.store, "toys", histories.VERSIONS, tmp_path / "none.sqlite")
    written = seeds.write(tmp_path / "site", history=history)

    assert written.further == {}
    assert not (written.index.parent / monitoring.FILE).exists()
    assert "Monitoring" not in text(written.index)
    assert history.alerts is None
    assert not (tmp_path / "none.sqlite").exists()
