"""What people add to a run afterwards: notes and tags. Each is a property of its own, so none undoes another."""

from __future__ import annotations

import re

import ml_metadata

from ledger.opening import LedgerError
from ledger.recorder import Recorder
from ledger.run_record import RunRecord
from ledger.runs import Runs

LONGEST_NOTE = 10_000
# A mask of ML Metadata names the property, so no comma, space or quote.
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}")


def add_note(store: ml_metadata.MetadataStore, run: str, text: str, who: str | None = None) -> RunRecord:
    """Adds a note, by default in the name of this process's user, to a run that `Runs.find` understands.

    Returns:
        The record afterwards.

    Raises:
        LedgerError: there is no such run, or the text is empty or too long.
    """
    text = text.strip()
    if not text:
        raise LedgerError("The note is empty.")
    if len(text) > LONGEST_NOTE:
        raise LedgerError(f"The note has {len(text):,} characters; at most {LONGEST_NOTE:,} are kept.")
    run_id = Runs(store).find(run).run_id
    Recorder(store).note(run_id, text, who)
    return Runs(store).find(run_id)


def set_tag(store: ml_metadata.MetadataStore, run: str, tag: str, present: bool = True) -> RunRecord:
    """Tags a run that `Runs.find` understands, or takes a tag away. Idempotent.

    Returns:
        The record afterwards.

    Raises:
        LedgerError: there is no such run, the tag cannot be one, or the run does not have the tag to be taken away.
    """
    if _TAG.fullmatch(tag) is None:
        raise LedgerError(
            f"{tag!r} cannot be a tag: use letters, digits and . _ : / + -, beginning with a letter or digit, "
            "at most 64."
        )
    record = Runs(store).find(run)
    if not present and tag not in record.tags:
        has = f"its tags are {', '.join(record.tags)}" if record.tags else "it has none"
        raise LedgerError(f"Run {record.run_id} has no tag {tag}; {has}.")
    Recorder(store).tag(record.run_id, tag, present)
    return Runs(store).find(record.run_id)
