"""The registry in a folder and in a bucket, and a real SQLite store, with records as TFX's own components make them."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import ml_metadata
import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

import storage
from flightdeck.settings import Settings, read_settings
from ledger.recorder import Recorder
from operations.registry import Registry, RegistryError, Version
from operations.registry.records import Records
from pipeline.section import SettingsError
from tests.flightdeck.conftest import imports_none_of, refused
from tests.ledger.executions import CACHED, Executions
from tests.ledger.seeding import sqlite
from tests.services import buckets

pytestmark = pytest.mark.unit

CONFIG = Path("config/local.yaml")


class Factory:
    """Leaves behind what runs of the pipeline do."""

    def __init__(self, workspace: Path, *overrides: str, bucket: str | None = None) -> None:
        """Models and versions are in the bucket, if there is one."""
        self.workspace = workspace
        self.artifacts = storage.at(bucket or workspace) / "artifacts"
        destination = () if bucket is None else (f"push.destination={bucket}/models",)
        self.overrides = (f"workspace={workspace}", *destination, *overrides)
        self.settings = read_settings(CONFIG, list(self.overrides))
        workspace.mkdir(exist_ok=True)
        self.store = ml_metadata.MetadataStore(sqlite(workspace / "metadata.sqlite"))
        self.executions = Executions(self.store, self.settings.use_case.name)

    def train(self, run: str, blessed: bool = True, infra: bool = True) -> int:
        """A run up to its Evaluator and InfraValidator: the id of the model."""
        make, execute = self.executions.artifact, self.executions.execute
        uri = self.artifacts / "Trainer" / "model" / run
        self.write_model(uri / "Format-Serving", run)
        model = make("Model", str(uri))
        verdict = {"blessed": 1, "current_model_id": model} if blessed else {}
        execute(run, "Trainer", {}, {"model": model})
        execute(run, "Evaluator", {"model": model}, {"blessing": make("ModelBlessing", **verdict)})
        execute(run, "InfraValidator", {"model": model}, {"blessing": make("InfraBlessing", blessed=int(infra))})
        return model

    def push(self, run: str, model: int, version: int, canary: bool = False) -> Path:
        """What the Pusher of a run does."""
        folder = storage.at(self.settings.canaries if canary else self.settings.pushed) / str(version)
        self.write_model(folder, run)
        recorded = {"pushed": 1, "pushed_version": str(version), "pushed_destination": str(folder)}
        pushed = self.executions.artifact("PushedModel", **recorded)
        self.executions.execute(run, "Pusher", {"model": model}, {"pushed_model": pushed})
        return folder

    def write_model(self, folder: Path, run: str) -> None:
        write_model(folder, run)

    def push_three(self) -> Factory:
        """Three runs, each of which pushes its model, as version 1, 2 and 3."""
        for number, run in enumerate(("one", "two", "three"), start=1):
            self.push(run, self.train(run), number)
        return self

    def options(self) -> list[str]:
        """The settings for the command line."""
        return [part for override in self.overrides for part in ("--set", override)]

    def registry(self) -> Registry:
        return Registry(self.settings)

    def watched(self, **continuous: object) -> Settings:
        """The settings with changes of how they are watched."""
        return self.settings.model_copy(update={"continuous": self.settings.continuous.model_copy(update=continuous)})


def write_model(folder: Path, content: str) -> None:
    (folder / "variables").mkdir(parents=True)
    (folder / "variables" / "variables.data-00000-of-00001").write_text(content * 1000)
    (folder / "saved_model.pb").write_text(content)


@pytest.fixture(params=["folder", "gs"])
def bucket(request: pytest.FixtureRequest) -> str | None:
    """Where models and versions are; None: in the workspace."""
    if request.param == "folder":
        return None
    request.getfixturevalue("emulators")
    return buckets.new_bucket(request.param)


@pytest.fixture
def factory(tmp_path: Path, bucket: str | None) -> Factory:
    return Factory(tmp_path / "workspace", bucket=bucket)


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with three runs, each of which pushed its model as version 1, 2 and 3."""
    factory = Factory(tmp_path_factory.mktemp("three") / "workspace").push_three()
    copied = factory.workspace.with_name("copied")
    # The artifacts stay where the records say they are.
    shutil.copytree(factory.workspace, copied)
    shutil.rmtree(factory.workspace / "models")
    return copied


