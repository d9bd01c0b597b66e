"""What is recorded of the life of a model after its run: read from ML Metadata, the registry and the outbox."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import ml_metadata

from ledger.executions import Executions
from operations.alerts.outbox import Kept, Outbox, OutboxError
from operations.loop.canary.act import CANARY
from operations.loop.canary.judgement import Verdict
from operations.monitoring.book import Book
from operations.monitoring.policy import Decision
from operations.monitoring.signals import Window
from operations.registry import Version

_ALERTS = 100


@dataclasses.dataclass(frozen=True)
class Life:
    """What is recorded of the life of a model after its run.

    Attributes:
        windows: by their end.
        decisions: by their time.
        verdicts: on versions that were tried beside the served one.
        versions: that were ever served, newest first.
        alerts: newest first; None if there is no outbox.
    """

    windows: tuple[Window, ...]
    decisions: tuple[Decision, ...]
    verdicts: tuple[Verdict, ...]
    versions: tuple[Version, ...] = ()
    alerts: tuple[Kept, ...] | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing was ever monitored, decided or told."""
        return not (self.windows or self.decisions or self.verdicts or self.alerts)


def gather(
    store: ml_metadata.MetadataStore, pipeline: str, versions: Sequence[Version] = (), outbox: Path | None = None
) -> Life:
    """Reads what is recorded.

    Args:
        store: the metadata store.
        pipeline: the name of the pipeline.
        versions: from `operations.registry.Registry.versions`.
        outbox: the file of the alerts; it is not made if it is not there.
    """
    book = Book(store, pipeline)
    alerts = None
    if outbox is not None and outbox.is_file():
        with contextlib.suppress(OutboxError):
            alerts = tuple(Outbox(outbox, (), 0).kept(_ALERTS))
    return Life(
        tuple(book.windows()),
        tuple(book.decisions()),
        tuple(Executions(store, pipeline).all(CANARY, Verdict)),
        tuple(versions),
        alerts,
    )
