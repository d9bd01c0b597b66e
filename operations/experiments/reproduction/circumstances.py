"""What a run depended on: its code, packages, data and settings, and what of that is different now.

Imports neither TensorFlow nor TFX, but for reading the data.
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from errors import FlightdeckError
from ledger.comparison import flattened
from ledger.recorder import RUN
from ledger.run_facts import is_ours
from ledger.run_record import RunRecord
from ledger.runs import Runs
from operations.experiments.sweep.plan import with_dotted
from pipeline import settings_file, stamp
from pipeline.settings import Settings

Aspect = Literal["code", "packages", "data", "settings"]

# The settings that say where things are, and not what is done with them. They are this machine's; all others the run's.
PLACES = ("workspace", "data.spans", "metadata", "beam", "kubeflow")
# The settings that can change a model or its metrics. The spans are compared as data, and the rest comes after a run.
_DECISIVE = ("use_case", "data.eval_spans", "gate", "features", "training", "model", "evaluation")
_IDLE = ("model.tuning",)
LOCK_FILE = f"the lock file {stamp.LOCK}"
# A value of so many characters fits into a sentence.
_SHORT = 30
_NEEDED = ("settings", "sources", "packages")


class ReproductionError(FlightdeckError):
    """A run cannot be reproduced; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """One thing that is not what it was.

    Attributes:
        aspect: what kind of thing.
        name: a file, a package or a setting.
        recorded: its digest, version or value at the time of the run; None if it was not there.
        now: the same now; None if it is not there.
        span: of a data file.
    """

    aspect: Aspect
    name: str
    recorded: str | None
    now: str | None
    span: int | None = None

    def document(self) -> dict[str, Any]:
        """The difference as JSON has it."""
        return {**dataclasses.asdict(self), "sentence": self.sentence()}

    def sentence(self) -> str:
        """The difference in words."""
        name = self.name if self.span is None else f"{self.name} (span {self.span})"
        if self.recorded is None:
            return f"{name} is new" + (f": {self.now}" if self.aspect in ("packages", "settings") else "")
        if self.now is None:
            return f"{name} is missing" + (
                f", and was {self.recorded}" if self.aspect in ("packages", "settings") else ""
            )
        # The digests of a source file say nothing to a person.
        return f"{name} has changed" if self.aspect == "code" else f"{name} is {self.now}, and was {self.recorded}"

    def briefly(self) -> str:
        """The same, without values that are long."""
        return self.sentence() if max(len(self.recorded or ""), len(self.now or "")) <= _SHORT else self.name


@dataclasses.dataclass(frozen=True)
class Original:
    """A run that can be made again, with the documents that say how.

    Attributes:
        record: of the run.
        settings: as they were used.
        sources: the files that make a model: path -> digest.
        packages: name -> version.
        files: the data that was read (name, span, bytes, SHA-256); None if only its fingerprint was kept.
        slices: the metrics of each slice.
        diff: the changes on top of the commit, or their digest; None if there were none.
        model: where its model artifact is.
        trained_by: the run that trained this model, if it was taken from the cache.
        base_model: where the model artifact is that its training began with; None if it began anew.
    """

    record: RunRecord
    settings: dict[str, Any]
    sources: dict[str, str]
    packages: dict[str, str]
    files: list[dict[str, Any]] | None
    slices: list[dict[str, Any]]
    diff: str | None
    model: str
    trained_by: str | None
    base_model: str | None = None

    @property
    def spans(self) -> list[int]:
        """Every span that the run read, ascending."""
        return sorted(span for spans in self.record.spans.values() for span in spans)


def original(store: ml_metadata.MetadataStore, name: str) -> Original:
    """A run with all that is needed to make it again.

    Raises:
        LedgerError: there is no such run.
        ReproductionError: it has no model, or its record is not complete enough to tell whether it can be the same.
    """
    runs = Runs(store)
    record = runs.find(name)
    run = f"Run {record.run_id}"
    if not is_ours(record):
        raise ReproductionError(f"{run} was recorded by another program: its code, settings and data are not known.")
    if record.kind not in ("run", "reproduction"):
        raise ReproductionError(f"{run} is a {record.kind}: only a run that trains a model in full can be reproduced.")
    if record.outcome in ("running", "killed"):
        raise ReproductionError(f"{run} has not ended, or was killed: there is nothing to compare with.")
    if record.model_id is None or not record.metrics:
        what = "trained no model" if record.model_id is None else "did not evaluate its model"
        why = f" ({record.reasons[0]})" if record.reasons else ""
        raise ReproductionError(f"{run} {what}{why}: there is nothing to compare with.")
    missing = [each for each in _NEEDED if each not in record.documents]
    missing += [each for each in ("spans", "data", "hyperparameters") if not getattr(record, each)]
    if missing:
        raise ReproductionError(
            f"The record of run {record.run_id} lacks its {', '.join(missing)} (was it written by an older version?): "
            "nobody can tell whether another run is the same."
        )

    def document(name: str) -> Any:
        return runs.document(record, name) if name in record.documents else None

    return Original(
        record,
        document("settings"),
        document("sources"),
        document("packages"),
        document("files"),
        document("slices") or [],
        document("diff"),
        *_model(store, record.model_id, record.run_id),
        base_model=None if record.base_model_id is None else _base_model(store, record.base_model_id, record.run_id),
    )


