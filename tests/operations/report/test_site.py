"""The site of a seeded store: what stands on its pages, also of runs of which little is left."""

import io
import json
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

import storage
from errors import FlightdeckError
from ledger.lease import Owner
from operations.report import site
from tests.operations.report import scored
from tests.operations.report.conftest import node
from tests.operations.report.histories import HOSTILE

pytestmark = pytest.mark.unit


def text(file: Path) -> str:
    html = re.sub(r"(?s)<(script|style).*?</\1>", " ", file.read_text())
    return " ".join(re.sub(r"<[^>]*>", " ", html).replace("\xa0", " ").split())


def page(written: site.Site, run_id: str, name: str = "index") -> str:
    return text(written.index.parent / "runs" / run_id / f"{name}.html")


def test_names_break_after_underscores_and_stay_text():
    assert site.breakable("a_<b>") == "a_&lt;b&gt;"
    assert site.breakable("a_very_long_<name>") == "a_<wbr>very_<wbr>long_<wbr>&lt;name&gt;"


def test_first_page_lists_every_run_and_names_the_best(seeds, tmp_path):
    seeds.run("good", 0.8, version="17")
    seeds.run("worse", 0.75, outcome="not blessed", tags=("idea",))
    written = seeds.write(tmp_path / "site")
    words = text(written.index)
    assert written.listed == 2
    assert all(shown in words for shown in ("Best auc 0.8000 run good", "Last pushed version 17", "idea"))
    assert words.index("worse") < words.rindex("good")


def test_best_is_the_lowest_where_lower_is_better(seeds, tmp_path):
    for name, loss in (("high", 0.9), ("low", 0.2)):
        seeds.run(name, main_metric="loss", main_better="lower", metrics={"loss": loss})
    assert "Best loss 0.2000 run low" in text(seeds.write(tmp_path / "site").index)


def test_best_is_one_of_those_evaluated_on_the_same_data_as_the_newest(seeds, tmp_path):
    seeds.run("easy", 0.9, spans={"train": [1], "eval": [2]})
    seeds.run("good", 0.8)
    seeds.run("trial", 0.95, kind="trial", outcome="done")
    seeds.run("newest", 0.75)
    index = seeds.write(tmp_path / "site").index
    words = text(index)
    assert "Best auc 0.8000 run good, of 2 runs evaluated on span 3, 1,500 rows; 1 on other data left out" in words
    assert "the best on the newest evaluation data, good, has 0.8000." in index.read_text()


def test_commit_is_that_of_the_project_where_the_use_case_has_one(seeds, tmp_path):
    code = {"use_case_commit": "a" * 40, "use_case_branch": "trunk", "use_case_dirty": True}
    seeds.run("own", model_id=1, commit="f" * 40, branch="main", dirty=False, **code)
    seeds.run("uncommitted", commit="f" * 40, branch="main", dirty=False, use_case_dirty=True)
    written = seeds.write(tmp_path / "site")
    words = page(written, "own")
    assert "aaaaaaaa+" in text(written.index)
    assert "ffffffff" not in text(written.index)
    assert "Commit aaaaaaaaaaaa Code with uncommitted changes Branch trunk Commit of Flightdeck ffffffffffff" in words
    assert "Commit aaaaaaaaaa with changes" in words
    assert "Flightdeck ffffffffff as committed" in words
    assert "Commit aaaaaaaaaaaa" in page(written, "own", "card")


def test_failed_run_says_where_and_why(seeds, tmp_path):
    chain = {"Gen": [], "Trainer": ["Gen"], "Pusher": ["Trainer"]}
    graph = [{"node": name, "type": name, "after": after} for name, after in chain.items()]
    seeds.run(
        "broken",
        outcome="failed",
        reasons=("Trainer failed: no number",),
        metrics={},
        nodes=(node("Gen"), node("Trainer", "failed", "no number")),
        documents={"graph": seeds.recorder.put_document(graph)},
    )
    words = page(seeds.write(tmp_path / "site"), "broken")
    assert "Trainer failed: no number" in words
    assert "Pusher not run" in words
    assert "the run did not get as far as its evaluation" in words


