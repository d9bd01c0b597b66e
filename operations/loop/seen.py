"""What there is to learn from now, and what the runs before have seen: read from files and ML Metadata."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from typing import Any

import ml_metadata

import storage
from data.contract import files as contract_files
from ledger.recorder import Recorder
from ledger.run_facts import flattened
from ledger.run_record import RunRecord
from operations.loop.attempts import ENDED
from operations.loop.settings import Settings
from operations.loop.triggers import PastRun, Recipe
from pipeline import fingerprint, stamp
from pipeline.settings import portable

# What changes a model, or the judgement of it. Where things lie, who is told and what is served do not.
_SECTIONS = ("data", "gate", "features", "tuning", "training", "model", "evaluation", "infra_validation")
_PLACES = ("data.spans",)


class Spans:
    """The spans that a run would ingest; a file is read again only when it was written to.

    Attributes:
        settling: those that may still be being written, each with the seconds until it counts if it stays as it is.
    """

    def __init__(self) -> None:
        self.settling: dict[int, float] = {}
        self._contents: dict[tuple[str, str], tuple[int, str]] = {}

    def now(self, settings: Settings, moment: float) -> dict[int, str]:
        """The spans of the window and the fingerprints of their files, without those that may still be being written.

        Raises:
            SpanError: there is no such window, such as when a span is missing in the middle of it.
        """
        # They bring TFX along, for its file systems.
        from components.span_example_gen.storage import list_files, list_quarantined, list_spans
        from components.span_example_gen.window import Window, split_spans

        base, data = settings.spans, settings.data
        folders = list_spans(base)
        left_out = list_quarantined(base, folders)
        window = Window.parse(data.window).resolve(list(folders), base, left_out)
        split_spans(window, data.eval_spans, data.window)
        self.settling, fingerprints = {}, {}
        settle_seconds = settings.continuous.settle_seconds
        for span in window:
            files, _ = list_files(base, span, folders[span])
            places = [f"{base}/{folders[span]}", *(file.uri for file in files)]
            left = settle_seconds and max(map(_changed_at, places)) + settle_seconds - moment
            if left > 0:
                self.settling[span] = left
            else:
                fingerprints[span] = span_fingerprint((file.name, *self._content(file)) for file in files)
        return fingerprints

    def _content(self, file: Any) -> tuple[int, str]:
        """Bytes and SHA-256 of a file."""
        from components.span_example_gen.storage import content

        state = file.uri, _state_of(file.uri)
        if state not in self._contents:
            self._contents[state] = content(file)
        return self._contents[state]


def _changed_at(place: str) -> float:
    """When something about a file or folder changed: its content, name or rights. Copying does not make it older."""
    # In a bucket a file appears whole.
    return 0.0 if storage.is_bucket(place) else os.stat(place).st_ctime


def _state_of(place: str) -> str:
    """What becomes another whenever a file is written, or anything about it changes."""
    if storage.is_bucket(place):
        return storage.state(storage.at(place)) or ""
    status = os.stat(place)
    return f"{status.st_size}:{status.st_ctime_ns}"


def span_fingerprint(files: Iterable[tuple[str, int, str]]) -> str:
    """12 hexadecimal digits of the names, bytes and SHA-256 of the files of a span."""
    total = hashlib.sha256()
    for name, size, digest in sorted(files):
        total.update(f"{name}\t{size}\t{digest}\n".encode())
    return total.hexdigest()[:12]


def recipe_now(settings: Settings) -> Recipe:
    """The settings and code that a run would use now, read from disk: this process may have loaded older code."""
    return Recipe(_settings_of(settings.document()), _code_of(settings))


def _code_of(settings: Settings) -> dict[str, str]:
    """The files that the model's functions, its contract and its schema are made of."""
    use_case = settings.use_case
    functions = [use_case.preprocessing_fn, use_case.run_fn, *([use_case.tuner_fn] if settings.tuning.enabled else [])]
    modules = {name for function in functions for name in fingerprint.module_sources(function.rpartition(".")[0])}
    paths = [f"{name.replace('.', '/')}{end}" for name in modules for end in (".py", "/__init__.py")]
    files = (*contract_files(use_case.contract), use_case.schema_file)
    paths += [portable(file, settings.project) for file in files]
    # Others are no part of what a run is stamped with.
    stamped = stamp.sources_of(settings)
    return {path: stamped[path] for path in sorted(paths) if path in stamped}


def _settings_of(document: Mapping[str, Any]) -> dict[str, Any]:
    chosen = flattened({name: document[name] for name in _SECTIONS if name in document})
    return {name: value for name, value in chosen.items() if name not in _PLACES}


class History:
    """The runs of one pipeline, as ML Metadata remembers them."""

    def __init__(self, store: ml_metadata.MetadataStore, pipeline: str) -> None:
        self._recorder, self._pipeline = Recorder(store), pipeline
        self._documents: dict[str, Any] = {}

    def runs(self, files: Iterable[str]) -> list[PastRun]:
        """The runs that trained, or tried to, oldest first, with those files of their code, by place in the project."""
        counted = list(files)
        runs = (run for run in self._recorder.all() if run.pipeline == self._pipeline and run.kind == "run")
        return [self._past(run, counted) for run in runs]

    def record(self, run_id: str) -> RunRecord | None:
        """The record of a run; None if it has not begun."""
        return next((run for run in self._recorder.all() if run.run_id == run_id), None)

    def _past(self, record: RunRecord, files: list[str]) -> PastRun:
        settings, sources = self._document(record, "settings"), self._document(record, "sources")
        recipe = None
        if settings is not None and sources is not None:
            recipe = Recipe(_settings_of(settings), {path: sources[path] for path in files if path in sources})
        by_span: dict[int, list[tuple[str, int, str]]] = {}
        for file in self._document(record, "files") or ():
            by_span.setdefault(file["span"], []).append((file["name"], file["bytes"], file["sha256"]))
        return PastRun(
            run_id=record.run_id,
            started=record.started,
            succeeded=record.outcome in ENDED,
            triggers=tuple(record.triggers),
            spans={span: span_fingerprint(described) for span, described in by_span.items()},
            recipe=recipe,
        )

    def _document(self, record: RunRecord, name: str) -> Any:
        digest = record.documents.get(name)
        if digest is None:
            return None
        if digest not in self._documents:
            self._documents[digest] = self._recorder.document(digest)
        return self._documents[digest]
