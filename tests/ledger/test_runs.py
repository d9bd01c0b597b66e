"""Finding runs: by name, by condition, and the best among runs with known metrics."""

import math
import random
import time
from datetime import UTC, datetime, timedelta

import pytest

from ledger.filters import Condition, Filter, parse_moment
from ledger.opening import LedgerError, open_readonly
from ledger.run_facts import evaluation_data, is_ours, outcome, resolved_window, value_of
from ledger.runs import Runs
from tests.ledger.seeding import BEGIN, Seeder, sqlite

pytestmark = pytest.mark.unit


def runs_of(seeder: Seeder) -> Runs:
    return Runs(open_readonly(seeder.connection))


def ids(records) -> list[str]:
    return [record.run_id for record in records]


class TestBest:
    """Which run is best."""

    def test_the_right_one_of_forty_in_random_order_in_the_direction_that_the_settings_say(self, seeder):
        order = random.Random(7).sample(range(40), 40)
        for index in order:
            seeder.run(f"run-{index:02d}", 0.60 + index / 1000)

        for metric, direction in (("auc", "higher"), ("binary_crossentropy", "lower")):
            best = runs_of(seeder).best(metric)
            assert ids([best.record, *best.others]) == [f"run-{index:02d}" for index in range(39, -1, -1)]
            assert best.better == direction

    def test_a_threshold_tells_the_direction_too_and_nobody_guesses_one(self, seeder):
        for name, value in (("a", 0.1), ("b", 0.05)):
            metrics = {"brier": value, "mean_prediction": value}
            seeder.run(name, metrics=metrics, thresholds={"brier": {"at_most": 0.2}})
        runs = runs_of(seeder)

        assert runs.best("brier").record.run_id == "b"
        with pytest.raises(LedgerError, match="whether a higher or a lower mean_prediction is better"):
            runs.best("mean_prediction")
        assert runs.best("mean_prediction", better="higher").record.run_id == "a"

    def test_the_main_metric_of_the_newest_run_is_the_default(self, seeder):
        seeder.run("a", 0.7)
        seeder.run("b", 0.6, main_metric="binary_crossentropy", main_better="lower")

        best = runs_of(seeder).best()

        assert (best.metric, best.record.run_id) == ("binary_crossentropy", "a")

    def test_failed_runs_trials_and_runs_without_the_metric_are_no_candidates(self, seeder):
        seeder.run("good", 0.65)
        seeder.run("failed", 0.9, outcome="failed")
        seeder.run("trial", 0.9, kind="trial", outcome="done")
        seeder.run("unmeasured")
        seeder.foreign("theirs")

        best = runs_of(seeder).best("auc")

        assert (best.record.run_id, best.others) == ("good", ())
        assert runs_of(seeder).best("auc", Filter(kinds=("trial",))).record.run_id == "trial"

    def test_of_equal_ones_the_first_that_began_and_last_what_is_no_number(self, seeder):
        for name, auc in (("broken", math.nan), ("worse", 0.5), ("b", 0.7), ("a", 0.7)):
            seeder.run(name, metrics={"auc": auc})

        best = runs_of(seeder).best("auc")

        assert ids([best.record, *best.others]) == ["b", "a", "worse", "broken"]

    def test_like_is_compared_with_like(self, seeder):
        seeder.run("easy", 0.8, spans={"train": [1, 2, 3], "eval": [4]}, window="1:4")
        seeder.run("fewer rows", 0.9, rows={"train": 3000, "eval": 20})
        seeder.run("a", 0.7, spans={"train": [2], "eval": [3]}, window="2:3")
        seeder.run("b", 0.6)

        runs = runs_of(seeder)

        best = runs.best("auc")
        assert (best.record.run_id, ids(best.others), ids(best.left_out)) == ("a", ["b"], ["fewer rows", "easy"])
        assert best.evaluated_on == {"span 3, 1,500 rows": 2}
        assert runs.find("best").run_id == "a"
        assert runs.best("auc", evaluated_on="4").record.run_id == "easy"
        assert ids(runs.best("auc", evaluated_on="4").left_out) == ["b", "a", "fewer rows"]
        everything = runs.best("auc", evaluated_on="any")
        assert (everything.record.run_id, everything.left_out) == ("fewer rows", ())
        assert everything.evaluated_on == {"span 3, 1,500 rows": 2, "span 4, 1,500 rows": 1, "span 3, 20 rows": 1}
        with pytest.raises(LedgerError, match="No run that is meant was evaluated on '5'; known: 3, 4, any"):
            runs.best("auc", evaluated_on="5")

    def test_an_empty_store_has_no_best_and_a_wrong_metric_is_corrected(self, seeder):
        with pytest.raises(LedgerError, match="has any metric"):
            runs_of(seeder).best()
        seeder.run("a", 0.7)
        with pytest.raises(LedgerError, match="No run has a metric 'uac'; did you mean auc"):
            runs_of(seeder).best("uac")