@pytest.fixture
def three(three_runs: Path, tmp_path: Path, bucket: str | None) -> Factory:
    """A copy of it, because each commit of SQLite waits for the disk. A workspace can be moved, a bucket cannot."""
    if bucket is not None:
        return Factory(tmp_path / "workspace", bucket=bucket).push_three()
    return Factory(Path(shutil.copytree(three_runs, tmp_path / "workspace")))


def numbers(versions: list[Version]) -> list[int]:
    return [version.number for version in versions]


def served_content(factory: Factory) -> str:
    return (factory.registry().served().folder / "saved_model.pb").read_text()


def test_versions_tell_their_run_and_which_is_served_and_the_champion(three: Factory) -> None:
    unpushed = three.train("four")  # blessed last, so it is what the next run compares with
    versions = three.registry().versions()
    assert [(version.number, version.run_id) for version in versions] == [(3, "three"), (2, "two"), (1, "one")]
    assert [version.served for version in versions] == [True, False, False]
    assert not any(version.champion for version in versions)
    change = three.registry().promote("four")
    assert change.version.champion
    assert change.version.model_id == unpushed
    assert all(version.blessed and version.present for version in three.registry().versions())


def test_rollback_serves_the_model_before_as_a_new_version_and_history_stays(three: Factory) -> None:
    change = three.registry().rollback(reason="late in March")
    assert (change.replaced, change.version.restores, change.version.reason) == (3, 2, "late in March")
    assert change.version.number > 3
    assert served_content(three) == "two"
    assert (change.version.folder / "variables" / "variables.data-00000-of-00001").read_text() == "two" * 1000
    assert numbers(three.registry().versions())[1:] == [3, 2, 1]
    assert three.registry().version(3).rolled_back_by == change.version.number
    assert change.seconds < 10


def test_a_second_rollback_goes_further_back_and_a_third_says_there_is_nothing(three: Factory) -> None:
    three.registry().rollback()
    change = three.registry().rollback()
    assert change.version.restores == 1
    assert served_content(three) == "one"
    with pytest.raises(RegistryError, match="no earlier blessed model"):
        three.registry().rollback()


def test_rollback_skips_versions_with_the_same_model_and_unblessed_ones(factory: Factory) -> None:
    good, bad, newest = factory.train("good"), factory.train("bad", blessed=False), factory.train("newest")
    for number, (run, model) in enumerate((("good", good), ("bad", bad), ("newest", newest), ("newest", newest)), 1):
        factory.push(run, model, number)
    assert factory.registry().rollback().version.restores == 1


def test_rollback_to_a_version_whose_folder_was_pruned_takes_the_models_artifact(three: Factory) -> None:
    registry = three.registry()
    assert numbers(registry.prunable(1)) == numbers(registry.prune(1)) == [1]
    assert not registry.version(1).present
    registry.rollback(to=1)
    assert served_content(three) == "one"


