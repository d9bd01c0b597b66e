"""``flightdeck kubeflow``: compile the pipeline for Kubeflow Pipelines, submit it, follow it, schedule it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import print_json, table, working
from flightdeck.options import App, Options, Overrides, config_option, existing_store, load_settings
from ledger.formats import duration

if TYPE_CHECKING:
    from operations.delivery.compiled_pipeline import CompiledPipeline
    from operations.delivery.kubeflow import Job, KubeflowPipelines, Retired, Version
    from operations.delivery.kubeflow_run import Run
    from operations.delivery.settings import Settings
    from pipeline.kubeflow_settings import Kubeflow

DEFAULT_CONFIG = Path("config") / "kubeflow.yaml"

app = App(
    DEFAULT_CONFIG,
    help="Run the pipeline on Kubeflow Pipelines. A token, where one is needed, comes from FLIGHTDECK_KFP_TOKEN.",
    no_args_is_help=True,
)
schedules = App(DEFAULT_CONFIG, invoke_without_command=True)
app.add_typer(schedules, name="schedule")

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
Wait = Annotated[bool, typer.Option("--wait", help="Follow the run to its end; exit code 1 if it fails.")]
PollSeconds = Annotated[float, typer.Option(help="With --wait: time between two looks.", min=0.1)]


@app.command("compile")
def compile_(
    options: Options,
    output: Annotated[Path, typer.Option("--output", "-o", help="The YAML file to write.", dir_okay=False)] = Path(
        "pipeline.yaml"
    ),
    image: Image = None,
    one_task_per_node: OneTaskPerNode = False,
) -> None:
    """Write the pipeline as a file for Kubeflow Pipelines. The same settings and code give the same bytes."""
    settings = load_settings(options.config, with_image(options, image))
    print_compiled(_compile(settings, output, one_task_per_node, quiet=options.as_json), output, options)


@app.command()
def submit(
    options: Options,
    image: Image = None,
    one_task_per_node: OneTaskPerNode = False,
    file: File = None,
    parameters: Parameters = None,
    pipeline_version: PipelineVersion = None,
    name: Annotated[str | None, typer.Option(help="Default: the use case's name and the time.")] = None,
    experiment: Experiment = None,
    wait: Wait = False,
    poll_seconds: PollSeconds = 5.0,
) -> None:
    """Start a run, and print its id and its page."""
    from operations.delivery.submission import job

    settings, client = reach(options, image, parameters)
    source = _source(client, settings, pipeline_version, file, one_task_per_node, quiet=options.as_json)
    name = name or f"{settings.use_case.name} {now()}"
    start(client, job(settings, source, name, experiment, parameters or ()), wait, poll_seconds, options)


@app.command()
def status(options: Options, reference: Reference) -> None:
    """Show a run: its state, each task's state and duration, and the drivers of Kubeflow that failed.

    The record of a failed run is ended, if the ledger can be reached from here.
    """
    from ledger.opening import LedgerError
    from operations.delivery import kubeflow_ended
    from pipeline.section import SettingsError

    settings, client = reach(options)
    run = client.run(reference)
    with contextlib.suppress(LedgerError, SettingsError):
        kubeflow_ended.end(existing_store(settings, writable=True), run)
    if options.as_json:
        print_json(run)
        return
    tasks = [*run.failed_drivers, *run.tasks]
    typer.echo(f"{run.name}   {run.state}   {duration(run.seconds)}\n{run.link}\n")
    table(["task", "state", "duration"], [(task.name, task.state, duration(task.seconds)) for task in tasks])
    for label, error in [("the run", run.error), *((task.name, task.error) for task in tasks)]:
        if error:
            typer.echo(f"{label}: {error}")
    logs_of_run = f"flightdeck kubeflow logs {run.run_id}"
    typed = options.typed(DEFAULT_CONFIG)
    for driver in run.failed_drivers:
        typer.echo(f"{driver.not_started} Its log: {logs_of_run} {typed}".rstrip())
    for task in run.tasks:
        if task.state == "FAILED":
            typer.echo(f"The log of {task.name}: {logs_of_run} --task {task.name} {typed}".rstrip())


@app.command()
def logs(
    reference: Reference,
    task: Annotated[str | None, typer.Option(help="Only of this task.")] = None,
    config: Annotated[Path, config_option(DEFAULT_CONFIG)] = DEFAULT_CONFIG,
    overrides: Overrides = None,
) -> None:
    """Print what the containers of a run have printed so far.

    Exit code 1 if the server does not have a log; the sentence about it has the command that asks Kubernetes.
    """
    from operations.delivery.kubeflow_api import LogError

    _, client = reach(Options(config, overrides or ()))
    run = client.run(reference)
    missing = False
    for driver in run.drivers_of(task):
        typer.echo(driver.not_started, err=True)
    for name, pod in run.pods(task, client.namespace or "kubeflow"):
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
    options: Options,
    context: typer.Context,
    cron: Annotated[str | None, typer.Option(help="In UTC: minute hour day month weekday, as in crontab.")] = None,
    every: Annotated[str | None, typer.Option(help="Instead of --cron: 30m, 6h, 7d …")] = None,
    image: Image = None,
    one_task_per_node: OneTaskPerNode = False,
    file: File = None,
    parameters: Parameters = None,
    pipeline_version: PipelineVersion = None,
    name: Annotated[str | None, typer.Option(help="Default: the use case's name.")] = None,
    experiment: Experiment = None,
    replace: Annotated[bool, typer.Option("--replace", help="Take the place of the schedule of that name.")] = False,
) -> None:
    """Start runs again and again: one at a time, and none for times that were missed."""
    if context.invoked_subcommand is not None:
        return
    from operations.delivery import kubeflow
    from operations.delivery.kubeflow_api import KubeflowError
    from operations.delivery.submission import job

    if (cron is None) == (every is None):
        raise KubeflowError("Say when, with either --cron or --every.")
    trigger = kubeflow.cron(cron) if cron is not None else kubeflow.interval(every or "")
    settings, client = reach(options, image, parameters)
    source = _source(client, settings, pipeline_version, file, one_task_per_node, quiet=options.as_json)
    name = name or settings.use_case.name
    made, replaced = client.schedule(job(settings, source, name, experiment, parameters or ()), trigger, replace)
    text = "\n".join([f"Schedule {made.name}: {made.when}   {made.schedule_id}", *kept(replaced)])
    options.answer({**vars(made), "replaced": replaced}, text)


@schedules.command("list")
def list_schedules(options: Options) -> None:
    """Show the schedules."""
    listed = reach(options)[1].schedules()
    if options.as_json:
        print_json(listed)
        return
    table(
        ["schedule", "when", "state", "id"],
        [(entry.name, entry.when, "on" if entry.enabled else "off", entry.schedule_id) for entry in listed],
    )


@schedules.command("delete")
def delete_schedule(
    options: Options,
    schedule: Annotated[str, typer.Argument(help="Its name, or its id, as `schedule list` shows them.")],
    force: Annotated[bool, typer.Option("--force", help="Delete it now, and end its runs that are under way.")] = False,
) -> None:
    """Delete a schedule, unless a run of it is under way, which Kubeflow would end with it.

    It starts no more runs in any case. Exit code 1 if it stays because of a run: delete it when the run has ended.
    """
    retired = reach(options)[1].delete_schedule(schedule, force)
    if options.as_json:
        print_json(retired)
    else:
        for schedule_id in retired.deleted:
            typer.echo(f"Deleted the schedule {schedule_id}.")
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


def with_image(options: Options, image: str | None) -> list[str]:
    """The overrides, the image as one of them if it is given."""
    return [*options.overrides, *([f"kubeflow.image={json.dumps(image)}"] if image else ())]


def connected(cluster: Kubeflow, token: str | None = None) -> KubeflowPipelines:
    """A server that has answered. The token is that of the environment, if none is given."""
    from operations.delivery.kubeflow_api import TOKEN_VARIABLE
    from operations.delivery.submission import connect

    return connect(cluster, token or os.environ.get(TOKEN_VARIABLE))


def reach(
    options: Options, image: str | None = None, parameters: Sequence[str] | None = None
) -> tuple[Settings, KubeflowPipelines]:
    """The settings, checked with the parameters in them, and their server, which has answered."""
    from operations.delivery.submission import kubeflow_settings

    overrides = with_image(options, image)
    settings, cluster = kubeflow_settings(load_settings, options.config, overrides, parameters or ())
    return settings, connected(cluster)


def _source(
    client: KubeflowPipelines,
    settings: Settings,
    version: str | None,
    file: Path | None,
    one_task_per_node: bool,
    quiet: bool,
) -> CompiledPipeline | Version:
    from operations.delivery.kubeflow_api import KubeflowError

    if version is None:
        return compiled_from(settings, file, one_task_per_node, quiet)
    if file is not None:
        raise KubeflowError("Say what to run with either --file or --pipeline-version.")
    return client.version(settings.use_case.name, version)


def compiled_from(
    settings: Settings, file: Path | None, one_task_per_node: bool = False, quiet: bool = False
) -> CompiledPipeline:
    """The pipeline of a file, or of the settings when there is none."""
    from operations.delivery.compiled_pipeline import CompiledPipeline

    if file is not None:
        return CompiledPipeline.load(file)
    with tempfile.TemporaryDirectory() as folder:
        return _compile(settings, Path(folder) / "pipeline.yaml", one_task_per_node, quiet)


def _compile(settings: Settings, output: Path, one_task_per_node: bool, quiet: bool) -> CompiledPipeline:
    from operations.delivery.own_project import require_its_flightdeck

    require_its_flightdeck(settings)

    def write() -> None:
        from pipeline.runners import kubeflow

        kubeflow.compile_pipeline(settings, output, one_task_per_node)

    return compiled_by(write, output, quiet)


def compiled_by(write: Callable[[], None], output: Path, quiet: bool) -> CompiledPipeline:
    """What a function compiles into a file, with the noise of its imports kept off the screen."""
    from operations.delivery.compiled_pipeline import CompiledPipeline
    from operations.delivery.kubeflow_api import KubeflowError

    if not os.access(output.parent, os.W_OK):
        raise KubeflowError(f"{output} cannot be written: {output.parent} is not a folder that you may write to.")
    with working(quiet) as progress:
        progress.note("Loading TensorFlow and TFX")
        try:
            write()
        except OSError as error:
            raise KubeflowError(f"{output} cannot be written: {error.strerror}.") from error
    return CompiledPipeline.load(output)


def print_compiled(compiled: CompiledPipeline, output: Path, options: Options) -> None:
    """Says what was compiled into a file."""
    report = {"path": str(output), "tasks": list(compiled.tasks), "bytes": output.stat().st_size}
    tasks = f"{len(compiled.tasks)} tasks ({', '.join(compiled.tasks)})"
    options.answer(report, f"Wrote {output}: {tasks}, {report['bytes']} bytes.")


def start(client: KubeflowPipelines, job: Job, wait: bool, poll_seconds: float, options: Options) -> None:
    """Submits a job, and follows it if that is wanted.

    Raises:
        typer.Exit: it was followed, and failed.
    """
    run = client.submit(job)
    if not options.as_json:
        typer.echo(f"Run {run.run_id}   {run.link}")
    if wait:
        run = _follow(client, run.run_id, poll_seconds, quiet=options.as_json)
    if options.as_json:
        print_json(run)
    if wait and run.state != "SUCCEEDED":
        raise typer.Exit(1)


def _follow(client: KubeflowPipelines, run_id: str, poll_seconds: float, quiet: bool) -> Run:
    shown: dict[str, str] = {}
    run = None
    for run in client.follow(run_id, poll_seconds):
        for task in run.tasks:
            if not quiet and task.state not in ("PENDING", "NOT_STARTED", shown.get(task.name)):
                typer.echo(f"  {task.name:<20} {task.state:<10} {duration(task.seconds):>10}")
                shown[task.name] = task.state
    assert run is not None
    if not quiet:
        for driver in run.failed_drivers:
            typer.echo(driver.not_started)
        typer.echo(f"Run {run.state} after {duration(run.seconds)}{f': {run.error}' if run.error else ''}")
    return run


def now() -> str:
    """The time in UTC, for the name of a run."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