def _model(store: ml_metadata.MetadataStore, model_id: int, run_id: str) -> tuple[str, str | None]:
    """Where a model is, and which other run trained it."""
    found = store.get_artifacts_by_id([model_id])
    if not found:
        raise ReproductionError(f"The metadata store no longer has the model of run {run_id}.")
    # A run that takes the model from the cache is said to have made it too, later.
    makers = [
        each.execution_id
        for each in store.get_events_by_artifact_ids([model_id])
        if each.type == metadata_store_pb2.Event.OUTPUT
    ]
    contexts = store.get_contexts_by_execution(min(makers)) if makers else []
    trained_by = next((each.name for each in contexts if each.type == RUN), None)
    return found[0].uri, None if trained_by == run_id else trained_by


def _base_model(store: ml_metadata.MetadataStore, model_id: int, run_id: str) -> str:
    """Where the model is whose weights a run began with."""
    found = store.get_artifacts_by_id([model_id])
    if not found:
        raise ReproductionError(f"The metadata store no longer has model {model_id}, which run {run_id} began with.")
    return found[0].uri


def refuse_overrides(overrides: Sequence[str]) -> None:
    """Refuses to change what is to be reproduced.

    Raises:
        ReproductionError: one of them is not about a place.
    """
    for override in overrides:
        key = override.partition("=")[0]
        if not _within(key, PLACES):
            raise ReproductionError(
                f"A reproduction uses the settings of its run, and `--set {override}` would change them. Only "
                f"{', '.join(PLACES)}, which say where things are, can be set. To try something else: flightdeck run"
            )


def settings_again(found: Original, here: Settings) -> Settings:
    """The settings with which a run is made again.

    Everything is as recorded, the hyperparameters as the Trainer used them, and the window is the spans that it turned
    out to be; only the places are this machine's.

    Raises:
        SettingsError: the recorded ones mean nothing to this code.
    """
    document = {**found.settings, **{name: here.document()[name] for name in ("workspace", "metadata", "beam")}}
    document["kubeflow"] = None
    document["data"] = {
        **found.settings["data"],
        "spans": spans_folder(found, here),
        "window": f"{found.spans[0]}:{found.spans[-1]}",
        "eval_spans": len(found.record.spans["eval"]),
    }
    document["model"] = with_dotted(found.settings["model"], found.record.hyperparameters)
    document["tuning"] = {"enabled": False}
    document["push"] = {**found.settings.get("push", {}), "enabled": False}
    document["cache"] = False
    return settings_file.from_document(document)


def spans_folder(found: Original, here: Settings) -> str:
    """Where the data of a run is looked for: as this machine's settings say, or else where the run had it."""
    there = found.settings["data"].get("spans")
    if here.data.spans is None and there and ("://" in there or Path(there).is_dir()):
        return there
    return here.spans