class TestFind:
    """What people call a run."""

    @pytest.fixture(scope="class")
    def runs(self, tmp_path_factory) -> Runs:
        seeder = Seeder(sqlite(tmp_path_factory.mktemp("find") / "metadata.sqlite"))
        seeder.run("20130701-093000-aaaa", 0.7)
        seeder.run("20130701-093100-bbbb", 0.6)
        seeder.run("20130702-093000-cccc", kind="trial")
        return runs_of(seeder)

    @pytest.mark.parametrize(
        ("name", "meant"),
        [
            ("20130701-093000-aaaa", "20130701-093000-aaaa"),
            ("20130701-0931", "20130701-093100-bbbb"),
            ("latest", "20130701-093100-bbbb"),  # not the trial
            ("best", "20130701-093000-aaaa"),
        ],
    )
    def test_by_name_by_its_beginning_and_by_meaning(self, runs, name, meant):
        assert runs.find(name).run_id == meant

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("20130701", "2 runs begin with 20130701: 20130701-093000-aaaa, 20130701-093100-bbbb"),
            ("20130701-093000-aaba", "did you mean .*20130701-093000-aaaa"),
            *((name, "has no run") for name in ("", "nonsense", "%", "'; drop table")),
        ],
    )
    def test_other_names_are_refused_and_corrected(self, runs, name, said):
        with pytest.raises(LedgerError, match=said):
            runs.find(name)

    def test_a_run_that_is_called_latest_is_that_run_and_in_an_empty_store_there_is_none(self, seeder):
        assert runs_of(seeder).all() == []
        with pytest.raises(LedgerError, match="has no runs yet"):
            runs_of(seeder).find("latest")
        seeder.run("latest", 0.6)
        seeder.run("another", 0.7)

        assert runs_of(seeder).find("latest").run_id == "latest"

    def test_a_document_is_found_and_a_wrong_one_corrected(self, runs):
        record = runs.find("latest")

        assert runs.document(record, "settings")["evaluation"]["metrics"][0]["name"] == "AUC"
        with pytest.raises(LedgerError, match="no document 'setings'; did you mean settings"):
            runs.document(record, "setings")


def test_a_prediction_has_the_window_of_the_spans_that_it_saw_and_of_files_none(seeder):
    prediction = {"kind": "prediction", "outcome": "done", "rows": {"all": 9}}
    seeder.run("of a window", window="newest:newest", spans={"all": [12]}, **prediction)
    seeder.run("of files", window=None, spans={"all": [1, 2]}, **prediction)

    assert [resolved_window(run) for run in runs_of(seeder).all()] == ["12:12", None]
    assert ids(runs_of(seeder).select(Filter(window="1:2"))) == []


