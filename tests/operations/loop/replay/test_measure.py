"""What every level answered is measured by the metrics of the task."""

from pathlib import Path

import pytest

from flightdeck import replay as command
from flightdeck.console import console
from flightdeck.settings import Settings, read_settings
from ledger.opening import open_store
from operations.loop.replay import measure, picture, plan
from operations.loop.replay.result import read
from pipeline import store
from tests.operations.loop.canary.traffic import answer, label
from tests.operations.monitoring.worlds import TASKS, world
from tests.world import ROOT

pytestmark = pytest.mark.component
ROWS = 1500
CONFIGS = {"binary": "local.yaml", "multiclass": "lateness.yaml", "regression": "delay.yaml"}
REPLAY = 'replay={begins: "2013-01", order: scheduled_departure}'


@pytest.fixture(params=TASKS)
def played(request, tmp_path) -> tuple[str, Settings, Path, plan.ReplayPlan]:
    """A replay of two months in which level 2 answered better than level 1."""
    task = request.param
    settings = read_settings(ROOT / "config" / CONFIGS[task], [f"workspace={tmp_path}", REPLAY])
    made = plan.make(settings, "1,2", "3:4", None, None)
    root = plan.root_of(settings, made.name)
    for span in made.spans:
        of, names = world(task, ROWS, noise=1.0, seed=span), [f"r{span}-{number}" for number in range(ROWS)]
        label(Path(settings.spans), span, names, of.labels, settings.contract())
        for level, predictions in ((1, of.noisy), (2, of.good)):
            level_settings = plan.level_settings(settings, root, level)
            begin = plan.month_of(plan.of(settings), span).begin
            answer(Path(level_settings.payloads), level, names, predictions, begin, output=of.task.output)
            open_store(store.connection(level_settings))
    return task, settings, root, made


def test_levels_are_compared_by_the_loss_and_the_metric_of_the_task(played, capsys):
    name, settings, root, made = played
    task = TASKS[name]

    result = read(measure.save(measure.result(settings, root, made), root))

    loss, shown = task.loss.name, task.quality[0].name
    assert result.monthly == tuple(metric.name for metric in task.quality)
    assert result.overall == (loss, shown)
    lower, higher = result.levels
    assert higher.quality[loss] < lower.quality[loss]
    assert higher.quality[shown] > lower.quality[shown]
    for level in result.levels:
        for month in level.months:
            assert month.rows == ROWS
            assert all(of.low <= of.value <= of.high for of in month.quality.values())
    by_metric = {comparison.metric: comparison for comparison in result.comparisons}
    assert list(by_metric) == [loss, shown]
    assert by_metric[loss].high < 0 < by_metric[shown].low
    assert by_metric[loss].difference == pytest.approx(higher.quality[loss] - lower.quality[loss])
    assert {comparison.rows for comparison in result.comparisons} == {2 * ROWS}

    command._print(result, console())
    said = capsys.readouterr().out
    assert f"{loss.replace('_', ' ')} 1" in said
    assert f"{loss} of level 2 minus level 1: -" in said


def test_a_plot_has_a_panel_for_each_metric(played):
    name, settings, root, made = played

    drawn = picture.draw(measure.result(settings, root, made), root).read_text()

    for metric in TASKS[name].quality:
        assert (metric.formula or metric.title).replace(" by ", " / ") in drawn