def test_killed_run_is_not_called_running(seeds, tmp_path):
    going: dict[str, Any] = {"outcome": "running", "metrics": {}, "seconds": None}
    me = Owner.me()
    gone = me.model_copy(update={"started": me.started - 60})
    seeds.run("perhaps", **going)
    seeds.run("surely", **going, owner=gone, renewed=datetime(2013, 7, 1, 12, 34, tzinfo=UTC))
    written = seeds.write(tmp_path / "site")
    words = page(written, "perhaps")
    assert "running or killed" in words
    assert "This run is still going on, or was killed: 2 of 2 nodes had ended." in words
    words = page(written, "surely")
    assert "This run was killed: 2 of 2 nodes had ended. Its last sign of life: 2013-07-01 12:34" in words


def test_run_of_another_pipeline_has_a_page(seeds, tmp_path):
    seeds.run("ours")
    seeds.artifact("theirs", "Penguin", "model", tmp_path / "nothing")
    words = page(seeds.write(tmp_path / "site"), "theirs")
    assert "not ours" in words
    assert "Another TFX pipeline made this run" in words
    assert "Penguin done" in words


def test_scores_become_curves_wherever_scores_and_site_are(seeds, place):
    settings = seeds.recorder.put_document({"evaluation": {"decision_threshold": 0.3}})
    run = seeds.run("scored", documents={"settings": settings})
    folder = place / "scores"
    storage.make_folder(folder)
    random = np.random.default_rng(0)
    scores = random.random(500)
    labels = (random.random(500) < scores).astype("int8")
    file = io.BytesIO()
    pq.write_table(pa.table({"label": labels, "probability": scores}), file)
    (folder / "scores.parquet").write_bytes(file.getvalue())
    features = [{"feature": "size", "auc_drop": 0.1, "auc_drop_std": 0.01}]
    (folder / "importance.json").write_text(json.dumps({"rows": 500, "repeats": 5, "features": features}))
    seeds.artifact(run, "Scores", "scores", folder)
    written = seeds.write(place / "site")
    words = page(written, run)
    assert "Confusion at the threshold 0.30" in words
    assert "The most important: size (0.1000)." in words
    called = int((scores >= 0.3).sum())
    assert f"{called / 500:.1%}".replace("%", " %") in words
    html = (written.index.parent / "runs" / run / "index.html").read_text()
    assert {f'id="plot-{name}"' in html for name in ("roc", "precision-recall", "calibration", "scores")} == {True}
    assert "The model does not explain its answers" in words, "as those of earlier versions"


@pytest.mark.parametrize("place", ["gs", "s3"], indirect=True)
def test_a_site_in_a_bucket_is_replaced_and_other_things_are_not(seeds, place):
    seeds.run("early")
    first = storage.files_below(seeds.write(place / "site").index.parent)
    seeds.run("late")
    second = seeds.write(place / "site", newest=1).index.parent
    assert {name for name in first if name.startswith("runs/")} == {"runs/early/card.html", "runs/early/index.html"}
    runs = {name for name in storage.files_below(second) if name.startswith("runs/")}
    assert runs == {"runs/late/card.html", "runs/late/index.html"}
    kind = second.fs.info((second / "index.html").path).get("contentType") or second.fs.info(
        (second / "index.html").path
    ).get("ContentType")
    assert kind == "text/html"
    storage.write(place / "mine" / "thesis.txt", "mine")
    with pytest.raises(FlightdeckError, match="holds something other than a report"):
        seeds.write(place / "mine")
    assert list(storage.files_below(place / "mine")) == ["thesis.txt"]


def test_a_run_of_classes_has_their_confusion_and_each_against_the_rest(seeds, tmp_path):
    run, _ = scored.keep(seeds, tmp_path / "scores")
    written = seeds.write(tmp_path / "site")
    words = page(written, run)
    labels, probabilities = scored.classified()
    right = int(((probabilities.argmax(axis=1) == labels) & (labels == 1)).sum())
    assert f"{right:,} {right / int((labels == 1).sum()):.1%}".replace("%", " %") in words
    assert "called on time called late called very late" in words
    assert "recall/very late 0.5000 at least 0.1" in words
    assert "Loss of accuracy when one of 2 features is shuffled. The most important: size (0.2000)" in words
    assert "Slice Rows accuracy log_loss macro_f1 origin=JFK 700 0.6650" in words
    html = (written.index.parent / "runs" / run / "index.html").read_text()
    assert {f'id="plot-{name}"' in html for name in ("roc", "precision-recall", "calibration", "confidence")} == {True}
    assert "threshold" not in words
    assert written.missing[run].keys() & {"quality", "importance", "slices"} == set()
    assert "Calibration of the most probable class" in page(written, run, "card")


