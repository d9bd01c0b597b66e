"""``flightdeck runs show``: everything that the ledger knows of one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from flightdeck.console import console, print_json, table
from flightdeck.options import Options
from flightdeck.run_page import BAD, STYLES, print_metrics, print_reasons
from flightdeck.runs.named import Run
from flightdeck.runs.named import document as whole
from ledger import formats
from ledger.formats import fact, local_moment

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.run_record import Revision, RunRecord
    from ledger.runs import Runs


def show(
    options: Options,
    run: Run,
    document: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Print one of the run's documents instead: settings, packages, diff, ..."),
    ] = None,
) -> None:
    """Show one run: its code, settings, data and hyperparameters, what came of it, and what people wrote about it."""
    import yaml

    from ledger.run_facts import is_ours
    from ledger.runs import Runs

    runs = Runs(options.store())
    record = runs.find(run)
    if document is not None:
        content = runs.document(record, document)
        is_text = isinstance(content, str)
        options.answer(content, content if is_text else yaml.safe_dump(content, sort_keys=False, width=110).rstrip())
    elif options.as_json:
        # With what a program would otherwise have to ask for one by one; the long texts stay documents.
        contents = {
            name: runs.document(record, name) for name in ("settings", "slices", "fairness") if name in record.documents
        }
        print_json(whole(record) | {"recorded": is_ours(record), "contents": contents})
    else:
        _print(record, runs)


def _print(record: RunRecord, runs: Runs) -> None:
    from rich.markup import escape

    from ledger.run_facts import FOREIGN, is_ours, last_sign_of_life, shown_outcome

    on, view = console(), runs.view(record)
    state = shown_outcome(record)
    kind = record.kind if is_ours(record) else "run"
    version = f" as version {record.version}" if record.version else ""
    on.print(f"{kind.capitalize()} {escape(record.run_id)}   [{STYLES.get(state, BAD)}]{state}[/]{version}")
    if heard := last_sign_of_life(record):
        on.print(f"            Last sign of life {local_moment(heard)}", markup=False)
    print_reasons(view, on)
    if state == FOREIGN:
        states = ", ".join(f"{count:,} {state}" for state, count in runs.executions(record).items())
        on.print("            Another TFX pipeline recorded this run, and what it was made from is not known here.")
        on.print(f"            Its executions: {states or 'none'}", markup=False)
    _facts(record, on)
    if record.hyperparameters:
        on.print()
        rows = [(name, fact(value)) for name, value in sorted(record.hyperparameters.items())]
        table(["hyperparameter", "value"], rows, on=on)
    if record.metrics:
        print_metrics(view, on)
        if len(view.slices) > len(view.worst_slices):
            on.print(
                f"{len(view.slices):,} slices in all: flightdeck runs show {record.run_id} --document slices",
                markup=False,
            )
    _nodes(record, on)
    for note in record.notes:
        on.print(f"Note        {note.text}", markup=False, soft_wrap=True)
        on.print(f"            {note.who}, {local_moment(note.when)}", markup=False)
    if record.documents:
        on.print(f"Documents   {', '.join(sorted(record.documents))}", markup=False, soft_wrap=True)
        on.print(f"            flightdeck runs show {record.run_id} --document NAME", markup=False)


def _facts(record: RunRecord, on: Console) -> None:
    from ledger.run_facts import resolved_window

    def line(name: str, *parts: str | None) -> None:
        if said := [part for part in parts if part]:
            on.print(f"{name:<12}{', '.join(said)}", markup=False, soft_wrap=True)

    loading = f"{record.loading_seconds:.0f} s of it loading libraries" if record.loading_seconds else None
    took = formats.duration(record.seconds) if record.seconds is not None else None
    line("Started", formats.local_moment(record.started), f"took {took}" if took else None, loading)
    memory = f"peak memory {record.peak_mb / 1024:.1f} GiB" if record.peak_mb else None
    where = record.runner if "runner" in record.model_fields_set else None
    line("By", record.user, f"on {record.host}" if record.host else None, where, memory)
    line("Belongs to", record.parent)
    for number, reason in enumerate(record.triggers.values()):
        line("" if number else "Because", reason)
    line("Code", *_revision(record.code))
    line("Flightdeck", *_revision(record.platform))
    line(
        "Environment",
        f"settings {record.settings}" if record.settings else None,
        f"lock {record.lock}" if record.lock else None,
    )
    line("Pipeline", record.pipeline)
    line(
        "Data",
        f"window {record.window}" if record.window else None,
        *(
            (f"{split} span{'s' * (len(spans) != 1)} {formats.spans(spans)}" if resolved_window(record) else "files")
            + (f" ({record.rows[split]:,} rows)" if split in record.rows else "")
            for split, spans in record.spans.items()
        ),
    )
    line("", record.data)
    champion = record.champion_model_id
    line(
        "Model",
        None if record.model_id is None else f"artifact {record.model_id}",
        None if champion is None else f"judged beside the champion, artifact {champion}",
    )
    if record.base_model_id is not None:
        line("Began with", f"artifact {record.base_model_id}", record.began_with)
    line("Pushed to", record.pushed_to if record.version else None)
    line("Tags", *record.tags)


def _revision(code: Revision | None) -> tuple[str | None, ...]:
    if code is None or (code.commit is None and code.dirty is None):
        return ()
    if code.commit is None:
        return ("in no commit",)
    changed = {True: "with changes that are not in it", False: "nothing changed", None: None}[code.dirty]
    return code.commit, f"branch {code.branch}" if code.branch else None, changed


def _nodes(record: RunRecord, on: Console) -> None:
    on.print()
    if not record.nodes:
        return
    rows = [
        (node.node_id, node.state, f"{node.seconds:,.1f} s", f"{node.peak_mb:,.0f} MiB", node.engine or "")
        for node in record.nodes
    ]
    table(["node", "state", "time", "peak memory", "Beam engine"], rows, on=on)
    for node in record.nodes:
        if node.error:
            on.print(f"{node.node_id}: {node.error}", markup=False, soft_wrap=True)
    on.print()
