"""Whether what ran in staging may take over: a pure decision over what two servers recorded of the run."""

from __future__ import annotations

from ledger.run_record import RunRecord
from operations.delivery.kubeflow_run import Run


def refusals(run: Run, record: RunRecord, commit: str) -> list[str]:
    """Why the code of a run must not take over; empty if it may.

    The commit is that of the images that would take over, as the tag of an image has it. Of a project of its own it is
    the project's; which commit of Flightdeck that is for is in its own files.
    """
    reasons = []
    if run.state != "SUCCEEDED":
        reasons.append(f"the run is {run.state}, not SUCCEEDED{f': {run.error}' if run.error else ''}")
    if record.outcome != "pushed":
        reasons.append(f"its model is `{record.outcome}`, so it was not pushed")
    # A tag is the beginning of a commit; one that says `dirty` is the beginning of nothing that a commit holds.
    code = record.code
    if code.commit is None or code.dirty or not code.commit.startswith(commit):
        ran = "unknown code" if code.commit is None else f"{code.commit[:12]}{' with changes' * bool(code.dirty)}"
        reasons.append(f"it ran {ran}, and what would take over is {commit}")
    if record.platform is not None and record.platform.dirty is not False:
        reasons.append("it ran a Flightdeck with changes that no commit holds")
    return reasons