def test_a_run_of_numbers_has_predicted_against_actual_in_cells_and_the_error_by_decile(seeds, tmp_path):
    _, run = scored.keep(seeds, tmp_path / "scores")
    written = seeds.write(tmp_path / "site")
    words = page(written, run)
    assert "Predicted against actual values of 2,000 rows" in words
    assert "Error in tenths of the rows by label" in words
    assert "Loss of R² when one of 2 features is shuffled" in words
    assert "Slice Rows mae r2 rmse origin=EWR 700 14.91" in words
    html = (written.index.parent / "runs" / run / "index.html").read_text()
    assert {f'id="plot-{name}"' in html for name in ("predicted", "residuals", "deciles", "spread")} == {True}
    assert len(html) < 200_000, "a cell for many rows, not a point for each"
    assert "threshold" not in words
    card = page(written, run, "card")
    assert "Predicted against actual" in card
    assert not re.search(r"\bauc\b|probabilit|threshold|calibrat", card.lower())


def test_of_long_texts_the_beginning_is_shown(seeds, tmp_path):
    from tensorflow_metadata.proto.v0 import statistics_pb2

    run = seeds.run("texts")
    figures = statistics_pb2.DatasetFeatureStatisticsList()
    texts = figures.datasets.add(num_examples=10).features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
    texts.path.step.append("review")
    texts.string_stats.common_stats.num_non_missing = 10
    texts.string_stats.unique = 2
    review = "I wanted to love this dress. " * 30
    for rank, (value, rows) in enumerate(((review, 9), ("Fine.", 1))):
        texts.string_stats.rank_histogram.buckets.add(low_rank=rank, high_rank=rank, label=value, sample_count=rows)
    file = tmp_path / "statistics" / "Split-train" / "FeatureStats.pb"
    file.parent.mkdir(parents=True)
    file.write_bytes(figures.SerializeToString())
    seeds.artifact(run, "StatisticsGen", "statistics", tmp_path / "statistics")
    written = seeds.write(tmp_path / "site")
    beginning = "I wanted to love this dress. I wanted\N{HORIZONTAL ELLIPSIS}"
    assert f"first {beginning} 90.0 %" in page(written, run)
    html = (written.index.parent / "runs" / run / "index.html").read_text()
    assert f"review by split. train: {beginning} 90.0\N{NO-BREAK SPACE}%, Fine. 10.0" in html


def test_damaged_files_cost_a_section_and_are_told_from_files_that_are_gone_and_nodes_that_never_ran(seeds, tmp_path):
    damaged, moved = seeds.run("damaged"), seeds.run("moved")
    folder = tmp_path / "scores"
    (folder / "Split-train").mkdir(parents=True)
    (folder / "scores.parquet").write_bytes(b"not parquet")
    for name in ("importance.json", "mistakes.json"):
        (folder / name).write_text("{")
    (folder / "Split-train" / "FeatureStats.pb").write_bytes(b"\xff\xff")
    seeds.artifact(damaged, "Scores", "scores", folder)
    seeds.artifact(moved, "Scores", "scores", tmp_path / "gone")
    written = seeds.write(tmp_path / "site")
    assert set(written.missing[damaged]) >= {"quality", "importance", "mistakes", "data"}
    assert page(written, damaged).count("It cannot be read") == 4
    assert written.missing[moved]["quality"].startswith("Gone: Scores made its")
    assert written.missing[moved]["mistakes"].startswith("Gone: Scores made its")
    assert written.missing[moved]["data"].startswith("StatisticsGen did not run")


def test_what_people_wrote_is_shown_as_text(seeds, tmp_path):
    run = seeds.run("noted", reasons=(HOSTILE,), branch=HOSTILE, metrics={"auc": 0.5, HOSTILE: 1.0})
    seeds.recorder.note(run, f"tried {HOSTILE}", who=HOSTILE)
    seeds.recorder.tag(run, HOSTILE)
    written = seeds.write(tmp_path / "site", roles={"x": HOSTILE})
    for file in written.index.parent.rglob("*.html"):
        assert HOSTILE not in file.read_text(), file


