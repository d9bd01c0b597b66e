"""The compiled sweep: which task waits for which, and what each is told."""

import pytest
import yaml

from flightdeck.settings import read_settings
from operations.delivery.kubeflow import Job, KubeflowPipelines
from pipeline.settings import SettingsError
from tests.operations.delivery import kfp_server
from tests.pipeline.compiled_kubeflow import CONFIG, IMAGE, shipped

pytestmark = pytest.mark.component
PARENT = "20130701-093000-1f3a"


@pytest.fixture(scope="module")
def compile_to(tmp_path_factory):
    from operations.experiments.sweep.cluster import PROGRAM
    from pipeline.runners import kubeflow_sweep

    def compile_(settings, workers: int = 3, trials: int = 8, parent: str | None = None) -> tuple[dict, dict]:
        path = tmp_path_factory.mktemp("compiled") / "sweep.yaml"
        kubeflow_sweep.compile_sweep(settings, path, PROGRAM, workers, trials, parent)
        pipeline, platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
        return pipeline, platform

    return compile_


@pytest.fixture(scope="module")
def compiled(compile_to):
    return compile_to(shipped(), parent=PARENT)


def container(compiled, component: str) -> dict:
    return compiled[0]["deploymentSpec"]["executors"][f"exec-{component}"]["container"]


def test_workers_wait_for_the_data_and_the_training_for_the_workers(compiled) -> None:
    tasks = compiled[0]["root"]["dag"]["tasks"]
    waits = {name: set(task.get("dependentTasks", ())) for name, task in tasks.items()}

    assert waits == {
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
        arguments = container(compiled, task)["args"]
        assert "--in-sweep" in arguments
        assert "--training" not in arguments
        final = task == "trainer"
        program = ["operations.experiments.sweep.cluster", "final"] if final else ["pipeline.task"]
        assert container(compiled, task)["command"] == ["python", "-m", *program]
    worker = container(compiled, "worker")
    assert [*worker["command"], worker["args"][0]] == ["python", "-m", "operations.experiments.sweep.cluster", "work"]
    told = dict(zip(worker["args"][1::2], worker["args"][2::2], strict=True))
    assert (told["--run-id"], told["--trials"]) == tuple(
        f"{{{{$.inputs.parameters['{name}']}}}}" for name in ("run_id", "trials")
    )
    assert told["--around"] == PARENT


def test_every_container_understands_its_arguments_and_knows_its_run(compiled) -> None:
    from operations.experiments.sweep import cluster
    from pipeline import task as task_program

    with kfp_server.serving() as server:
        client = KubeflowPipelines(server.endpoint)
        specification = {"pipeline_spec": compiled[0], "platform_spec": compiled[1]}
        run = client.submit(Job(specification, "a sweep", "sweeps"))
        arguments = {task: server.container_arguments(run.run_id, task) for task in compiled[0]["root"]["dag"]["tasks"]}

    assert not [told for told in arguments.values() if any("{{$.pipeline_" in argument for argument in told)]
    workers = [cluster._parser().parse_args(told[1:]) for task, told in arguments.items() if task.startswith("worker")]
    others = [
        task_program._parser().parse_args(told) for task, told in arguments.items() if not task.startswith("worker")
    ]
    assert {given.run_id for given in (*workers, *others)} == {run.run_id}
    assert [given.trials for given in workers] == [8, 8, 8]
    assert all(given.in_sweep for given in others)


def test_the_workers_train_so_they_have_what_the_trainer_has_unless_they_have_their_own(compile_to, compiled) -> None:
    assert container(compiled, "worker")["resources"] == container(compiled, "trainer")["resources"]

    own = compile_to(shipped("kubeflow.resources={worker: {cpu: '2', memory: 3Gi}}"))
    assert container(own, "worker")["resources"]["resourceMemoryLimit"] == "3Gi"
    assert container(own, "trainer")["resources"]["resourceMemoryLimit"] == "4Gi"


def test_a_worker_that_dies_is_tried_again_with_the_store_s_credentials(compiled) -> None:
    for name in ("worker", "worker-2", "worker-3"):
        assert compiled[0]["root"]["dag"]["tasks"][name]["retryPolicy"]["maxRetryCount"] == 2
    (secret,) = compiled[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-worker"]["secretAsEnv"]
    assert secret["secretName"] == "flightdeck-metadata"


def test_trials_window_and_push_can_be_changed_when_submitting_and_the_same_settings_give_the_same(
    compile_to, compiled
) -> None:
    parameters = compiled[0]["root"]["inputDefinitions"]["parameters"]

    assert set(parameters) == {"window", "trials", "push", "ir", "settings", "submitted_by"}
    assert parameters["trials"]["defaultValue"] == 8
    assert compile_to(shipped(), parent=PARENT) == compiled


def test_the_best_trial_becomes_arguments_of_the_training_task(tmp_path) -> None:
    from ledger.lease import Owner
    from ledger.opening import open_store
    from operations.experiments.sweep import cluster, plan, record
    from operations.experiments.sweep.chain import Chain, Event
    from pipeline import store, task

    settings = read_settings(CONFIG.with_name("local.yaml"), [f"workspace={tmp_path}"])
    connection = store.connection(settings)
    sweep = plan.SweepPlan(
        sweep_id="s", parent=None, source="r", settings=settings.document(), trials=2, examples="", transform_graph="",
        logs="",
    )  # fmt: skip
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

    changes = {arguments[i + 1]: arguments[i + 2] for i in range(0, len(arguments), 3)}
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
