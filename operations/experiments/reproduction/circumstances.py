"""What a run depended on: its code, packages, data and settings, and what of that is different now.

Imports neither TensorFlow nor TFX, but for reading the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import ml_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from errors import FlightdeckError
from ledger.outputs import maker
from ledger.run_facts import flattened, is_ours
from ledger.run_record import RunRecord
from ledger.runs import Runs
from operations.experiments.sweep.plan import settings_here, spans_folder, with_dotted
from pipeline import settings_file, stamp
from pipeline.project import CHECKOUT
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
_LISTED = 6
Key = TypeVar("Key", str, tuple[str, str])


class ReproductionError(FlightdeckError):
    """A run cannot be reproduced; the text says why and what to do."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """A file, package or setting that is not what it was.

    Attributes:
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
        # The digests of files say nothing to a person.
        has_value = self.aspect in ("packages", "settings")
        if self.recorded is None:
            return f"{name} is new: {self.now}" if has_value else f"{name} is new"
        if self.now is None:
            return f"{name} is missing, and was {self.recorded}" if has_value else f"{name} is missing"
        return f"{name} has changed" if self.aspect == "code" else f"{name} is {self.now}, and was {self.recorded}"

    def briefly(self) -> str:
        """The same, without values that are long."""
        return self.sentence() if max(len(self.recorded or ""), len(self.now or "")) <= _SHORT else self.name


