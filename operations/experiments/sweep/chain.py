"""What the workers of a sweep agree on: a chain of events in ML Metadata that only grows.

Each event is an artifact whose name is the sweep's id and the event's number. ML Metadata keeps names unique, so of
several workers that want to add the same number exactly one succeeds, whether they are processes on SQLite or pods on
MySQL. Whoever reads the chain from its beginning knows the whole state of the sweep; there is no other state, and
nothing to lock, to elect or to repair. Imports neither TensorFlow nor keras-tuner.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import Any, Literal

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from pydantic import BaseModel, ConfigDict, Field

from ledger.lease import Owner

EVENT = "flightdeck.SweepEvent"
_TEXT = "event"
EventKind = Literal["begun", "taken", "finished", "failed"]


class Event(BaseModel):
    """Something that happened in a sweep.

    Attributes:
        kind: ``begun``, a worker begins a new trial; ``taken``, it begins one anew whose worker is gone; ``finished``
            or ``failed``, the trial has ended.
        trial: the trial's number, from 0.
        values: of ``begun``, the hyperparameters as the oracle proposed them.
        score: of ``finished``, the objective.
        metrics: of ``finished``, all of them.
        seconds: of ``finished`` and ``failed``, how long it took.
        token: tells this event from any other.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: EventKind
    trial: int
    owner: Owner
    values: dict[str, Any] = {}
    score: float | None = None
    metrics: dict[str, float] = {}
    seconds: float | None = None
    error: str | None = None
    token: str = Field(default_factory=lambda: secrets.token_hex(8))


@dataclasses.dataclass(frozen=True)
class Link:
    """An event that has its place in the chain, and its artifact."""

    event: Event
    number: int
    artifact_id: int


class Chain:
    """The events of one sweep, in the order in which they were added."""

    def __init__(self, store: ml_metadata.MetadataStore, sweep_id: str) -> None:
        """Reads nothing yet."""
        self._store = store
        self._sweep_id = sweep_id
        self._links: list[Link] = []
        self._type: int | None = None

    @property
    def links(self) -> tuple[Link, ...]:
        """What has been read so far."""
        return tuple(self._links)

    def refresh(self) -> list[Link]:
        """Reads what has been added since, by anyone, and returns it."""
        known = len(self._links)
        while (link := self._read(len(self._links))) is not None:
            self._links.append(link)
        return self._links[known:]

    def append(self, event: Event) -> Link | None:
        """Adds an event after those that have been read.

        Returns:
            Its link, or None if somebody else has added one meanwhile: `refresh`, and think again. It is not among
            `links` before the next `refresh` either way, so that every reader sees every event in the same manner.
        """
        artifact = metadata_store_pb2.Artifact(type_id=self._type_id(), name=self._name(len(self._links)))
        artifact.custom_properties[_TEXT].string_value = event.model_dump_json()
        try:
            (artifact_id,) = self._store.put_artifacts([artifact])
        except ml_metadata.errors.AlreadyExistsError:
            # The connection may have been lost after the event was written and before that was known.
            there = self._read(len(self._links))
            return there if there is not None and there.event.token == event.token else None
        return Link(event, len(self._links), artifact_id)

    def _read(self, number: int) -> Link | None:
        artifact = self._store.get_artifact_by_type_and_name(EVENT, self._name(number))
        if artifact is None:
            return None
        event = Event.model_validate_json(artifact.custom_properties[_TEXT].string_value)
        return Link(event, number, artifact.id)

    def _name(self, number: int) -> str:
        return f"{self._sweep_id}/{number:06d}"

    def _type_id(self) -> int:
        if self._type is None:
            wanted = metadata_store_pb2.ArtifactType(name=EVENT)
            self._type = self._store.put_artifact_type(wanted, can_add_fields=True, can_omit_fields=True)
        return self._type
