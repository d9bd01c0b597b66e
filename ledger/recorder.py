"""Writes and reads the records of runs in ML Metadata. Imports neither TensorFlow nor TFX."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.lease import RENEW_SECONDS
from ledger.opening import LedgerError, open_store
from ledger.outputs import RUN, values
from ledger.run_record import PREFIX, NodeOutcome, Note, RunRecord, from_properties, to_properties

DOCUMENT = "flightdeck.Document"
# Of a document: MySQL's longest text that ML Metadata has room for is 16 MiB.
_LONGEST_TEXT = 8_000_000


class RecordError(LedgerError):
    """There is no such record, or it cannot be kept; the text says why."""


class Recorder:
    """The records of runs in one store."""

    def __init__(self, store: ml_metadata.MetadataStore) -> None:
        """Works on an open store."""
        self._store = store
        self._types: dict[str, int] = {}
        self._ids: dict[str, int] = {}

    def write(self, run_id: str, **fields: Any) -> None:
        """Writes some fields of a `RunRecord`, and leaves the others, and those that are None, as they are.

        Makes the run if need be; raises a KeyError for a field that a record does not have.
        """
        self._put(run_id, to_properties(fields))

    def node(self, run_id: str, outcome: NodeOutcome) -> None:
        """Writes what became of one node."""
        ended = datetime.now(UTC)
        rounded = dataclasses.replace(
            outcome,
            seconds=round(outcome.seconds, 3),
            peak_mb=round(outcome.peak_mb, 1),
            cpu_seconds=None if outcome.cpu_seconds is None else round(outcome.cpu_seconds, 3),
            ended=ended,
        )
        self.write(run_id, nodes=(rounded,), renewed=ended)

    def note(self, run_id: str, text: str, who: str | None = None) -> None:
        """Adds a note; one that another process adds at the same time is not lost."""
        note = Note(text=text, who=who or user() or "unknown", when=datetime.now(UTC))
        name = f"{PREFIX}notes.{note.when:%Y%m%dT%H%M%S%f}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
        self._put(run_id, {name: note.model_dump_json()})

    def tag(self, run_id: str, tag: str, present: bool = True) -> None:
        """Adds or removes a tag."""
        self._put(run_id, {f"{PREFIX}tags.{tag}": "1" if present else "0"})

    def read(self, run_id: str) -> RunRecord:
        """The record of a run; raises a RecordError if there is no such run."""
        context = self._store.get_context_by_type_and_name(RUN, run_id)
        if context is None:
            raise RecordError(f"The metadata store has no run {run_id}.")
        return recorded(context)

    def all(self) -> list[RunRecord]:
        """The records of all runs, as they were written, oldest first; one query."""
        return sorted(map(recorded, self._store.get_contexts_by_type(RUN)), key=lambda record: record.started)

    def running(self) -> list[RunRecord]:
        """The records that say that their run goes on, oldest first; those that cannot be read are passed over."""
        records = []
        for context in self._store.get_contexts_by_type(RUN):
            if context.custom_properties[f"{PREFIX}outcome"].string_value == '"running"':
                with contextlib.suppress(ValueError):
                    records.append(recorded(context))
        return sorted(records, key=lambda record: record.started)

    def put_document(self, content: Any) -> str:
        """Keeps a JSON document, once, and returns its digest: 64 hexadecimal digits."""
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if len(text.encode()) > _LONGEST_TEXT:
            raise RecordError(f"A document of {len(text):,} characters is too long for the metadata store.")
        if self._store.get_context_by_type_and_name(DOCUMENT, digest) is None:
            context = metadata_store_pb2.Context(type_id=self._type(DOCUMENT), name=digest)
            context.custom_properties["text"].string_value = text
            # Another process may be keeping the same document.
            with contextlib.suppress(ml_metadata.errors.AlreadyExistsError):
                self._store.put_contexts([context])
        return digest

    def document(self, digest: str) -> Any:
        """The document with a digest; raises a RecordError if there is none."""
        return read_document(self._store, digest)

    def _put(self, run_id: str, properties: dict[str, str]) -> None:
        context = metadata_store_pb2.Context(type_id=self._type(RUN), name=run_id)
        for name, text in properties.items():
            context.custom_properties[name].string_value = text
        context.id = self._id(run_id, context)
        # Masked, so that what other processes write about the run stays.
        mask = [f"custom_properties.{name}" for name in properties]
        if mask:
            self._store.put_contexts([context], field_mask_paths=mask)

    def _id(self, run_id: str, new: metadata_store_pb2.Context) -> int:
        """The id of a run's context, which is made as `new` is if there is none."""
        if run_id not in self._ids:
            context = self._store.get_context_by_type_and_name(RUN, run_id)
            if context is None:
                # TFX would make the same one when the first node is launched. At once with what it says, or who is
                # killed in between leaves a run without a record. Another task of the run may be first.
                with contextlib.suppress(ml_metadata.errors.AlreadyExistsError):
                    self._store.put_contexts([new])
                context = self._store.get_context_by_type_and_name(RUN, run_id)
                assert context is not None
            self._ids[run_id] = context.id
        return self._ids[run_id]

    def _type(self, name: str) -> int:
        if name not in self._types:
            wanted = metadata_store_pb2.ContextType(name=name)
            self._types[name] = self._store.put_context_type(wanted, can_add_fields=True, can_omit_fields=True)
        return self._types[name]


@contextlib.contextmanager
def renewing(
    connection: metadata_store_pb2.ConnectionConfig, run_id: str, seconds: float = RENEW_SECONDS
) -> Iterator[None]:
    """Renews the lease of a run every some seconds while the block goes on.

    A store that is away is passed over: the lease is renewed when it is back.
    """
    stop = threading.Event()

    def renew() -> None:
        recorder = None
        while not stop.wait(seconds):
            try:
                if recorder is None:
                    _knock(connection)
                    # A connection of its own: ML Metadata's is not for several threads.
                    recorder = Recorder(open_store(connection, patience=0))
                recorder.write(run_id, renewed=datetime.now(UTC))
            except (OSError, LedgerError, ml_metadata.errors.StatusError):
                recorder = None

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _knock(connection: metadata_store_pb2.ConnectionConfig) -> None:
    """Raises an OSError if a server cannot be reached: ML Metadata would stop all threads while it tries to."""
    if connection.HasField("mysql"):
        socket.create_connection((connection.mysql.host, connection.mysql.port), timeout=5).close()


def read_document(store: ml_metadata.MetadataStore, digest: str) -> Any:
    """The document with a digest; raises a RecordError if there is none."""
    context = store.get_context_by_type_and_name(DOCUMENT, digest)
    if context is None:
        raise RecordError(f"The metadata store has no document {digest[:12]}.")
    return json.loads(context.custom_properties["text"].string_value)


def user() -> str | None:
    """The name of the person, or account, that this process belongs to, if it has one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container the user often has no name
        return None


def recorded(context: metadata_store_pb2.Context) -> RunRecord:
    """The record that a run's context holds; raises a ValueError if another version wrote it, or somebody by hand."""
    return from_properties(context.name, values(context.custom_properties), context.create_time_since_epoch)