class TestSelect:
    """Which runs meet conditions."""

    @pytest.fixture(scope="class")
    def runs(self, tmp_path_factory) -> Runs:
        seeder = Seeder(sqlite(tmp_path_factory.mktemp("select") / "metadata.sqlite"))
        seeder.run("a", 0.60, tags=("first", "old"), user="bob")
        seeder.run("b", 0.65, outcome="not blessed", hyperparameters={"epochs": 5, "optimizer.learning_rate": 0.01})
        seeder.run("c", 0.70, window="newest-1:newest", spans={"train": [2], "eval": [3]}, dirty=True)
        seeder.of_a_project("d", outcome="failed", kind="reproduction", parent="a")
        seeder.recorder.note("c", "A wider network")
        seeder.foreign("theirs")
        return runs_of(seeder)

    @pytest.mark.parametrize(
        ("condition", "meant"),
        [
            ("auc>0.65", ["c"]),
            ("auc >= 0.65", ["b", "c"]),
            ("auc<0.65", ["a"]),
            ("auc=0.65", ["b"]),
            ("auc==0.65", ["b"]),
            ("auc!=0.65", ["a", "c"]),
            ("auc>1e-3", ["a", "b", "c"]),
            ("epochs=5", ["b"]),
            ("learning_rate>0.005", ["b"]),
            ("optimizer.learning_rate>0.005", ["b"]),
            ("user=bob", ["a"]),
            ("user!=bob", ["b", "c", "d"]),
            ("dirty=true", ["c"]),
            ("branch=trunk", ["d"]),
            (f"commit={'b' * 40}", ["d"]),
            ("dirty!=true", ["a", "b", "d"]),
            ("seconds<=61", ["a", "b"]),
            ("outcome=failed", ["d"]),
        ],
    )
    def test_by_metric_hyperparameter_and_fact(self, runs, condition, meant):
        for metrics_only in {False, condition.startswith("auc")}:
            assert ids(runs.select(Filter(conditions=(Condition.parse(condition, metrics_only),)))) == meant

    @pytest.mark.parametrize(
        ("wanted", "meant"),
        [
            (Filter(), ["a", "b", "c", "d", "theirs"]),
            (Filter(window="1:3"), ["a", "b", "d"]),
            (Filter(window="2:3"), ["c"]),  # as it turned out
            (Filter(window="newest-1:newest"), ["c"]),  # as it was asked for
            (Filter(outcomes=("failed", "not blessed")), ["b", "d"]),
            (Filter(outcomes=("not ours",)), ["theirs"]),
            (Filter(kinds=("run",)), ["a", "b", "c"]),
            (Filter(kinds=("reproduction",)), ["d"]),
            (Filter(parent="a"), ["d"]),
            (Filter(commit="0" * 39 + "2"), ["b"]),
            (Filter(commit="bbb"), ["d"]),  # the project's
            (Filter(commit="FFF"), ["d"]),  # Flightdeck's below it
            (Filter(tags=("first",)), ["a"]),
            (Filter(tags=("first", "new")), []),
            (Filter(note="WIDER"), ["c"]),
            (Filter(since=BEGIN + timedelta(minutes=2), until=BEGIN + timedelta(minutes=3)), ["c"]),
            (Filter(until=BEGIN + timedelta(minutes=1)), ["a"]),
        ],
    )
    def test_by_everything_else(self, runs, wanted, meant):
        assert ids(runs.select(wanted)) == meant

    @pytest.mark.parametrize(
        ("text", "metrics_only", "said"),
        [
            *((text, False, "is not a condition") for text in ("auc", "auc>", ">0.6", "auc~0.6", "")),
            ("auc>high", True, "'high' in 'auc>high' is not a number"),
            ("acu>0.6", True, "No run has a metric 'acu'; did you mean auc"),
            ("epochs>1", True, "No run has a metric 'epochs'; known: auc, binary_crossentropy"),
            ("epoch>1", False, "No run has a value 'epoch'; did you mean epochs"),
        ],
    )
    def test_wrong_conditions_are_refused_and_corrected(self, runs, text, metrics_only, said):
        with pytest.raises(LedgerError, match=said):
            runs.select(Filter(conditions=(Condition.parse(text, metrics_only),)))

    def test_wrong_outcomes_and_kinds_are_corrected(self):
        with pytest.raises(LedgerError, match="no outcome 'pushd'; did you mean pushed"):
            Filter(outcomes=("pushd",))
        with pytest.raises(LedgerError, match="no kind 'runs'; did you mean run"):
            Filter(kinds=("runs",))

    @pytest.mark.parametrize(
        ("field", "descending", "order"),
        [
            ("auc", True, ["c", "b", "a", "d", "theirs"]),
            ("auc", False, ["a", "b", "c", "d", "theirs"]),
            ("seconds", True, ["d", "c", "b", "a", "theirs"]),
            ("epochs", True, ["b", "a", "c", "d", "theirs"]),
        ],
    )
    def test_sorted_and_those_without_the_value_last(self, runs, field, descending, order):
        assert ids(runs.sort(runs.all(), field, descending)) == order