def test_rollback_is_an_execution_with_the_model_as_input_and_the_pushed_version_as_output(three: Factory) -> None:
    change = three.registry().rollback(reason="why not")
    (execution,) = three.store.get_executions_by_type("flightdeck.Rollback")
    assert execution.last_known_state == mlmd.Execution.COMPLETE
    assert execution.properties["reason"].string_value == "why not"
    assert execution.properties["who"].string_value
    assert execution.properties["when"].string_value.startswith("20")
    events = {event.type: event for event in three.store.get_events_by_execution_ids([execution.id])}
    ends = [events[kind].artifact_id for kind in (mlmd.Event.INPUT, mlmd.Event.OUTPUT)]
    model, pushed = three.store.get_artifacts_by_id(ends)
    assert (model.type, pushed.type) == ("Model", "PushedModel")
    assert model.id == three.registry().version(2).model_id
    assert pushed.custom_properties["pushed_version"].string_value == str(change.version.number)
    assert pushed.custom_properties["pushed_destination"].string_value == str(change.version.folder)
    # TFX must still be able to register its own type and use the one here.
    kind = mlmd.ArtifactType(name="PushedModel", base_type=mlmd.ArtifactType.MODEL)
    assert three.store.put_artifact_type(kind, can_add_fields=True) == pushed.type_id


def test_promote_refuses_an_unblessed_model_unless_forced_with_a_reason(three: Factory) -> None:
    model = three.train("weak", blessed=False)
    with pytest.raises(RegistryError, match="was not blessed"):
        three.registry().promote("weak")
    with pytest.raises(RegistryError, match="needs a --reason"):
        three.registry().promote("weak", force=True)
    change = three.registry().promote(str(model), reason="a drill", force=True)
    assert not change.version.blessed
    assert (change.version.origin, change.version.reason) == ("promote", "a drill")
    assert served_content(three) == "weak"


@pytest.mark.parametrize(
    ("change", "asked", "message"),
    [
        (Registry.rollback, 3, "is served, and has the model"),
        (Registry.rollback, 9, "no version 9"),
        (Registry.promote, "broken", "cannot serve"),
        (Registry.promote, "nobody", "no model nobody"),
        (Registry.promote, "999", "no model 999"),
        (Registry.promote, "three", "served already"),
    ],
)
def test_what_cannot_be_served_is_refused_in_a_sentence(three: Factory, change, asked, message) -> None:
    three.train("broken", infra=False)
    with pytest.raises(RegistryError, match=message):
        change(three.registry(), asked)
    assert served_content(three) == "three"


def test_the_first_version_can_be_promoted(factory: Factory) -> None:
    factory.train("one")
    with pytest.raises(RegistryError, match="No version"):
        factory.registry().served()
    assert factory.registry().promote("one").replaced is None
    assert served_content(factory) == "one"


def test_a_run_is_promoted_by_what_other_commands_call_it(three: Factory, flightdeck) -> None:
    recorder = Recorder(three.store)
    for minute, run in enumerate(("early", "later", "last")):
        three.train(run)
        recorder.write(run, kind="run", started=datetime(2026, 11, 30, 12, minute, tzinfo=UTC))

    for name, run in (("ear", "early"), ("latest", "last")):
        code, out, err = flightdeck("models", "promote", name, "--json", *three.options())
        assert (code, err) == (0, "")
        assert json.loads(out)["run_id"] == run
    with pytest.raises(RegistryError, match="2 runs begin with la: later, last"):
        three.registry().promote("la")


def test_a_run_whose_model_came_from_the_cache_has_it_all_the_same(three: Factory) -> None:
    model = three.train("first")
    three.executions.execute("again", "Trainer", {}, {"model": model}, state=CACHED)

    assert three.registry().promote("again").version.model_id == model


def test_models_of_another_pipeline_in_the_same_store_are_not_ours(three: Factory, tmp_path: Path) -> None:
    other = Factory(tmp_path / "other")
    other.executions = Executions(three.store, "another")
    other.push("foreign", other.train("foreign"), 7)
    assert numbers(three.registry().versions()) == [3, 2, 1]
    with pytest.raises(RegistryError, match="Run foreign trained no model of late-flights"):
        three.registry().promote("foreign")


