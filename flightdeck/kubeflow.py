"""``flightdeck kubeflow``: compile the pipeline for Kubeflow Pipelines, submit it, follow it, schedule it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flightdeck.options import DEFAULT_CONFIG as LOCAL_CONFIG
from flightdeck.options import Json, Overrides, load_settings

if TYPE_CHECKING:
    from flightdeck.settings import Settings
    from operations.delivery.compiled_pipeline import CompiledPipeline
    from operations.delivery.kubeflow import KubeflowPipelines, Retired, Version
    from operations.delivery.kubeflow_run import Run, Task
    from pipeline.settings import Kubeflow

DEFAULT_CONFIG = LOCAL_CONFIG.with_name("kubeflow.yaml")

app = typer.Typer(
    help="Run the pipeline on Kubeflow Pipelines. A token, where one is needed, comes from FLIGHTDECK_KFP_TOKEN.",
    no_args_is_help=True,
)
schedules = typer.Typer(invoke_without_command=True)
app.add_typer(schedules, name="schedule")

Config = Annotated[
    Path, typer.Option("--config", "-c", help="Settings file.", show_default="config/kubeflow.yaml", dir_okay=False)
]
Image = Annotated[
    str | None,
    typer.Option(
        help="What `flightdeck image push` printed; for tasks that have no image of their own in the settings."
    ),
]
OneTaskPerNode = Annotated[
    bool, typer.Option("--one-task-per-node", help="Ignore the groups: slower, but the picture shows every node.")
]
File = Annotated[Path | None, typer.Option(help="A compiled pipeline; default: compiled now.", dir_okay=False)]
PipelineVersion = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Run this version, which `kubeflow upload` put there, instead of a file."),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="Change a parameter, such as window=1:6. Repeatable."),
]
Experiment = Annotated[str | None, typer.Option(help="Created if missing; default: the use case's name.")]
Reference = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or its name: then the newest of that name.")]


@app.command("compile")
def compile_(
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML file to write.", dir_okay=False)] = Path(
        "pipeline.yaml"
    ),
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    image: Image = None,
    one_task_per_node: OneTaskPerNode = False,
    as_json: Json = False,
) -> None:
    """Write the pipeline as a file for Kubeflow Pipelines. The same settings and code give the same bytes."""
    settings = _checkout_settings(config, with_image(overrides, image))
    compiled = _compile(settings, output, one_task_per_node, quiet=as_json)
    report = {"path": str(output), "tasks": list(compiled.tasks), "bytes": output.stat().st_size}
    typer.echo(
        json.dumps(report)
        if as_json
        else f"Wrote {output}: {len(compiled.tasks)} tasks ({', '.join(compiled.tasks)}), {report['bytes']} bytes."
    )


@app.command()
def submit(
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    image: Image = None,
    one_task_per_node: OneTaskPerNode = False,
    file: File = None,
    parameters: Parameters = None,
    pipeline_version: PipelineVersion = None,
    name: Annotated[str | None, typer.Option(help="Default: the use case's name and the time.")] = None,
    experiment: Experiment = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the run to its end; exit code 1 if it fails.")] = False,
    poll_seconds: Annotated[float, typer.Option(help="With --wait: time between two looks.", min=0.1)] = 5.0,
    as_json: Json = False,
) -> None:
    """Start a run, and print its id and its page."""
    settings, cluster = kubeflow_settings(config, with_image(overrides, image), parameters)
    client = connected(cluster)
    source, arguments = _source(client, settings, pipeline_version, file, one_task_per_node, parameters, quiet=as_json)
    run = client.submit(
        source,
        name or f"{settings.use_case.name} {now()}",
        client.experiment(experiment or cluster.experiment or settings.use_case.name),
        arguments,
        cluster.service_account,
    )
    if not as_json:
        typer.echo(f"Run {run.run_id}   {run.link}")
    if wait:
        run = follow(client, run.run_id, poll_seconds, quiet=as_json)
    if as_json:
        typer.echo(json.dumps(asdict(run), indent=2))
    if wait and run.state != "SUCCEEDED":
        raise typer.Exit(1)


@app.command()
def status(
    reference: Reference, config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False
) -> None:
    """Show a run: its state, each task's state and duration, and the drivers of Kubeflow that failed.

    If the run has failed, the ledger is told so, where it can be reached from here.
    """
    from flightdeck.console import table

    settings, cluster = kubeflow_settings(config, overrides)
    run = connected(cluster).run(reference)
    _end_record(settings, run)
    if as_json:
        typer.echo(json.dumps(asdict(run), indent=2))
        return
    shown = [*run.failed_drivers, *run.tasks]
    typer.echo(f"{run.name}   {run.state}   {_duration(run.seconds)}\n{run.link}\n")
    table(["task", "state", "duration"], [(each.name, each.state, _duration(each.seconds)) for each in shown])
    for label, error in [("the run", run.error), *((each.name, each.error) for each in shown)]:
        if error:
            typer.echo(f"{label}: {error}")
    for each in run.failed_drivers:
        typer.echo(f"{_driver_failed(each)} Its log: flightdeck kubeflow logs {run.run_id}")
    for each in run.tasks:
        if each.state == "FAILED":
            typer.echo(f"Its log: flightdeck kubeflow logs {run.run_id} --task {each.name}")


def _end_record(settings: Settings, run: Run) -> None:
    """Has the ledger, where it can be reached from here, no longer say that a failed run goes on."""
    from ledger.opening import LedgerError, open_writable
    from operations.delivery import kubeflow_ended
    from pipeline import store
    from pipeline.settings import SettingsError

    with contextlib.suppress(LedgerError, SettingsError):
        kubeflow_ended.end(open_writable(store.connection(settings)), run)


@app.command()
def logs(
    reference: Reference,
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Print what the containers of a run have printed so far.

    Exit code 1 if the server does not have a log; the sentence about it has the command that asks Kubernetes.
    """
    from operations.delivery.kubeflow import LogError

    cluster = kubeflow_settings(config, overrides)[1]
    client = connected(cluster)
    run = client.run(reference)
    missing = False
    for each in _drivers(run, task):
        typer.echo(_driver_failed(each), err=True)
    for name, pod in _pods(run, task, cluster.namespace or "kubeflow"):
        typer.echo(f"== {name}   {pod}")
        try:
            for piece in client.log(run.run_id, pod):
                sys.stdout.write(piece)
            sys.stdout.write("\n")
        except LogError as error:
            # The logs of the other tasks may still be there.
            typer.echo(str(error), err=True)
            missing = True
    if missing:
        raise typer.Exit(1)


