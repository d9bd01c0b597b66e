"""``flightdeck runs reproduce``: makes the model of a run again, and says whether it is the same."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck import reproduction_page
from flightdeck.console import json_of, noise_into, print_json, shown
from flightdeck.options import Options
from flightdeck.prepared import prepared_run
from flightdeck.runs.named import Run

if TYPE_CHECKING:
    from ledger.run_record import RunRecord
    from operations.experiments.reproduction.circumstances import Circumstances, Original
    from operations.experiments.reproduction.models import Comparison
    from pipeline.settings import Settings

IDENTICAL, DIFFERENT, IMPOSSIBLE = 0, 1, 2


def reproduce(
    options: Options,
    run: Run,
    at: Annotated[
        str | None,
        typer.Option(metavar="COMMIT", help="Use the code of this commit, in a separate worktree."),
    ] = None,
    allow_different: Annotated[
        bool,
        typer.Option("--allow-different", help="Go on although code, packages or data are not those of the run."),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the worktree of --at there.")] = False,
) -> None:
    """Make the model of a run again, and compare it with the original: every weight and every metric.

    First checks that code, packages and data are those of the run, and otherwise says which are not and stops. Then
    runs with the recorded settings and without the cache. The new run is recorded, never becomes the champion and is
    never pushed.

    Exit code: 0 if the models are identical; 1 if they are not, or the new run failed; 2 if the run cannot be
    reproduced here.
    """
    from operations.experiments.reproduction import circumstances
    from operations.experiments.reproduction.circumstances import ReproductionError

    circumstances.refuse_overrides(options.overrides)
    if keep and at is None:
        raise ReproductionError("--keep leaves the worktree of --at there; without --at there is none.")
    here = options.settings
    original = circumstances.original(options.store(), run)
    if at is not None:
        raise typer.Exit(_elsewhere(original, here, at, keep, allow_different, options.as_json))
    raise typer.Exit(_here(original, here, allow_different, options.as_json))


def _elsewhere(
    original: Original, here: Settings, revision: str, keep: bool, allow_different: bool, as_json: bool
) -> int:
    from operations.experiments.reproduction import worktree
    from operations.experiments.reproduction.circumstances import ReproductionError
    from pipeline.project import CHECKOUT

    if here.project != CHECKOUT:
        raise ReproductionError(
            f"--at checks out a commit of Flightdeck alone, and the use case is in {here.project}; check both out as "
            "they were (`flightdeck runs show` names the commits), and repeat the command without --at."
        )
    if "://" in here.workspace:
        raise ReproductionError(f"A worktree needs a local workspace, and {here.workspace} is not one.")
    below = Path(here.workspace) / "worktrees"
    with worktree.checked_out(CHECKOUT, revision, below, keep, original) as tree:

        def say(text: str) -> None:
            typer.echo(text, err=as_json)

        say(f"Commit {tree.commit[:12]} is checked out in {shown(tree.folder)}")
        if tree.applied:
            say("with the changes that the run had on top of it")
        if foreign := tree.foreign_packages():
            say(f"This environment is not that of its lock file: {'; '.join(foreign[:6])}")
            say(f"To make that environment: add --keep, run {worktree.how_to_install(tree)}, and repeat this command.")
        options = [*(["--allow-different"] if allow_different else []), *(["--json"] if as_json else [])]
        code = worktree.make_again(tree, original, here, options)
        if tree.kept:
            say(f"The worktree stays in {shown(tree.folder)}; remove it with: git worktree remove --force FOLDER")
    return code


def _here(original: Original, here: Settings, allow_different: bool, as_json: bool) -> int:
    from operations.experiments.reproduction import circumstances, models
    from operations.experiments.reproduction.circumstances import ReproductionError
    from pipeline.project import CHECKOUT
    from pipeline.section import SettingsError

    with noise_into(Path(os.devnull)) as screen:
        if not as_json:
            screen.write(f"Comparing code, packages and data with those of run {original.record.run_id}\n")
        compared = circumstances.compare(original, here)
        there = str(original.settings["workspace"])
        model = models.reachable(original.model, there, here.workspace)
        base = original.base_model and models.reachable(original.base_model, there, here.workspace)
    problem = None
    try:
        settings = circumstances.settings_again(original, here)
    except SettingsError as error:
        settings, problem = None, f"The settings of the run mean nothing to the code here: {error}"
    if model is None:
        problem = (
            f"The model of the run is in {original.model}, which cannot be read here: there is nothing to compare."
        )
    if original.base_model and not base:
        model = None
        problem = (
            f"The run began with the weights of the model in {original.base_model}, which cannot be read here: the "
            "training cannot begin as it did."
        )
    if settings is None or model is None or (compared.differences and not allow_different):
        ways = reproduction_page.ways_out(original, compared, CHECKOUT, here.project)
        if as_json:
            print_json(reproduction_page.refusal_document(original, compared, problem, ways))
            return IMPOSSIBLE
        raise ReproductionError(reproduction_page.refusal(original, compared, problem, ways))
    with prepared_run(settings, "reproduction", quiet=as_json, parent=original.record.run_id) as run:
        if not as_json:
            reproduction_page.print_circumstances(compared, run.output)
        record = run.execute("create_reproduction_pipeline", base)
        comparison = None
        if record.outcome != "failed":
            record, comparison = _judge(original, compared, model, record, settings)
        if as_json:
            document = reproduction_page.result_document(original, compared, record, comparison)
            run.screen.write(json_of(document) + "\n")
        else:
            reproduction_page.print_result(original, compared, record, comparison, run.log, run.output)
    return IDENTICAL if comparison is not None and comparison.identical else DIFFERENT


def _judge(
    original: Original, compared: Circumstances, model: str, record: RunRecord, settings: Settings
) -> tuple[RunRecord, Comparison]:
    from ledger.opening import open_store
    from ledger.outputs import outputs_of_run
    from ledger.recorder import Recorder
    from operations.experiments.reproduction import models
    from pipeline.store import connection

    store = open_store(connection(settings))
    recorder = Recorder(store)
    made = outputs_of_run(store, record.run_id)["Trainer"]["model"].uri
    comparison = models.compare(
        (models.saved_model(model), models.saved_model(made)),
        (original.record.metrics, record.metrics),
        (original.slices, recorder.document(record.documents["slices"]) if "slices" in record.documents else []),
    )
    verdict = comparison.document() | {
        "original": original.record.run_id,
        "differences": [difference.document() for difference in compared.differences],
        "notes": list(compared.notes),
    }
    recorder.write(
        record.run_id,
        outcome="done",
        reasons=comparison.reasons(),
        documents={"verdict": recorder.put_document(verdict)},
    )
    return recorder.read(record.run_id), comparison