def test_prune_never_removes_the_served_version_the_champion_or_the_one_to_go_back_to(factory: Factory) -> None:
    for number in range(1, 7):
        factory.push(f"run-{number}", factory.train(f"run-{number}"), number)
    registry = factory.registry()
    registry.rollback(to=2)  # serves 2's model; 6 is the champion's; a rollback would bring back 1
    assert numbers(registry.prunable(1)) == numbers(registry.prune(1)) == [2, 3, 4, 5]
    present = [version for version in registry.versions() if version.present]
    assert numbers(present)[1:] == [6, 1]
    assert present[0].served
    assert registry.prune(1) == []
    assert registry.rollback().version.restores == 1


def test_a_folder_without_a_record_is_listed_and_a_half_copied_one_is_no_version(three: Factory) -> None:
    folder = storage.at(three.settings.pushed)
    write_model(folder / "5", "by hand")
    write_model(folder / "6", "half")
    (folder / "6" / "saved_model.pb").unlink()  # it comes last
    newest = three.registry().versions()[0]
    assert (newest.number, newest.origin, newest.model_id, newest.served) == (5, "unknown", None, True)
    # The half-written one is somebody's: its number is not used.
    assert three.registry().rollback(to=1).version.number > 6


def _die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _roll_back_and_die(overrides: Sequence[str], at: str) -> None:
    copy = storage._copy

    def copy_half(source: Path, target: Path, names: Sequence[str]) -> None:
        copy(source, target, names[:1])
        _die()

    if at == "copying":
        storage._copy = copy_half
    else:
        Records.finish = _die
    Registry(read_settings(CONFIG, overrides)).rollback()


def _killed(factory: Factory, at: str) -> None:
    """Rolls back in a process that is killed at a point."""
    process = multiprocessing.get_context("spawn").Process(target=_roll_back_and_die, args=(factory.overrides, at))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_a_rollback_killed_while_copying_leaves_no_version_and_can_be_repeated(three: Factory) -> None:
    _killed(three, "copying")
    assert len(storage.entries(storage.at(three.settings.pushed))) == 4
    assert numbers(three.registry().versions()) == [3, 2, 1]
    assert served_content(three) == "three"
    three.registry().rollback()
    assert served_content(three) == "two"
    left = storage.entries(storage.at(three.settings.pushed))
    assert [entry.name for entry in left] == ["1", str(three.registry().served().number), "2", "3"]
    states = {rollback.last_known_state for rollback in three.store.get_executions_by_type("flightdeck.Rollback")}
    assert states == {mlmd.Execution.FAILED, mlmd.Execution.COMPLETE}


def test_a_rollback_killed_before_its_record_was_complete_is_known_all_the_same(three: Factory) -> None:
    _killed(three, "recording")
    assert served_content(three) == "two"
    newest = three.registry().served()
    assert (newest.origin, newest.restores) == ("rollback", 2)
    three.registry().prune(10)
    (execution,) = three.store.get_executions_by_type("flightdeck.Rollback")
    assert execution.last_known_state == mlmd.Execution.COMPLETE


def test_two_changes_at_a_time_are_refused_but_a_run_in_the_workspace_is_no_obstacle(three: Factory) -> None:
    from pipeline.workspace import exclusive, lock_of_folder

    # A lock belongs to the open file, whichever process opened it.
    with (
        lock_of_folder(three.settings, storage.at(three.settings.pushed)),
        pytest.raises(RegistryError, match="Another process is changing the registry"),
    ):
        three.registry().rollback()
    with exclusive(three.settings):
        three.registry().rollback()
    assert served_content(three) == "two"


def test_a_workspace_in_a_bucket_needs_a_server_for_what_a_bucket_cannot_do() -> None:
    with pytest.raises(SettingsError, match=r"gs://bucket/path is a bucket.* set metadata.kind to mysql"):
        Registry(read_settings(CONFIG, ["workspace=gs://bucket/path"]))


@pytest.mark.usefixtures("emulators")
def test_a_bucket_that_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    factory = Factory(tmp_path / "workspace", "push.destination=gs://nobody-made-this/models")
    factory.train("one")
    with pytest.raises(RegistryError, match=r"gs://nobody-made-this/models.*\.$"):
        factory.registry().promote("one")