@schedules.callback()
def schedule(
    context: typer.Context,
    cron: Annotated[str | None, typer.Option(help="In UTC: minute hour day month weekday, as in crontab.")] = None,
    every: Annotated[str | None, typer.Option(help="Instead of --cron: 30m, 6h, 7d …")] = None,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    image: Image = None,
    one_task_per_node: OneTaskPerNode = False,
    file: File = None,
    parameters: Parameters = None,
    pipeline_version: PipelineVersion = None,
    name: Annotated[str | None, typer.Option(help="Default: the use case's name.")] = None,
    experiment: Experiment = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the schedule of that name.")] = False,
    as_json: Json = False,
) -> None:
    """Start runs again and again: one at a time, and none for times that were missed."""
    from operations.delivery import kubeflow

    if context.invoked_subcommand is not None:
        return
    if (cron is None) == (every is None):
        raise kubeflow.KubeflowError("Say when, with either --cron or --every.")
    trigger = kubeflow.cron(cron) if cron is not None else kubeflow.interval(every or "")
    settings, cluster = kubeflow_settings(config, with_image(overrides, image), parameters)
    client = connected(cluster)
    source, arguments = _source(client, settings, pipeline_version, file, one_task_per_node, parameters, quiet=as_json)
    made, replaced = client.schedule(
        source,
        name or settings.use_case.name,
        client.experiment(experiment or cluster.experiment or settings.use_case.name),
        arguments,
        cluster.service_account,
        trigger,
        replace,
    )
    if as_json:
        typer.echo(json.dumps({**asdict(made), "replaced": asdict(replaced)}))
        return
    typer.echo("\n".join([f"Schedule {made.name}: {made.when}   {made.schedule_id}", *kept(replaced)]))


@schedules.command("list")
def list_schedules(config: Config = DEFAULT_CONFIG, overrides: Overrides = None, as_json: Json = False) -> None:
    """Show the schedules."""
    from flightdeck.console import table

    found = connected(kubeflow_settings(config, overrides)[1]).schedules()
    if as_json:
        typer.echo(json.dumps([asdict(each) for each in found], indent=2))
        return
    rows = [(each.name, each.when, "on" if each.enabled else "off", each.schedule_id) for each in found]
    table(["schedule", "when", "state", "id"], rows)


