"""``flightdeck kubeflow upload`` and ``promote``: from a compiled pipeline to the one that production runs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck import kubeflow
from flightdeck.console import print_json
from flightdeck.kubeflow import Experiment, File, Image
from flightdeck.options import Options, config_option, existing_store, load_settings

if TYPE_CHECKING:
    from operations.delivery.compiled_pipeline import CompiledPipeline

STAGING_TOKEN_VARIABLE = "FLIGHTDECK_STAGING_KFP_TOKEN"
STAGING_CONFIG = Path("config") / "staging.yaml"

VersionName = Annotated[
    str | None, typer.Option(metavar="NAME", help="Default: the commit that the tags of the images name.")
]


def upload(
    options: Options,
    file: File = None,
    name: Annotated[str | None, typer.Option(help="Of the pipeline there. Default: the use case's name.")] = None,
    version_name: VersionName = None,
    image: Image = None,
) -> None:
    """Keep the compiled pipeline on the server as a new version of the pipeline of that name.

    The pipeline is created if there is none. A version that is there already, with the same content, stays as it is.
    """
    settings, client = kubeflow.reach(options, image)
    compiled = kubeflow.compiled_from(settings, file, quiet=options.as_json)
    version, new = client.upload(compiled, name or settings.use_case.name, version_name or _commit(compiled))
    document = {
        "pipeline": version.pipeline,
        "pipeline_id": version.pipeline_id,
        "version": version.name,
        "version_id": version.version_id,
        "new": new,
        "link": version.link,
    }
    did = "Uploaded" if new else "Already there:"
    options.answer(document, f"{did} {version.pipeline} {version.name}   {version.link}")


def promote(
    options: Options,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run in staging: its id, or its name.")],
    cron: Annotated[str, typer.Option(help="When production runs, in UTC: minute hour day month weekday.")],
    file: File = None,
    version_name: VersionName = None,
    schedule_name: Annotated[
        str | None, typer.Option(help="Of the schedule that is replaced. Default: the use case's name.")
    ] = None,
    experiment: Experiment = None,
    staging: Annotated[
        Path, config_option(STAGING_CONFIG, "Settings file of staging.", ("--staging",))
    ] = STAGING_CONFIG,
    staging_endpoint: Annotated[
        str | None, typer.Option(help="Address of the KFP API of staging, if it is not that of its settings.")
    ] = None,
    image: Image = None,
) -> None:
    """Let production run what ran in staging, if that run succeeded and its model was blessed and pushed.

    The pipeline, compiled for production, is uploaded as a version there, and the schedule of that name is replaced by
    one that runs this version; an old one with a run under way is disabled, and deleted by a later promotion. Exit
    code 1, and nothing is changed, if the run in staging was not good enough. Staging's metadata store is asked, too:
    for a MySQL server, its address is in FLIGHTDECK_METADATA_HOST and so on. A token that staging alone wants is in
    FLIGHTDECK_STAGING_KFP_TOKEN.
    """
    from ledger.runs import Runs
    from operations.delivery import kubeflow as server
    from operations.delivery import promotion
    from operations.delivery.submission import job, kubeflow_settings

    trigger = server.cron(cron)
    there = [f"kubeflow.endpoint={json.dumps(staging_endpoint)}"] if staging_endpoint else []
    staging_settings, staging_cluster = kubeflow_settings(load_settings, staging, there)
    settings, cluster = kubeflow_settings(load_settings, options.config, kubeflow.with_image(options, image))
    compiled = kubeflow.compiled_from(settings, file, quiet=options.as_json)
    commit = _commit(compiled)
    ran = kubeflow.connected(staging_cluster, os.environ.get(STAGING_TOKEN_VARIABLE)).run(run)
    record = Runs(existing_store(staging_settings)).find(ran.run_id)
    if reasons := promotion.refusals(ran, record, commit):
        if options.as_json:
            print_json({"promoted": False, "run": ran.run_id, "reasons": reasons})
        else:
            typer.echo(f"Not promoted: {'; '.join(reasons)}.", err=True)
        raise typer.Exit(1)

    client = kubeflow.connected(cluster)
    version, _ = client.upload(compiled, settings.use_case.name, version_name or commit)
    wanted = job(settings, version, schedule_name or settings.use_case.name, experiment)
    made, replaced = client.schedule(wanted, trigger, replace=True)
    document = {
        "promoted": True,
        "run": ran.run_id,
        "version": version.name,
        "version_id": version.version_id,
        "schedule": made.name,
        "schedule_id": made.schedule_id,
        "when": made.when,
        "replaced": replaced,
    }
    lines = [f"Promoted {version.pipeline} {version.name}   {version.link}", f"Schedule {made.name}: {made.when}"]
    options.answer(document, "\n".join([*lines, *kubeflow.kept(replaced)]))


def _commit(compiled: CompiledPipeline) -> str:
    from operations.delivery.kubeflow_api import KubeflowError

    if compiled.commit is None:
        raise KubeflowError(
            "The images of the pipeline are not all tagged with one commit, so nobody could find out what it runs; "
            "compile it with the images that `flightdeck image push` prints."
        )
    return compiled.commit