def test_only_the_newest_runs_have_pages_and_hundreds_are_listed_quickly(seeds, tmp_path):
    for number in range(200):
        seeds.run(f"run-{number:03}", 0.5 + number / 2000)
    written = seeds.write(tmp_path / "site", newest=2)
    words = text(written.index)
    assert (written.runs, written.listed) == (("run-199", "run-198"), 200)
    assert all(f"run-{number:03}" in words for number in range(200))
    assert "The newest 2 runs have a page of their own." in words
    assert written.index.stat().st_size < 1_000_000
    assert written.largest < 5_000_000


def test_card_joins_what_people_wrote_and_what_the_run_shows(seeds, tmp_path):
    card = tmp_path / "CARD.md"
    card.write_text("# The toy model\n\n## For\n\nplaying\n\n## Limits\n\nbreaks\n")
    slices = [
        {"slice": f"colour={colour}", "rows": rows, "challenger": {"auc": auc}, "champion": {}}
        for colour, rows, auc in (("red", 5000, 0.6), ("blue", 9, 0.1))
    ]
    documents = {"slices": seeds.recorder.put_document(slices)}
    run = seeds.run("carded", documents=documents, outcome="not blessed", reasons=("auc is low",))
    words = page(seeds.write(tmp_path / "site", model_card=card), run, "card")
    parts = ("The toy model", "playing", "Metrics by slice", "Limits that this run", "breaks")
    order = [words.index(part) for part in parts]
    assert order == sorted(order)
    assert "It is weakest on colour=red: auc 0.6000 on 5,000 rows" in words
    assert "1 slice of 2 have fewer than 100 rows" in words
    assert "This model is not in use" in words


def test_a_few_requests_are_shown_and_the_card_warns_of_many_only(seeds, tmp_path):
    figures = statistics_pb2.DatasetFeatureStatisticsList()
    size = figures.datasets.add(num_examples=1000).features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
    size.path.step.append("size")
    size.num_stats.common_stats.num_non_missing = 1000
    size.num_stats.std_dev = 1.0
    (tmp_path / "statistics" / "Split-train").mkdir(parents=True)
    (tmp_path / "statistics" / "Split-train" / "FeatureStats.pb").write_bytes(figures.SerializeToString())
    run = seeds.run("served", version="7")
    seeds.artifact(run, "StatisticsGen", "statistics", tmp_path / "statistics")
    (tmp_path / "log").mkdir()

    def written_after(rows: int) -> site.Site:
        logged = {"size": pa.array([9.0] * rows, pa.float32()), "model_version": pa.array([7] * rows)}
        pq.write_table(pa.table(logged), tmp_path / "log" / "asked.parquet")
        return seeds.write(tmp_path / "site", payloads=tmp_path / "log")

    warning = "size: what it is asked in service differs much from what it learned from."
    few = written_after(1)
    assert "Serving: 1 row that a server logged." in page(few, run)
    assert "serving, 1 row " in page(few, run)
    assert warning not in page(few, run, "card")
    assert warning in page(written_after(100), run, "card")


def test_a_run_of_another_use_case_in_the_same_store_is_not_described_by_this_one_s_card(seeds, tmp_path):
    card = tmp_path / "CARD.md"
    card.write_text("# The toy model\n\n## For\n\nplaying\n")
    run = seeds.run("other", pipeline="tools")
    words = page(seeds.write(tmp_path / "site", model_card=card), run, "card")
    assert "playing" not in words
    assert "This run is of tools: what people wrote about that model is in the report of its own settings." in words
    assert "playing" in page(seeds.write(tmp_path / "tools", model_card=card, name="tools"), run, "card")