@schedules.command("delete")
def delete_schedule(
    schedule: Annotated[str, typer.Argument(help="Its name, or its id, as `schedule list` shows them.")],
    force: Annotated[bool, typer.Option("--force", help="Delete it now, and end its runs that are under way.")] = False,
    config: Config = DEFAULT_CONFIG,
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Delete a schedule, unless a run of it is under way, which Kubeflow would end with it.

    It starts no more runs in any case. Exit code 1 if it stays because of a run: delete it when the run has ended.
    """
    retired = connected(kubeflow_settings(config, overrides)[1]).delete_schedule(schedule, force)
    if as_json:
        typer.echo(json.dumps(asdict(retired)))
    else:
        for each in retired.deleted:
            typer.echo(f"Deleted the schedule {each}.")
        for sentence in kept(retired):
            typer.echo(sentence, err=True)
    if retired.kept:
        raise typer.Exit(1)


def kept(retired: Retired) -> list[str]:
    """A sentence about each schedule that was not deleted because of its runs."""
    return [
        f"The schedule {schedule} starts no more runs. It is not deleted while its run {', '.join(runs)} is under way, "
        f"which would end with it; delete it afterwards: flightdeck kubeflow schedule delete {schedule}"
        for schedule, runs in retired.kept.items()
    ]


def with_image(overrides: list[str] | None, image: str | None) -> list[str]:
    """Overrides, and the image as one of them if it is given."""
    return [*(overrides or ()), *([f"kubeflow.image={json.dumps(image)}"] if image else ())]


def kubeflow_settings(
    config: Path, overrides: list[str] | None, parameters: list[str] | None = None
) -> tuple[Settings, Kubeflow]:
    """The settings and their section for Kubeflow, after a look at the parameters.

    A parameter stands for a setting. Putting its value there checks it as a setting is checked, and not after twenty
    minutes on the cluster.
    """
    from operations.delivery.kubeflow import KubeflowError
    from pipeline.settings import SettingsError

    settings = _checkout_settings(config, overrides)
    if settings.kubeflow is None:
        raise KubeflowError(f"{config} has no `kubeflow` section; use --config config/kubeflow.yaml.")
    meant = {"window": "data.window", "push": "push.enabled", **settings.kubeflow.parameters}
    given = [each.partition("=") for each in parameters or ()]
    values = [f"{meant[name]}={_yaml(text)}" for name, sign, text in given if sign and name in meant]
    try:
        load_settings(config, [*(overrides or ()), *values])
    except SettingsError as error:
        raise KubeflowError(f"--param: {str(error).removeprefix(f'{config}: ')}") from None
    return settings, settings.kubeflow


def _checkout_settings(config: Path, overrides: list[str] | None) -> Settings:
    """The settings, if the use case is in the checkout, of which alone there are images.

    Raises:
        KubeflowError: the use case is in a project of its own.
    """
    # Such a project has no settings for Kubeflow; that it is one is in those beside them.
    beside = config.with_name(LOCAL_CONFIG.name)
    if not config.is_file() and beside.is_file():
        _require_checkout(load_settings(beside, None))
    settings = load_settings(config, overrides)
    _require_checkout(settings)
    return settings


def _require_checkout(settings: Settings) -> None:
    from operations.delivery.kubeflow import KubeflowError
    from pipeline.project import CHECKOUT

    if settings.project != CHECKOUT:
        raise KubeflowError(
            f"There is no Kubeflow for the project {settings.project}: an image for Kubeflow holds Flightdeck's "
            "checkout alone, and not its use case. `flightdeck run` runs it on this machine."
        )


def _yaml(text: str) -> str:
    """A parameter's text so that it is the same value in YAML, which takes 1:6 and 1e-3 for something else."""
    import yaml

    try:
        float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else json.dumps(text)
    return text if text.lstrip("+-").isdigit() else yaml.safe_dump(float(text)).split()[0]


def connected(cluster: Kubeflow, token: str | None = None) -> KubeflowPipelines:
    """A server that has answered. The token is that of the environment, if none is given."""
    from operations.delivery.kubeflow import TOKEN_VARIABLE, KubeflowError, KubeflowPipelines

    if not cluster.endpoint:
        raise KubeflowError("kubeflow.endpoint is missing: the address of the KFP API, such as http://localhost:8888.")
    token = (token or os.environ.get(TOKEN_VARIABLE, "")).strip() or None
    client = KubeflowPipelines(cluster.endpoint, cluster.namespace, token)
    client.check()
    return client


def _source(
    client: KubeflowPipelines,
    settings: Settings,
    version: str | None,
    file: Path | None,
    one_task_per_node: bool,
    parameters: list[str] | None,
    quiet: bool,
) -> tuple[dict[str, Any] | Version, dict[str, Any]]:
    """What to run, and arguments that it accepts."""
    from operations.delivery.compiled_pipeline import CompiledPipeline
    from operations.delivery.kubeflow import KubeflowError

    if version is None:
        compiled = compiled_from(settings, file, one_task_per_node, quiet)
        return compiled.specification, arguments_of(compiled, parameters)
    if file is not None:
        raise KubeflowError("Say what to run with either --file or --pipeline-version.")
    kept = client.version(settings.use_case.name, version)
    return kept, arguments_of(CompiledPipeline.of(kept.document, f"The version {version}"), parameters)


def compiled_from(
    settings: Settings, file: Path | None, one_task_per_node: bool = False, quiet: bool = False
) -> CompiledPipeline:
    """The pipeline of a file, or of the settings when there is none."""
    import tempfile

    from operations.delivery.compiled_pipeline import CompiledPipeline

    if file is not None:
        return CompiledPipeline.load(file)
    with tempfile.TemporaryDirectory() as folder:
        return _compile(settings, Path(folder) / "pipeline.yaml", one_task_per_node, quiet)


def _compile(settings: Settings, output: Path, one_task_per_node: bool, quiet: bool) -> CompiledPipeline:
    def write() -> None:
        from pipeline.runners import kubeflow

        kubeflow.compile_pipeline(settings, output, one_task_per_node)

    return compiled_by(write, output, quiet)


def compiled_by(write: Callable[[], None], output: Path, quiet: bool) -> CompiledPipeline:
    """What a function compiles into a file, with the noise of its imports kept off the screen."""
    import tempfile

    from flightdeck.console import Progress, console, noise_into
    from operations.delivery.compiled_pipeline import CompiledPipeline
    from operations.delivery.kubeflow import KubeflowError

    if not os.access(output.parent, os.W_OK):
        raise KubeflowError(f"{output} cannot be written: {output.parent} is not a folder that you may write to.")
    with tempfile.TemporaryDirectory() as folder, noise_into(Path(folder) / "log") as screen:
        on = console(screen)
        on.quiet = quiet
        progress = Progress(on)
        progress.note("Loading TensorFlow and TFX")
        try:
            write()
        except OSError as error:
            raise KubeflowError(f"{output} cannot be written: {error.strerror}.") from error
        finally:
            progress.close()
    return CompiledPipeline.load(output)


def arguments_of(compiled: CompiledPipeline, parameters: list[str] | None) -> dict[str, Any]:
    """What a compiled pipeline is submitted with: what a person changes, and who it is."""
    from ledger.recorder import user

    arguments = compiled.arguments(parameters or ())
    if "submitted_by" in compiled.specification["pipeline_spec"]["root"]["inputDefinitions"]["parameters"]:
        arguments["submitted_by"] = user() or "unknown"
    return arguments


def follow(client: KubeflowPipelines, run_id: str, poll_seconds: float, quiet: bool) -> Run:
    """Prints a line whenever a task changes its state, until the run has finished."""
    shown: dict[str, str] = {}
    run = None
    for run in client.follow(run_id, poll_seconds):
        for each in run.tasks:
            if not quiet and each.state not in ("PENDING", "NOT_STARTED", shown.get(each.name)):
                typer.echo(f"  {each.name:<20} {each.state:<10} {_duration(each.seconds):>10}")
                shown[each.name] = each.state
    assert run is not None
    if not quiet:
        for each in run.failed_drivers:
            typer.echo(_driver_failed(each))
        typer.echo(f"Run {run.state} after {_duration(run.seconds)}{f': {run.error}' if run.error else ''}")
    return run


def _drivers(run: Run, task: str | None) -> list[Task]:
    """The drivers that failed, all or those that a task needs."""
    return [each for each in run.failed_drivers if task is None or each.name in ("root-driver", f"{task}-driver")]


def _driver_failed(driver: Task) -> str:
    """What it means that one of KFP's own containers failed."""
    task = driver.name.removesuffix("-driver")
    if task == "root":
        return "root-driver failed, the container with which Kubeflow prepares a run, so no task was started."
    return f"{driver.name} failed, the container with which Kubeflow prepares a task, so {task} was not started."


def _pods(run: Run, task: str | None, namespace: str) -> list[tuple[str, str]]:
    """Task and pod, of the tasks that have begun and of drivers that failed.

    Raises:
        KubeflowError: there is no such task, or no pod yet, or the server does not say which.
    """
    from operations.delivery.kubeflow import KubeflowError

    chosen = [each for each in run.tasks if task in (None, each.name)]
    if not chosen:
        raise KubeflowError(f"The run has no task `{task}`; it has {', '.join(each.name for each in run.tasks)}.")
    drivers = _drivers(run, task)
    pods = [(each.name, pod) for each in (*drivers, *chosen) for pod in each.pods]
    if not pods and not drivers and {each.state for each in chosen} <= {"PENDING", "NOT_STARTED"}:
        if run.finished:
            raise KubeflowError(
                f"{f'The task {task} was not' if task else 'No task was'} started: the run is {run.state}."
            )
        raise KubeflowError(f"{f'The task {task}' if task else 'The run'} has not begun.")
    if not pods:
        raise KubeflowError(
            "The server does not say which pods these are; ask Kubernetes: kubectl logs "
            f"--namespace {namespace} --selector pipeline/runid={run.run_id} --container main --prefix --tail -1"
        )
    return pods


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def now() -> str:
    """The time in UTC, for the name of a run."""
    from datetime import UTC, datetime

    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