def test_the_command_line_needs_no_tensorflow(three: Factory) -> None:
    arguments = ["models", "rollback", "--reason", "drill", "--json", *three.options()]
    change = json.loads(imports_none_of({"tensorflow", "tfx", "apache_beam"}, *arguments).stdout)
    assert (change["replaced"], change["restores"], change["reason"]) == (3, 2, "drill")


def test_the_command_line_tells_what_there_is_and_refuses_in_a_sentence(three: Factory, flightdeck) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        return flightdeck("models", *arguments, *three.options())

    def models(*arguments: str) -> str:
        code, out, err = run(*arguments)
        assert code == 0, err
        return out

    change = json.loads(models("rollback", "--to", "1", "--json"))
    assert [version["number"] for version in json.loads(models("list", "--json"))] == [change["number"], 3, 2, 1]
    assert "rolled back" in models("list")
    assert "rollback to 1" in models("show")
    assert json.loads(models("show", "3", "--json"))["rolled_back_by"] == change["number"]
    assert json.loads(models("prune", "--keep", "1", "--dry-run", "--json"))["removed"] == [1, 2]
    assert "Removed 1, 2" in models("prune", "--keep", "1")
    assert "instead of" in models("promote", "two")
    refused(run("prune"), "How many versions to keep is not said")
    refused(run("show", "four"), "four is not a version")


def test_the_metrics_of_a_version_are_those_of_the_ledger_wherever_its_run_was(three: Factory) -> None:
    """A run on Kubeflow leaves no folder on this machine."""
    Recorder(three.store).write("two", kind="run", runner="kubeflow", metrics={"auc": 0.7})
    registry = three.registry()

    assert registry.details(registry.version(2))["metrics"] == {"auc": 0.7}
    assert registry.details(registry.version(1))["metrics"] == {}
    assert not Path(three.settings.runs).exists()


def test_a_canary_is_no_served_version_and_the_newest_is_the_one_under_test(three: Factory) -> None:
    registry = three.registry()
    assert (registry.canary(), registry.canary_numbers()) == (None, set())
    four, five = three.train("four"), three.train("five")
    three.push("four", four, 40, canary=True)
    three.push("five", five, 50, canary=True)

    registry = three.registry()
    canary = registry.canary()
    assert canary is not None
    assert (canary.number, canary.model_id, canary.run_id, canary.blessed) == (50, five, "five", True)
    assert registry.served().number == 3
    assert numbers(registry.versions()) == [3, 2, 1]
    assert registry.previous().number == 2


def test_a_promoted_canary_is_a_new_version_and_its_test_ends(three: Factory) -> None:
    five = three.train("five")
    three.push("five", five, 50, canary=True)
    change = three.registry().promote(str(five))
    three.registry().retire(50)
    three.registry().retire(50)

    registry = three.registry()
    assert registry.canary() is None
    assert registry.canary_numbers() == {50}
    assert (registry.served().number, registry.served().model_id) == (change.version.number, five)
    assert registry.served().number not in registry.canary_numbers()
    assert not storage.entries(storage.at(three.settings.canaries))


def test_retiring_a_canary_retires_those_before_it_and_none_after(three: Factory) -> None:
    for number, run in ((40, "four"), (50, "five"), (60, "six")):
        three.push(run, three.train(run), number, canary=True)
    assert numbers(three.registry().prunable(9)) == [40, 50]
    half_removed = three.push("zero", three.train("zero"), 30, canary=True)
    (half_removed / "saved_model.pb").unlink()
    if not storage.is_bucket(half_removed):
        half_removed.rename(half_removed.with_name(".removing-30"))

    three.registry().retire(50)

    assert [entry.name for entry in storage.entries(storage.at(three.settings.canaries))] == ["60"]
    assert numbers(three.registry().canaries()) == [60, 50, 40, 30]
    assert three.registry().canary_numbers() == {60, 50, 40, 30}
