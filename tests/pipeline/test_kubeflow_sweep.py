"""The compiled sweep: which task waits for which, and what each is told."""

import pytest
from google.protobuf import json_format

from flightdeck.settings import read_settings
from operations.delivery.kubeflow import Job, KubeflowPipelines
from pipeline.section import SettingsError
from tests.operations.delivery import kfp_server
from tests.pipeline.compiled_kubeflow import IMAGE, Compiled, shipped
from tests.world import LOCAL

pytestmark = pytest.mark.component
PARENT = "20130701-093000-1f3a"


@pytest.fixture(scope="module")
def compile_to(tmp_path_factory):
    from operations.experiments.sweep.cluster import PROGRAM
    from pipeline.runners import kubeflow_sweep

    def compile_(settings, parent: str | None = None) -> Compiled:
        path = tmp_path_factory.mktemp("compiled") / "sweep.yaml"
        kubeflow_sweep.compile_sweep(settings, path, PROGRAM, 3, 8, parent)
        return Compiled(path)

    return compile_


@pytest.fixture(scope="module")
def compiled(compile_to):
    return compile_to(shipped(), parent=PARENT)


def test_workers_wait_for_the_data_and_the_training_for_the_workers(compiled) -> None:
    assert {name: set(task.dependent_tasks) for name, task in compiled.tasks.items()} == {
        "data": set(),
        "transform": {"data"},
        "worker": {"data", "transform"},
        "worker-2": {"data", "transform"},
        "worker-3": {"data", "transform"},
        "trainer": {"data", "transform", "worker", "worker-2", "worker-3"},
        "release": {"data", "trainer"},
    }


def test_every_task_belongs_to_the_sweep_and_the_training_asks_for_its_best(compiled) -> None:
    for task in ("data", "transform", "trainer", "release"):
        container = compiled.executors[f"exec-{task}"].container
        assert "--in-sweep" in container.args
        assert "--training" not in container.args
        program = ["operations.experiments.sweep.cluster", "final"] if task == "trainer" else ["pipeline.task"]
        assert list(container.command) == ["python", "-m", *program]
    worker = compiled.executors["exec-worker"].container
    assert [*worker.command, worker.args[0]] == ["python", "-m", "operations.experiments.sweep.cluster", "work"]
    arguments = dict(zip(worker.args[1::2], worker.args[2::2], strict=True))
    assert arguments["--run-id"] == "{{$.inputs.parameters['run_id']}}"
    assert arguments["--trials"] == "{{$.inputs.parameters['trials']}}"
    assert arguments["--around"] == PARENT


def test_every_container_understands_its_arguments_and_knows_its_run(compiled) -> None:
    from operations.experiments.sweep import cluster
    from pipeline import task as task_program

    specification = {
        "pipeline_spec": json_format.MessageToDict(compiled.pipeline),
        "platform_spec": json_format.MessageToDict(compiled.platform),
    }
    with kfp_server.serving() as server:
        run = KubeflowPipelines(server.endpoint).submit(Job(specification, "a sweep", "sweeps"))
        arguments = {task: server.container_arguments(run.run_id, task) for task in compiled.tasks}

    assert not [argument for of_task in arguments.values() for argument in of_task if "{{$.pipeline_" in argument]
    names = {name for name in arguments if name.startswith("worker")}
    workers = [cluster._parser().parse_args(arguments[name][1:]) for name in names]
    others = [task_program._parser().parse_args(arguments[name]) for name in arguments.keys() - names]
    assert {given.run_id for given in (*workers, *others)} == {run.run_id}
    assert [given.trials for given in workers] == [8, 8, 8]
    assert all(given.in_sweep for given in others)


def test_the_workers_train_so_they_have_what_the_trainer_has_unless_they_have_their_own(compile_to, compiled) -> None:
    def resources(of: Compiled) -> list:
        return [of.executors[f"exec-{task}"].container.resources for task in ("worker", "trainer")]

    worker, trainer = resources(compiled)
    assert worker == trainer
    worker, trainer = resources(compile_to(shipped("kubeflow.resources={worker: {cpu: '2', memory: 3Gi}}")))
    assert (worker.resource_memory_limit, trainer.resource_memory_limit) == ("3Gi", "4Gi")


def test_a_worker_that_dies_is_tried_again_with_the_store_s_credentials(compiled) -> None:
    for name in ("worker", "worker-2", "worker-3"):
        assert compiled.tasks[name].retry_policy.max_retry_count == 2
    (secret,) = compiled.kubernetes("worker").secret_as_env
    assert secret.secret_name == "flightdeck-metadata"


def test_what_can_be_changed_when_submitting_and_that_the_same_settings_give_the_same(compile_to, compiled) -> None:
    assert set(compiled.parameters) == {"window", "trials", "push", "ir", "settings", "submitted_by"}
    assert compiled.parameters["trials"].default_value.number_value == 8
    assert compile_to(shipped(), parent=PARENT).text == compiled.text


def test_the_best_trial_becomes_arguments_of_the_training_task(tmp_path) -> None:
    from ledger.lease import Owner
    from ledger.opening import open_store
    from operations.experiments.sweep import cluster, plan, record
    from operations.experiments.sweep.chain import Chain, Event
    from pipeline import store, task

    settings = read_settings(LOCAL, [f"workspace={tmp_path}"])
    connection = store.connection(settings)
    places = dict.fromkeys(("examples", "transform_graph", "logs"), "")
    sweep = plan.SweepPlan(sweep_id="s", parent=None, source="r", settings=settings.document(), trials=2, **places)
    record.begin(connection, sweep, settings)
    with pytest.raises(plan.SweepError, match="The sweep s has no result: no trial was run"):
        cluster._training(connection, "s")
    chain = Chain(open_store(connection), "s")
    tried = [
        {"hidden_units": "64-32", "learning_rate": 1e-05, "xla": False, "cross_layers": 2, "tuner/round": 1},
        {"hidden_units": "8", "learning_rate": 0.1, "xla": True, "cross_layers": 0},
    ]
    for number, values in enumerate(tried):
        for kind, score in (("begun", None), ("finished", 0.7 - number / 10)):
            chain.append(Event(kind=kind, trial=number, owner=Owner.me(), values=values, score=score))
            chain.refresh()

    arguments = cluster._training(connection, "s")

    changes = dict(zip(arguments[1::3], arguments[2::3], strict=True))
    changed = task.decode_settings(task.encode_settings(settings), "1:2", changes)
    assert changed.model == settings.model.with_hyperparameters(tried[0])
    assert changed.model.hidden_units == (64, 32)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("tuning.enabled=true", "set tuning.enabled to false"),
        ("kubeflow.groups={a: [Transform, Trainer]}", "a holds nodes before the training and after it"),
        ("metadata.kind=sqlite", "set metadata.kind to mysql"),
    ],
)
def test_what_cannot_be_a_sweep_is_one_sentence(compile_to, override, sentence) -> None:
    with pytest.raises(SettingsError, match=sentence):
        compile_to(shipped(override))


def test_parameters_are_for_submitting(flightdeck) -> None:
    code, _, err = flightdeck("kubeflow", "sweep", "--image", IMAGE, "-o", "sweep.yaml", "--param", "trials=2")

    assert code == 2
    assert "--output submits nothing" in err