def code_differences(recorded: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """The source files that differ."""
    return [Difference("code", name, before, after) for name, before, after in _changes(recorded, now)]


def package_differences(
    recorded: Mapping[str, str], now: Mapping[str, str], locked: Mapping[str, str] | None = None
) -> tuple[list[Difference], list[Difference]]:
    """The packages that differ.

    Args:
        recorded: name -> version.
        now: the same of this environment, from `pipeline.stamp.packages`.
        locked: those that the lock file names, from `pins`. What else is installed, such as a linter, takes no part in
            a run.

    Returns:
        Those of the lock file, and the others.
    """
    changed = [Difference("packages", name, before, after) for name, before, after in _changes(recorded, now)]
    if locked is None:
        return changed, []
    return [each for each in changed if each.name in locked], [each for each in changed if each.name not in locked]


def pins(lock: Path) -> dict[str, str] | None:
    """The versions that a lock file pins for this platform, by normalised name; None if there is no such file."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    pinned: dict[str, str] = {}
    for line in lines:
        if not line or line[0] in " #-":
            continue
        try:
            requirement = Requirement(line.rstrip("\\ "))
        except InvalidRequirement:
            continue
        exact = [each.version for each in requirement.specifier if each.operator == "=="]
        if exact and (requirement.marker is None or requirement.marker.evaluate()):
            pinned[canonicalize_name(requirement.name)] = exact[0]
    return pinned


def data_differences(found: Original, folder: str) -> list[Difference]:
    """The data files that differ, each with its span.

    Raises:
        ReproductionError: there is no such folder.
    """
    from components.span_example_gen import storage
    from components.span_example_gen.errors import SpanError

    try:
        names = storage.list_spans(folder)
    except SpanError as error:
        raise ReproductionError(
            f"{error} The data of run {found.record.run_id} is needed; say where it is with --set data.spans=FOLDER"
        ) from None
    there = [each for span in found.spans if span in names for each in storage.list_files(folder, span, names[span])[0]]
    gone = [Difference("data", f"span-{span:03}", "there", None, span) for span in found.spans if span not in names]
    if found.files is None:
        now = storage.fingerprint(there)
        changed = Difference("data", f"the content of spans {found.spans[0]}-{found.spans[-1]}", found.record.data, now)
        return gone or ([] if now == found.record.data else [changed])
    recorded = {each["name"]: each for each in found.files}
    now = {}
    for file in there:
        with storage.open_file(file) as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()  # pyright: ignore[reportArgumentType]
            now[file.name] = {"span": file.span, "bytes": stream.tell(), "sha256": digest}
    return [
        Difference("data", name, _content(recorded.get(name)), _content(now.get(name)), span)
        for name in sorted({*recorded, *now})
        if _content(recorded.get(name)) != _content(now.get(name))
        for span in [(recorded.get(name) or now[name])["span"]]
    ]


def setting_differences(found: Original, here: Settings) -> list[Difference]:
    """What this machine's settings would do otherwise than the run's; a list is one setting."""
    model = with_dotted(found.settings["model"], found.record.hyperparameters)
    before = flattened({**found.settings, "model": model}, lists=False)
    now = flattened(here.document(), lists=False)
    return [
        Difference("settings", name, None if name not in before else repr(old), None if name not in now else repr(new))
        for name, old, new in _changes(before, now)
        if _within(name, _DECISIVE) and not _within(name, _IDLE)
    ]


def _within(key: str, sections: Sequence[str]) -> bool:
    return any(key == each or key.startswith(f"{each}.") for each in sections)


def _changes(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = sorted({*recorded, *now})
    pairs = [(name, recorded.get(name), now.get(name)) for name in names]
    return [(name, old, new) for name, old, new in pairs if (name in recorded) != (name in now) or not _same(old, new)]


def _same(old: Any, new: Any) -> bool:
    both_nan = isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new)
    return both_nan or old == new


def _content(file: Mapping[str, Any] | None) -> str | None:
    return None if file is None else f"{file['bytes']:,} bytes with SHA-256 {file['sha256'][:12]}"


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """How the circumstances of a run compare with those here and now.

    Attributes:
        differences: those that can change the model.
        notes: sentences on those that are not supposed to.
        running: the code here.
    """

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    running: stamp.Revision


def compare(found: Original, here: Settings) -> Circumstances:
    """Compares everything that a run depended on with what is here.

    Raises:
        ReproductionError: the data is nowhere to be found.
    """
    record, running = found.record, stamp.code()
    notes = []
    code = code_differences(found.sources, stamp.sources_of(here))
    if not code:
        notes += _other_commits(found, here, running)
    packages, others = package_differences(found.packages, stamp.packages(), pins(stamp.PROJECT / stamp.LOCK))
    lock = stamp.lock_digest()
    if record.lock and lock != record.lock:
        packages.insert(0, Difference("packages", LOCK_FILE, record.lock, lock))
    if others:
        notes.append(f"Packages that are in no lock differ, and take no part: {_listed(others)}.")
    data = data_differences(found, spans_folder(found, here))
    if found.trained_by:
        notes.append(f"Run {record.run_id} took its model from the cache: it was trained by run {found.trained_by}.")
    if settings := setting_differences(found, here):
        notes.append(
            f"The settings here are others, and the recorded ones are used: {_listed(settings, Difference.briefly)}."
        )
    return Circumstances((*code, *packages, *data), tuple(notes), running)


def _other_commits(found: Original, here: Settings, running: stamp.Revision) -> list[str]:
    """Sentences on code of another commit, for when the files that make a model are the same."""
    record = found.record
    differing = []
    if record.platform is not None:
        own = stamp.code_of(here)
        if record.code.commit and (own.commit, own.dirty) != (record.code.commit, record.code.dirty):
            differing.append(("code", record.code, own))
    if record.commit and (running.commit, running.diff) != (record.commit, found.diff):
        differing.append(("code" if record.platform is None else "Flightdeck", record, running))
    return [
        f"The run's {whose} was {described(then.commit, then.dirty)}, and this is {described(now.commit, now.dirty)}; "
        "the files that make a model are the same."
        for whose, then, now in differing
    ]


def described(commit: str | None, dirty: bool | None) -> str:
    """A commit in words."""
    if commit is None:
        return "no commit"
    return f"commit {commit[:12]}{' with changes' if dirty else ''}"


def _listed(
    differences: Sequence[Difference], in_words: Callable[[Difference], str] = Difference.sentence, most: int = 6
) -> str:
    shown = "; ".join(in_words(each) for each in differences[:most])
    return shown if len(differences) <= most else f"{shown}; and {len(differences) - most} more"
