"""The page of a replay: its figures, its differences in words, and documents that cannot be read."""

import pytest

from operations.loop.replay.result import FILE, Comparison
from operations.report import replays
from tests.operations.report import histories
from tests.operations.report.test_monitoring import values
from tests.operations.report.test_site import text

pytestmark = pytest.mark.unit


def kept(folder, *results) -> None:
    for result in results:
        (folder / "replay" / result.name).mkdir(parents=True)
        (folder / "replay" / result.name / FILE).write_text(result.model_dump_json())


@pytest.mark.parametrize(
    ("metric", "difference", "low", "high", "expected"),
    [
        ("log_loss", -0.01, -0.02, -0.005, "level 2 is better, beyond noise"),
        ("log_loss", 0.01, 0.005, 0.02, "level 2 is worse, beyond noise"),
        ("auc", 0.01, 0.005, 0.02, "level 2 is better, beyond noise"),
        ("auc", -0.01, -0.02, -0.005, "level 2 is worse, beyond noise"),
        ("log_loss", -0.01, -0.02, 0.001, "includes zero"),
        ("rmse", -0.5, -0.7, -0.3, "The RMSE of level 2 differs from that of level 1 by"),
        ("rmse", -0.5, -0.7, -0.3, "level 2 is better, beyond noise"),
        ("r2", 0.1, 0.05, 0.15, "level 2 is better, beyond noise"),
    ],
)
def test_a_difference_says_who_is_better_and_whether_that_is_noise(metric, difference, low, high, expected):
    compared = Comparison(level=2, against=1, metric=metric, difference=difference, low=low, high=high, rows=10)
    (sentence,) = replays.page(histories.replay().model_copy(update={"comparisons": (compared,)}))["sentences"]

    assert expected in sentence


def test_every_replay_of_a_workspace_has_a_page_with_its_figures_and_nothing_written_is_html(seeds, tmp_path):
    kept(tmp_path, histories.replay(), histories.replay("celsius@7", fault=True))
    played, unreadable = replays.read_all(tmp_path)
    seeds.run("first")
    written = seeds.write(tmp_path / "site", played=played)
    faulty, clean = (text(written.index.parent / file) for file in written.further.values())

    assert unreadable == []
    assert list(written.further) == ["Replay celsius@7", "Replay clean"]
    assert "Replay clean" in text(written.index)
    for words in (clean, faulty):
        assert "0.7200 (0.7100 to 0.7300)" in words
        assert "level 2 is better, beyond noise" in words
        assert "5.0 %" in words
        assert "size (4), colour (2)" in words
    assert "What each level made of it" in faulty
    assert "What each level made of it" not in clean
    for file in written.further.values():
        assert histories.HOSTILE not in (written.index.parent / file).read_text()


def test_a_month_without_a_figure_is_a_gap_and_no_zero():
    plots = {plot.name: plot for plot in replays.page(histories.replay())["figures"]}

    assert {point["at"] for point in values(plots["calibration"])} == {
        f"2013-{month:02d}" for month in histories.MONTHS[:-1]
    }


def test_the_month_of_a_fault_is_marked():
    (auc, *_) = replays.page(histories.replay("f", fault=True))["figures"]

    assert "The dashed line is the month of the fault, 2013-07." in auc.words


def test_a_document_that_cannot_be_read_is_named_and_the_others_stay(tmp_path):
    kept(tmp_path, histories.replay())
    (tmp_path / "replay" / "half").mkdir()
    (tmp_path / "replay" / "half" / FILE).write_text('{"name": "half"')
    played, unreadable = replays.read_all(tmp_path)

    assert [result.name for result in played] == ["clean"]
    assert unreadable[0].startswith("half: ")