def test_card_and_page_show_how_groups_of_people_are_treated(seeds, tmp_path):
    pair = {"of": "", "higher": HOSTILE, "lower": "f", "difference": 0.25, "low": 0.12, "high": 0.38}
    measured = {"values": {"f": 0.25, HOSTILE: 0.5}, "counted": {"f": 200, HOSTILE: 180}, "largest": pair}
    column = {
        "column": "sex",
        "feature": False,
        "min_rows": 190,
        "groups": [{"group": "f", "rows": 200}, {"group": HOSTILE, "rows": 180}],
        "ungrouped": 7,
        "measures": [
            {"name": "selection_rate", **measured, "surest": pair, "allowed": 0.1},
            {"name": "true_positive_rate", **measured, "largest": None, "surest": None, "allowed": None},
        ],
    }
    document = seeds.recorder.put_document([column])
    seeds.run("judged", documents={"fairness": document}, outcome="not blessed", reasons=("selection rate differs",))
    seeds.run("plain")
    seeds.run("broken", metrics={}, outcome="failed")
    written = seeds.write(tmp_path / "site")

    for name in ("card", "index"):
        words = page(written, "judged", name)
        assert "The contract marks this column as sensitive: the model does not read it. 7 rows have no value" in words
        assert "f 200 0.2500" in words
        assert "few rows 180 0.5000" in words
        assert "selection rate 0.2500 0.1200 to 0.3800" in words
        assert "not certainly above 0.1 refused" in words
        assert "true positive rate - - fewer than two groups have enough rows" in words
    assert "Newcombe's (1998)" in page(written, "judged", "card")
    assert "Fairness" not in page(written, "plain")
    assert "marks no column as sensitive, so no groups of people were compared." in page(written, "plain", "card")
    assert "marks no column" not in page(written, "broken", "card")


def test_without_a_card_the_page_says_which_setting(seeds, tmp_path):
    run = seeds.run("plain")
    assert "use_case.model_card" in page(seeds.write(tmp_path / "site"), run, "card")
    with pytest.raises(FlightdeckError, match="cannot be read"):
        seeds.write(tmp_path / "other", model_card=tmp_path / "nowhere.md")


def test_relatives_are_linked(seeds, tmp_path):
    seeds.run("first", model_id=7, nodes=(node("Trainer"),))
    seeds.run("second", model_id=9, champion_model_id=7)
    seeds.run("third", parent="first", kind="reproduction")
    written = seeds.write(tmp_path / "site")
    assert "first : trained the champion that this run was compared with" in page(written, "second")
    assert "first : this run belongs to it" in page(written, "third")
    html = (written.index.parent / "runs" / "first" / "index.html").read_text()
    assert 'href="../../runs/second/index.html"' in html


def test_every_link_between_the_pages_leads_somewhere_in_the_site_whatever_runs_are_called(seeds, tmp_path):
    seeds.run("../../up and away", model_id=7)
    seeds.run("second", champion_model_id=7)
    written = seeds.write(tmp_path / "site")
    pages = set(written.index.parent.rglob("*.html"))
    assert len(pages) == 5
    for file in pages:
        html = file.read_text()
        ids = re.findall(r'\bid="([^"]+)"', html)
        assert len(ids) == len(set(ids)), "an id stands twice"
        for target in re.findall(r'(?:href|src)="(?!data:)([^"]+)"', html):
            path, _, anchor = target.partition("#")
            assert "://" not in target
            assert not path.endswith(".html") or (file.parent / path).resolve() in pages, target
            assert not path or (file.parent / path).resolve().is_file(), target
            assert not anchor or path or anchor in ids, target


def test_a_report_is_replaced_and_nothing_else_ever(seeds, tmp_path):
    seeds.run("first")
    output = tmp_path / "site"
    seeds.write(output)
    seeds.run("second")
    assert seeds.write(output).listed == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metadata.sqlite", "site"]
    (output / site.MARK).unlink()
    with pytest.raises(FlightdeckError, match="something other than a report"):
        seeds.write(output)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FlightdeckError, match="is a file"):
        seeds.write(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_a_report_that_fails_leaves_the_old_one(seeds, tmp_path, monkeypatch):
    seeds.run("first")
    output = tmp_path / "site"
    before = seeds.write(output).index.read_bytes()

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(FlightdeckError, match="No space left on device"):
        seeds.write(output)
    assert (output / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metadata.sqlite", "site"]


def test_an_empty_store_has_a_page(seeds, tmp_path):
    assert "holds no runs yet" in text(seeds.write(tmp_path / "site").index)