@dataclasses.dataclass(frozen=True)
class Original:
    """A run that can be made again, with the documents that say how.

    Attributes:
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
    missing = [name for name in ("settings", "sources", "packages") if name not in record.documents]
    missing += [name for name in ("spans", "data", "hyperparameters") if not getattr(record, name)]
    if missing:
        raise ReproductionError(
            f"The record of run {record.run_id} lacks its {', '.join(missing)} (was it written by an older version?), "
            "without which no other run can be compared with it."
        )

    def document(name: str) -> Any:
        return runs.document(record, name) if name in record.documents else None

    base = f"model {record.base_model_id}, which run {record.run_id} began with"
    return Original(
        record=record,
        settings=document("settings"),
        sources=document("sources"),
        packages=document("packages"),
        files=document("files"),
        slices=document("slices") or [],
        diff=document("diff"),
        model=_uri(store, record.model_id, f"the model of run {record.run_id}"),
        trained_by=None if (trained_by := maker(store, record.model_id)) == record.run_id else trained_by,
        base_model=None if record.base_model_id is None else _uri(store, record.base_model_id, base),
    )


def _uri(store: ml_metadata.MetadataStore, model_id: int, what: str) -> str:
    artifacts = store.get_artifacts_by_id([model_id])
    if not artifacts:
        raise ReproductionError(f"The metadata store no longer has {what}.")
    return artifacts[0].uri


def refuse_overrides(overrides: Sequence[str]) -> None:
    """Raises `ReproductionError` if an override is not about a place, and would change what is to be reproduced."""
    for override in overrides:
        key = override.partition("=")[0]
        if not _within(key, PLACES):
            raise ReproductionError(
                f"A reproduction uses the settings of its run, and `--set {override}` would change them. Only "
                f"{', '.join(PLACES)}, which say where things are, can be set. To try something else: flightdeck run"
            )


def settings_again(original: Original, here: Settings) -> Settings:
    """The settings with which a run is made again.

    Everything is as recorded, the hyperparameters as the Trainer used them, and the window is the spans that it turned
    out to be; only the places are this machine's.

    Raises:
        SettingsError: the recorded ones mean nothing to this code.
    """
    document = settings_here(
        original.settings, original.record.hyperparameters, here, ("workspace", "metadata", "beam")
    )
    document["kubeflow"] = None
    document["data"] |= {
        "window": f"{original.spans[0]}:{original.spans[-1]}",
        "eval_spans": len(original.record.spans["eval"]),
    }
    document["push"] = {**original.settings.get("push", {}), "enabled": False}
    document["cache"] = False
    return settings_file.from_document(document)


def differences(aspect: Aspect, recorded: Mapping[str, str], now: Mapping[str, str]) -> list[Difference]:
    """The source files or packages that differ."""
    return [Difference(aspect, name, before, after) for name, before, after in changes(recorded, now)]


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
        exact = [specifier.version for specifier in requirement.specifier if specifier.operator == "=="]
        if exact and (requirement.marker is None or requirement.marker.evaluate()):
            pinned[canonicalize_name(requirement.name)] = exact[0]
    return pinned


def data_differences(original: Original, folder: str) -> list[Difference]:
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
            f"{error} The data of run {original.record.run_id} is needed; say where it is with --set data.spans=FOLDER"
        ) from None
    files = [
        file for span in original.spans if span in names for file in storage.list_files(folder, span, names[span])[0]
    ]
    gone = [Difference("data", f"span-{span:03}", "there", None, span) for span in original.spans if span not in names]
    if original.files is None:
        now = storage.fingerprint(files)
        changed = Difference(
            "data", f"the content of spans {original.spans[0]}-{original.spans[-1]}", original.record.data, now
        )
        return gone or ([] if now == original.record.data else [changed])
    recorded = {file["name"]: _content(file["bytes"], file["sha256"]) for file in original.files}
    spans = {file.name: file.span for file in files} | {file["name"]: file["span"] for file in original.files}
    now = {file.name: _content(*storage.content(file)) for file in files}
    return [Difference("data", name, before, after, spans[name]) for name, before, after in changes(recorded, now)]


def setting_differences(original: Original, here: Settings) -> list[Difference]:
    """What this machine's settings would do otherwise than the run's; a list is one setting."""
    model = with_dotted(original.settings["model"], original.record.hyperparameters)
    before = flattened({**original.settings, "model": model}, lists=False)
    now = flattened(here.document(), lists=False)
    return [
        Difference("settings", name, None if name not in before else repr(old), None if name not in now else repr(new))
        for name, old, new in changes(before, now)
        if _within(name, _DECISIVE) and not _within(name, _IDLE)
    ]


def _within(key: str, sections: Sequence[str]) -> bool:
    return any(key == section or key.startswith(f"{section}.") for section in sections)


def changes(recorded: Mapping[Key, Any], now: Mapping[Key, Any]) -> list[tuple[Key, Any, Any]]:
    """What is not equal, or not in both, in order: key, recorded value and value now. Not a number equals itself."""
    return [
        (key, old, new)
        for key in sorted({*recorded, *now})
        for old, new in [(recorded.get(key), now.get(key))]
        if (key in recorded) != (key in now) or (old != new and not (old != old and new != new))
    ]


def _content(size: int, sha256: str) -> str:
    return f"{size:,} bytes with SHA-256 {sha256[:12]}"


@dataclasses.dataclass(frozen=True)
class Circumstances:
    """What is different here and now: what can change the model, and sentences on what is not supposed to."""

    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


def compare(original: Original, here: Settings) -> Circumstances:
    """Compares everything that a run depended on with what is here.

    Raises:
        ReproductionError: the data is nowhere to be found.
    """
    record = original.record
    code = differences("code", original.sources, stamp.sources_of(here))
    notes = [] if code else _other_commits(original, here)
    packages = differences("packages", original.packages, stamp.packages())
    if (locked := pins(CHECKOUT / stamp.LOCK)) is not None:
        # What else is installed, such as a linter, takes no part in a run.
        if others := [difference for difference in packages if difference.name not in locked]:
            notes.append(f"Packages that are in no lock differ, and take no part: {_listed(others)}.")
        packages = [difference for difference in packages if difference.name in locked]
    lock = stamp.lock_digest()
    if record.lock and lock != record.lock:
        packages.insert(0, Difference("packages", LOCK_FILE, record.lock, lock))
    data = data_differences(original, spans_folder(original.settings, here))
    if original.trained_by:
        notes.append(f"Run {record.run_id} took its model from the cache: it was trained by run {original.trained_by}.")
    if elsewhere := [
        f"{node.node_id} on {here.beam.engine_of(node.node_id)} and not {node.engine}"
        for node in record.nodes
        if node.engine and node.engine != here.beam.engine_of(node.node_id)
    ]:
        notes.append(f"Beam runs {', '.join(elsewhere)}: results may differ in their last digits.")
    if settings := setting_differences(original, here):
        notes.append(
            f"The settings here are others, and the recorded ones are used: {_listed(settings, Difference.briefly)}."
        )
    return Circumstances((*code, *packages, *data), tuple(notes))


def _other_commits(original: Original, here: Settings) -> list[str]:
    """Sentences on code of another commit, for when the files that make a model are the same."""
    record, running = original.record, stamp.code()
    differing = []
    if record.platform is not None:
        own = stamp.code_of(here)
        if record.code.commit and (own.commit, own.dirty) != (record.code.commit, record.code.dirty):
            differing.append(("code", record.code, own))
    if record.commit and (running.commit, running.diff) != (record.commit, original.diff):
        differing.append(("code" if record.platform is None else "Flightdeck", record, running))

    def described(code: RunRecord | stamp.Revision) -> str:
        return f"commit {code.commit[:12]}{' with changes' if code.dirty else ''}" if code.commit else "no commit"

    return [
        f"The run's {whose} was {described(then)}, and this is {described(now)}; the files that make a model are the "
        "same."
        for whose, then, now in differing
    ]


def _listed(differences: Sequence[Difference], in_words: Callable[[Difference], str] = Difference.sentence) -> str:
    shown = "; ".join(in_words(difference) for difference in differences[:_LISTED])
    return shown if len(differences) <= _LISTED else f"{shown}; and {len(differences) - _LISTED} more"
