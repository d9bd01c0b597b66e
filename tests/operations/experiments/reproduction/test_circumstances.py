"""What of a run is different now: each thing is named, and records that cannot tell are refused."""

import dataclasses
from typing import Any

import pytest

from flightdeck.settings import read_settings
from ledger.opening import LedgerError
from ledger.run_record import NodeOutcome
from operations.experiments.reproduction import circumstances
from operations.experiments.reproduction.circumstances import ReproductionError
from operations.experiments.sweep.plan import spans_folder
from pipeline import stamp
from tests.ledger.executions import Executions
from tests.ledger.seeding import Seeder, sqlite
from tests.world import LOCAL, ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def seeder(tmp_path) -> Seeder:
    return Seeder(sqlite(tmp_path / "metadata.sqlite"))


@pytest.fixture
def recorded(seeder):
    """Writes a complete run, but for what is given, and reads it as one that can be made again."""

    def write(name: str = "20130701-0930-aaaa", **fields: Any):
        model = Executions(seeder.store).artifact("Model", "/somewhere/model")
        settings = read_settings(LOCAL, ["model.epochs=7", "data.window=newest-2:newest"]).document()
        documents = {"settings": settings, "sources": {"models/network.py": "aaaa"}, "packages": {"keras": "3.0"}}
        complete = {
            "model_id": model,
            "data": "sha256:feed",
            "hyperparameters": {"epochs": 9, "tuned.rate": 0.5},
            "documents": {key: seeder.recorder.put_document(content) for key, content in documents.items()},
        }
        seeder.run(name, auc=0.7, **{**complete, **fields})
        return circumstances.original(seeder.store, name)

    return write


def test_the_base_model_of_a_warm_start_is_looked_up_and_one_that_is_gone_is_named(recorded):
    first = recorded()
    assert first.base_model is None
    assert recorded("second", base_model_id=first.record.model_id).base_model == "/somewhere/model"
    with pytest.raises(ReproductionError, match="no longer has model 99, which run third began with"):
        recorded("third", base_model_id=99)


@pytest.fixture
def here(tmp_path):
    """Settings here, with spans that no run has read."""
    (tmp_path / "spans" / "span-009").mkdir(parents=True)
    return read_settings(LOCAL, [f"workspace={tmp_path}", f"data.spans={tmp_path / 'spans'}"])


@pytest.fixture
def compared(recorded, here, monkeypatch):
    """Compares a run, of which some parts are replaced, with what is here."""

    def compare(parts: dict[str, Any], packages: dict[str, str], locked: dict[str, str] | None, **fields: Any):
        monkeypatch.setattr(stamp, "packages", lambda: packages)
        monkeypatch.setattr(circumstances, "pins", lambda lock: locked)
        original = dataclasses.replace(recorded(**fields), **{"sources": stamp.sources_of(here), **parts})
        return circumstances.compare(original, here)

    return compare


def sentences(comparison: circumstances.Circumstances, aspect: str) -> list[str]:
    return [difference.sentence() for difference in comparison.differences if difference.aspect == aspect]


def test_each_source_file_that_differs_is_named(compared, monkeypatch):
    monkeypatch.setattr(stamp, "sources_of", lambda _: {"models/a.py": "1", "models/b.py": "9", "models/d.py": "4"})
    comparison = compared({"sources": {"models/a.py": "1", "models/b.py": "2", "models/c.py": "3"}}, {}, None)

    assert sentences(comparison, "code") == ["models/b.py has changed", "models/c.py is missing", "models/d.py is new"]


def test_packages_are_named_with_both_versions_and_those_outside_the_lock_if_there_is_one_take_no_part(compared):
    then = {"keras": "3.0", "numpy": "2.4", "ruff": "0.1", "gone": "1"}
    now = {"keras": "3.1", "numpy": "2.4", "ruff": "0.2", "added": "5"}
    locked, ruff = {"keras": "3.1", "numpy": "2.4", "added": "5", "gone": "1"}, "ruff is 0.2, and was 0.1"
    differing = ["added is new: 5", "gone is missing, and was 1", "keras is 3.1, and was 3.0"]
    comparison = compared({"packages": then}, now, locked)

    assert sentences(comparison, "packages") == differing
    assert f"Packages that are in no lock differ, and take no part: {ruff}." in comparison.notes
    assert sentences(compared({"packages": then}, now, None, name="other"), "packages") == [*differing, ruff]


