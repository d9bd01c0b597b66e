"""What a run does in processes that have TFX loaded; see `fork_server`. Importing this module imports none of it."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_metadata.proto import metadata_store_pb2

import storage
from ledger.run_record import NodeOutcome, RunRecord
from pipeline.beam_settings import Beam
from pipeline.settings_file import from_document

_SAMPLE_SECONDS = 0.002


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A pipeline as `pipeline.node.encode` writes it, and what each node waits for, in their order."""

    ir: str
    after: dict[str, tuple[str, ...]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """One run of a compiled pipeline, the metadata store that knows of it, and where Beam runs."""

    pipeline: Compiled
    run_id: str
    connection: metadata_store_pb2.ConnectionConfig
    beam: Beam = dataclasses.field(default_factory=Beam)


def compile_pipeline(factory: str, settings: Mapping[str, Any], arguments: tuple[Any, ...]) -> Compiled:
    """The pipeline that a function of `pipeline.definition` makes of settings, given as their document."""
    from pipeline import definition, node

    ir = node.compile_pipeline(getattr(definition, factory)(from_document(settings), *arguments))
    return Compiled(node.encode(ir), {name: tuple(node.upstream(ir, name)) for name in node.node_ids(ir)})


def launch(plan: Plan, node_id: str, profile: Path | None = None) -> NodeOutcome:
    """Runs one node; where its main thread spent the time becomes a page `profile`, unless its result is reused."""
    from pipeline import node

    if profile is None:
        return node.launch(_bound(plan), node_id, plan.connection, beam=plan.beam)
    from pyinstrument import Profiler

    outcome = None
    profiler = Profiler(interval=_SAMPLE_SECONDS, async_mode="disabled")
    try:
        with profiler:
            outcome = node.launch(_bound(plan), node_id, plan.connection, beam=plan.beam)
        return outcome
    finally:
        if outcome is None or outcome.state != "cached":
            profile.parent.mkdir(parents=True, exist_ok=True)
            storage.write(profile, profiler.output_html())


def reuse(plan: Plan) -> list[NodeOutcome]:
    """Publishes the earlier results of the first nodes, up to the first one that has to run.

    Whatever goes wrong is left to that node's process, which does the same again with all of TFX.
    """
    from pipeline import node

    ir, outcomes = _bound(plan), []
    for node_id in plan.pipeline.after:
        try:
            outcome = node.reuse(ir, node_id, plan.connection)
        except Exception:
            logging.exception("No earlier result of %s was looked for.", node_id)
            break
        if outcome is None:
            break
        outcomes.append(outcome)
    return outcomes


def complete(plan: Plan, settings: Mapping[str, Any], further: Mapping[str, Any]) -> RunRecord:
    """Writes what came of a run, and returns its record; for `further`, see `pipeline.results.complete`."""
    from ledger.opening import open_store
    from ledger.recorder import Recorder
    from pipeline import results

    store = open_store(plan.connection)
    ir, resolved = _bound(plan), from_document(settings)
    return results.complete(Recorder(store), store, plan.run_id, resolved, ir, ended=True, **further)


def _bound(plan: Plan) -> Any:
    from pipeline import node

    ir = node.decode(plan.pipeline.ir)
    node.bind(ir, plan.run_id)
    return ir