class TestOthersRuns:
    """What this project did not write."""

    def test_another_pipeline_s_run_is_told_apart(self, seeder):
        seeder.foreign("2013-07-01T09:30:00.000000")
        seeder.run("ours", 0.6)

        ours, theirs = runs_of(seeder).all()

        assert (is_ours(ours), is_ours(theirs)) == (True, False)
        assert (outcome(theirs), evaluation_data(theirs)) == ("not ours", "unknown data")
        assert datetime.now(UTC) - theirs.started < timedelta(minutes=10)
        assert runs_of(seeder).find("latest").run_id == "ours"

    def test_a_store_with_their_runs_alone_answers_and_a_note_does_not_make_one_ours(self, seeder):
        seeder.foreign("theirs")
        seeder.recorder.note("theirs", "whose is this?")

        assert runs_of(seeder).find("latest").run_id == "theirs"
        assert not is_ours(runs_of(seeder).find("theirs"))
        with pytest.raises(LedgerError, match="has any metric"):
            runs_of(seeder).best()

    def test_a_record_that_cannot_be_read_stops_nothing(self, seeder):
        seeder.run("good", 0.6)
        seeder.run("newer", 0.7)
        seeder.spoil("newer", "flightdeck.outcome", '"quantum"')

        runs = runs_of(seeder)

        assert ids(runs.all()) == ["good"]
        assert runs.unreadable == ("newer",)
        with pytest.raises(LedgerError, match="record of run newer cannot be read"):
            runs.find("newer")


def test_by_its_name_a_metric_wins_over_a_hyperparameter_and_its_last_part(seeder):
    seeder.run("a", metrics={"rate": 1.0}, hyperparameters={"x.rate": 2.0, "y.rate": 3.0})
    record = runs_of(seeder).find("a")

    assert [value_of(record, name) for name in ("rate", "y.rate", "nothing")] == [1.0, 3.0, None]


class TestMoment:
    """Times that people write."""

    NOW = datetime(2013, 7, 15, 12, 0, tzinfo=UTC)

    @pytest.fixture(autouse=True)
    def _zone(self, monkeypatch):
        monkeypatch.setenv("TZ", "UTC-2")  # POSIX: two hours ahead of UTC
        time.tzset()
        yield
        monkeypatch.undo()
        time.tzset()

    @pytest.mark.parametrize(
        ("text", "end_of_day", "meant"),
        [
            ("2013-07-01", False, "2013-06-30T22:00+00:00"),
            ("2013-07-01", True, "2013-07-01T22:00+00:00"),
            ("2013-07-01T09:30", True, "2013-07-01T07:30+00:00"),
            ("2013-07-01T09:30Z", False, "2013-07-01T09:30+00:00"),
            ("today", False, "2013-07-14T22:00+00:00"),
            ("yesterday", False, "2013-07-13T22:00+00:00"),
            ("yesterday", True, "2013-07-14T22:00+00:00"),
            ("12h", False, "2013-07-15T00:00+00:00"),
            ("3d", False, "2013-07-12T12:00+00:00"),
            ("2w ago", False, "2013-07-01T12:00+00:00"),
        ],
    )
    def test_in_the_time_zone_of_the_machine(self, text, end_of_day, meant):
        assert parse_moment(text, self.NOW, end_of_day) == datetime.fromisoformat(meant)

    @pytest.mark.parametrize("text", ["soon", "2013-13-01", "", "-1d", "99999999999w"])
    def test_what_is_no_time(self, text):
        with pytest.raises(LedgerError, match=r"is not a time|before the beginning"):
            parse_moment(text, self.NOW)