def test_a_lock_file_pins_what_is_for_this_platform(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text(
        "# made by a tool\n"
        "--only-binary :all:\n"
        "Zope.Interface==7.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "winonly==1.0 ; sys_platform == 'win32' \\\n    --hash=sha256:cc\n"
        "ranged>=1.0\n"
        "keras[extra]==3.1 ; python_version >= '3.8'\n"
    )

    assert circumstances.pins(lock) == {"zope-interface": "7.0", "keras": "3.1"}
    assert circumstances.pins(tmp_path / "none.txt") is None
    ours = circumstances.pins(ROOT / "requirements" / "runtime.txt") or {}
    assert {"tensorflow", "keras", "tfx", "apache-beam", "numpy"} <= set(ours)


def test_a_run_is_made_again_with_its_own_settings_on_its_spans_and_not_with_those_of_today(recorded, tmp_path):
    original = recorded(hyperparameters={"epochs": 9, "hidden_units": [8], "learning_rate": 0.01})
    here = read_settings(LOCAL, ["model.epochs=2", f"workspace={tmp_path}", "model.seed=3", "push.enabled=true"])

    again = circumstances.settings_again(original, here)

    # As the Trainer used them: not the 7 that the settings had, which a Tuner or a parameter had replaced.
    assert (again.model.epochs, again.model.hidden_units, again.model.learning_rate) == (9, (8,), 0.01)
    assert again.model.seed == 0
    assert (again.data.window, again.data.eval_spans) == ("1:3", 1)
    assert (again.cache, again.tuning.enabled, again.push.enabled) == (False, False, False)
    assert again.workspace == str(tmp_path)


def test_the_settings_here_that_would_make_another_model_are_named_without_long_values(recorded, tmp_path):
    ours = ["model.epochs=2", f"workspace={tmp_path}", "push.enabled=false", "model.tuning.max_trials=2"]
    differences = circumstances.setting_differences(recorded(hyperparameters={"epochs": 9}), read_settings(LOCAL, ours))
    epochs = next(difference for difference in differences if difference.name == "model.epochs")

    assert epochs.sentence() == epochs.briefly() == "model.epochs is 2, and was 9"
    assert dataclasses.replace(epochs, recorded="9" * 40).briefly() == "model.epochs"
    assert {difference.name.partition(".")[0] for difference in differences} == {"model"}
    assert not any("tuning" in difference.name for difference in differences)


def test_another_engine_of_beam_is_named_since_last_digits_may_differ(compared, monkeypatch):
    nodes = (
        NodeOutcome("StatisticsGen", "done", 1.0, 1.0, engine="flink"),
        NodeOutcome("Transform", "cached", 1.0, 1.0, engine="local"),
        NodeOutcome("Evaluator", "done", 1.0, 1.0),  # an older record
    )

    comparison = compared({}, {"keras": "3.0"}, None, nodes=nodes)

    said = "Beam runs StatisticsGen on local and not flink: results may differ in their last digits."
    assert said in comparison.notes
    assert not [note for note in comparison.notes if "Transform" in note or "Evaluator" in note]


@pytest.mark.parametrize("override", ["model.epochs=2", "data.window=1:3", "workspaces=x", "tuning.enabled=true"])
def test_places_can_be_set_and_what_would_change_the_run_cannot(override):
    places = ["workspace=/a", "data.spans=/b", "metadata.kind=mysql", "beam.args=[]"]
    circumstances.refuse_overrides(places)
    with pytest.raises(ReproductionError, match=override):
        circumstances.refuse_overrides([*places, override])


def test_data_is_looked_for_where_the_settings_say_and_else_where_the_run_had_it(tmp_path):
    there = tmp_path / "spans of the run"
    settings = {"data": {"spans": str(there)}}
    here = read_settings(LOCAL, [f"workspace={tmp_path}"])
    elsewhere = read_settings(LOCAL, [f"data.spans={tmp_path / 'other'}"])

    assert spans_folder(settings, here) == f"{tmp_path}/spans"
    there.mkdir()
    assert spans_folder(settings, here) == str(there)
    assert spans_folder(settings, elsewhere) == str(tmp_path / "other")


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"outcome": "running"}, "has not ended, or was killed"),
        ({"kind": "trial"}, "is a trial"),
        ({"kind": "prediction"}, "is a prediction"),
        ({"model_id": None, "outcome": "failed", "reasons": ("Transform failed: no space",)}, "no space"),
        ({"metrics": {}}, "did not evaluate its model"),
        ({"model_id": 77}, "no longer has the model"),
        ({"data": None}, "lacks its data"),
        ({"documents": {}}, "lacks its settings, sources, packages"),
    ],
)
def test_a_run_that_nobody_can_make_again_is_one_sentence(recorded, fields, sentence):
    with pytest.raises(ReproductionError, match=sentence) as refused:
        recorded(**fields)

    assert "\n" not in str(refused.value)


def test_runs_of_other_programs_and_runs_that_never_were_are_one_sentence(seeder):
    with pytest.raises(ReproductionError, match="another program"):
        circumstances.original(seeder.store, seeder.foreign("theirs"))
    with pytest.raises(LedgerError, match="has no run nothing"):
        circumstances.original(seeder.store, "nothing")


def test_a_model_from_the_cache_names_the_run_that_trained_it(seeder, recorded):
    first = recorded("20130701-0930-first")
    second = recorded("20130701-0931-again", model_id=first.record.model_id)
    for run in (first, second):
        Executions(seeder.store).execute(run.record.run_id, "Trainer", {}, {"model": first.record.model_id})

    assert circumstances.original(seeder.store, "20130701-0930-first").trained_by is None
    assert circumstances.original(seeder.store, "20130701-0931-again").trained_by == "20130701-0930-first"


def test_another_commit_with_the_same_sources_is_a_note_on_whose_it_is(compared):
    own = {"use_case_commit": "a" * 40, "use_case_dirty": False, "commit": "f" * 40, "dirty": False}
    first, second, *_ = compared({}, {}, None, **own).notes

    assert first.startswith(f"The run's code was commit {'a' * 12}, and this is ")
    assert second.startswith(f"The run's Flightdeck was commit {'f' * 12}, and this is ")
