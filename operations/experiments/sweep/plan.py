"""What a sweep is to do: written down once, so that every worker, also after a kill, does the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_metadata
from pydantic import BaseModel, ConfigDict

from errors import FlightdeckError
from ledger.outputs import outputs_of_run
from ledger.recorder import Recorder
from ledger.run_record import RunRecord
from operations.serving import settings as serving
from pipeline import settings_file
from pipeline.settings import Settings

_DOCUMENT = "plan"
# Where a run reads and writes. Everything else of a sweep is as in its parent, unless it is changed on purpose.
_PLACES = ("workspace", "metadata", "push", "beam", "kubeflow", "cache")


class SweepError(FlightdeckError):
    """A sweep cannot be made, or cannot go on; the text says why."""


class SweepPlan(BaseModel):
    """What a sweep is to do.

    Attributes:
        sweep_id: its name in ML Metadata.
        parent: the run around which is searched, if there is one.
        source: the run whose data the trials learn from.
        settings: those of the trials, as a document; `model.tuning` says what is searched, and how.
        trials: how many there shall be.
        examples: URI of the source's examples; trials learn from the split `train`.
        transform_graph: URI of the source's transform graph.
        logs: folder, or URI, in which each trial has a folder of TensorBoard logs.
        data: fields of the record of each trial that say which data it learned from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sweep_id: str
    parent: str | None
    source: str
    settings: dict[str, Any]
    trials: int
    examples: str
    transform_graph: str
    logs: str
    data: dict[str, Any] = {}

    @property
    def objective(self) -> str:
        """The name of what the trials are judged by."""
        return self.settings["model"]["tuning"]["objective"]

    @property
    def higher_is_better(self) -> bool:
        """The direction of the objective."""
        return not self.objective.endswith("loss")

    @property
    def better(self) -> str:
        """The same as records say it."""
        return "higher" if self.higher_is_better else "lower"

    def trial_id(self, number: int) -> str:
        """The name of a trial in ML Metadata."""
        return f"{self.sweep_id}-{number:03d}"

    def trial_logs(self, number: int) -> str:
        """The folder, or URI, of a trial's TensorBoard logs."""
        return f"{self.logs}/{trial_name(number)}"


def trial_name(number: int) -> str:
    """A trial's name within its sweep: keras-tuner's own."""
    return f"{number:04d}"


def make(
    store: ml_metadata.MetadataStore,
    sweep_id: str,
    source: RunRecord,
    settings: Settings,
    trials: int,
    parent: str | None,
) -> SweepPlan:
    """Plans a sweep on the data of a run.

    Raises:
        SweepError: the run has no data to learn from any more.
    """
    outputs = outputs_of_run(store, source.run_id)
    examples = outputs.get("SpanExampleGen", {}).get("examples")
    graph = outputs.get("Transform", {}).get("transform_graph")
    if examples is None or graph is None:
        missing = "examples" if examples is None else "transform graph"
        raise SweepError(f"Run {source.run_id} made no {missing}, so there is nothing to search on; choose another.")
    for uri in (examples.uri, graph.uri):
        if "://" not in uri and not Path(uri).is_dir():
            raise SweepError(
                f"The data of run {source.run_id} is gone: there is no folder {uri}. Run it again first, "
                "with the same window."
            )
    return SweepPlan(
        sweep_id=sweep_id,
        parent=parent,
        source=source.run_id,
        settings=settings.document(),
        trials=trials,
        examples=examples.uri,
        transform_graph=graph.uri,
        logs=f"{settings.workspace}/sweeps/{sweep_id}",
        data={"window": source.window, "spans": source.spans, "rows": source.rows, "data": source.data},
    )


def save(recorder: Recorder, plan: SweepPlan) -> None:
    """Writes the plan down in the sweep's record."""
    digest = recorder.put_document(plan.model_dump(mode="json"))
    recorder.write(plan.sweep_id, documents={_DOCUMENT: digest})


def load(recorder: Recorder, sweep_id: str) -> SweepPlan:
    """The plan of a sweep.

    Raises:
        RecordError: there is no run of that name.
        SweepError: it is no sweep.
    """
    record = recorder.read(sweep_id)
    if record.kind != "sweep" or _DOCUMENT not in record.documents:
        raise SweepError(f"{sweep_id} is a {record.kind} and not a sweep; --resume takes the id of a sweep.")
    return SweepPlan.model_validate(recorder.document(record.documents[_DOCUMENT]))


def settings_of(plan: SweepPlan, values: Mapping[str, Any] | None = None) -> Settings:
    """The settings of a sweep's trials, or those with the hyperparameters of one trial, as keras-tuner holds them.

    Raises:
        SettingsError: this code no longer knows such settings.
        ValueError: the hyperparameters do not fit together.
    """
    # A sweep begun by an older version recorded where its final run pushes as the settings of the canary.
    settings = settings_file.from_document(plan.settings, serving.Settings)
    if values is None:
        return settings
    return settings.model_copy(update={"model": settings.model.with_hyperparameters(values)})


def settings_around(
    parent: RunRecord, recorded: Mapping[str, Any], here: Settings, overrides: Sequence[str] = ()
) -> Settings:
    """The settings of a sweep: those of its parent, in the workspace and with the metadata store that are used here.

    Args:
        parent: the run around which is searched.
        recorded: the parent's settings as a document.
        here: the settings that the command was given.
        overrides: those of the command, such as ``model.batch_size=256``; they apply to the parent's settings too.

    Raises:
        SettingsError: the parent's settings mean nothing to this code, or an override does not fit.
        SweepError: an override concerns what the parent's data was made with.
    """
    document = settings_here(recorded, parent.hyperparameters, here, _PLACES)
    for override in overrides:
        section = override.partition("=")[0].partition(".")[0]
        if section in ("features", "use_case"):
            raise SweepError(
                f"--set {override}: trials learn from the data of the run, which was made with its own `{section}`; "
                "make a run with the other ones first."
            )
        if section in ("model", "evaluation"):
            settings_file.put(document, override)
    return settings_file.from_document(document)


def settings_here(
    recorded: Mapping[str, Any], hyperparameters: Mapping[str, Any], here: Settings, sections: Sequence[str]
) -> dict[str, Any]:
    """The settings of a run as a document, but for some sections, which are as they are here.

    The hyperparameters are those that the run used, and are not searched for once more.
    """
    return {
        **recorded,
        **{name: value for name, value in here.document().items() if name in sections},
        "data": {**recorded["data"], "spans": spans_folder(recorded, here)},
        "model": with_dotted(recorded["model"], hyperparameters),
        "tuning": {"enabled": False},
    }


def spans_folder(recorded: Mapping[str, Any], here: Settings) -> str:
    """Where the data of a run is looked for: as this machine's settings say, or else where the run had it."""
    there = recorded["data"].get("spans")
    if here.data.spans is None and there and ("://" in there or Path(there).is_dir()):
        return there
    return here.spans


def with_dotted(section: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A section of settings with values by dotted names put into it."""
    merged = dict(section)
    for name, value in values.items():
        first, _, rest = name.partition(".")
        merged[first] = with_dotted(merged.get(first) or {}, {rest: value}) if rest else value
    return merged
