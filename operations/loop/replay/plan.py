"""What is to be replayed: which months, which levels, which fault; and where it all lies."""

from __future__ import annotations

import os
import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

import storage
from errors import FlightdeckError
from operations.loop.settings import Fault, Replay, Settings
from operations.monitoring.served import Period, period_of
from pipeline.settings import digest

LevelNumber = Literal[0, 1, 2]
LEVELS: dict[int, str] = {
    0: "trained once, by hand",
    1: "trained every month, deployed when a person approves of it",
    2: "trained, validated, deployed and restored by itself",
}
_FILE = "plan.json"


class ReplayPlan(BaseModel, frozen=True):
    """A replay, before it is played.

    Attributes:
        name: of its folder.
        first: the first span whose requests are answered.
        last: the last one.
        fault: its name in the settings, or None.
        fault_span: the span that it is injected into.
        settings: digest of the settings that all levels share.
    """

    name: str
    levels: tuple[LevelNumber, ...]
    first: int
    last: int
    fault: str | None = None
    fault_span: int | None = None
    settings: str

    @property
    def spans(self) -> range:
        """The spans whose requests are answered."""
        return range(self.first, self.last + 1)

    def fault_of(self, settings: Settings, span: int) -> Fault | None:
        """The fault that a span has, if it has one."""
        return of(settings).faults[self.fault] if self.fault and span == self.fault_span else None


def make(settings: Settings, levels: str, months: str, fault: str | None, name: str | None) -> ReplayPlan:
    """A plan from what a person wrote.

    That is levels such as ``0,1,2``, months as FIRST:LAST, numbers of spans, and a fault as NAME@SPAN, after which the
    replay is named by default.

    Raises:
        FlightdeckError: one of them makes no sense.
    """
    asked = of(settings)
    if not re.fullmatch(r"[012](,[012])*", levels):
        raise FlightdeckError(f"The levels {levels!r} are not a list of 0, 1 and 2, such as 1,2.")
    match = re.fullmatch(r"([0-9]{1,4}):([0-9]{1,4})", months)
    first, last = (int(match[1]), int(match[2])) if match else (0, -1)
    known = initial(asked)
    if first > last or first <= known[-1]:
        raise FlightdeckError(
            f"The months {months!r} must be FIRST:LAST, and begin after span {known[-1]}, the last one of "
            f"replay.initial ({asked.initial})."
        )
    kind, span = _fault(asked, fault, range(first, last + 1))
    return ReplayPlan(
        name=name or (f"{kind}-{span:02d}" if span is not None else "clean"),
        levels=tuple(sorted({int(level) for level in levels.split(",")})),  # pyright: ignore[reportArgumentType]
        first=first,
        last=last,
        fault=kind,
        fault_span=span,
        settings=digest(settings.whole_document()),
    )


def of(settings: Settings) -> Replay:
    """The section `replay`; a FlightdeckError if the settings have none."""
    if settings.replay is None:
        raise FlightdeckError("These settings have no section `replay`; use --config config/replay.yaml.")
    return settings.replay


def initial(asked: Replay) -> list[int]:
    """The spans that every level begins with; a FlightdeckError if that is not a window of numbers."""
    match = re.fullmatch(r"([0-9]+):([0-9]+)", asked.initial)
    if not match or int(match[1]) > int(match[2]):
        raise FlightdeckError(f"replay.initial ({asked.initial}) must be FIRST:LAST, both numbers of spans.")
    return list(range(int(match[1]), int(match[2]) + 1))


def month_of(asked: Replay, span: int) -> Period:
    """The month that a span is played in."""
    year, month = (int(part) for part in asked.begins.split("-"))
    months = year * 12 + month - 1 + span - 1
    return period_of(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC), "month")


def approved(asked: Replay, plan: ReplayPlan, span: int) -> int | None:
    """After which span the model was trained that a person approves of at the end of another one.

    None if there is none: the first model was deployed by hand, and what is deployed last would answer nothing.
    """
    trained = span - asked.approval_spans
    return trained if plan.first <= trained and span < plan.last else None


def root_of(settings: Settings, name: str) -> Path:
    """The folder of a replay."""
    return Path(settings.workspace) / "replay" / name


def level_settings(settings: Settings, root: Path, level: int) -> Settings:
    """The settings of one level: a workspace of its own, and versions deployed by the registry alone.

    The registry's acts survive a kill at any moment; the Pusher's copy does not. Spans arrive whole, and nothing but
    data is new: the clock of a replay is not that of its runs, and code and settings stay as they are.
    """
    triggers = settings.continuous.triggers.model_copy(update={"every_seconds": None, "change": False})
    continuous = {"level": level, "triggers": triggers, "settle_seconds": 0.0}
    payloads = settings.serving.payloads.model_copy(update={"folder": None})
    return settings.model_copy(
        update={
            "workspace": str(root / f"level-{level}"),
            "data": settings.data.model_copy(update={"spans": None}),
            "push": settings.push.model_copy(update={"enabled": False, "destination": None}),
            "continuous": settings.continuous.model_copy(update=continuous),
            "serving": settings.serving.model_copy(update={"payloads": payloads}),
        }
    )


def begin(root: Path, plan: ReplayPlan, fresh: bool) -> bool:
    """Makes the folder of a replay, or resumes one of the same plan that is there; whether it resumes."""
    if fresh and root.exists():
        # Under another name first: a replay that is half removed must not be gone on with.
        doomed = root.with_name(f".{root.name}-{os.getpid()}")
        root.rename(doomed)
        shutil.rmtree(doomed)
    known = root / _FILE
    if known.is_file():
        before = ReplayPlan.model_validate_json(known.read_text(encoding="utf-8"))
        if before.model_copy(update={"levels": plan.levels}) != plan:
            raise FlightdeckError(
                f"The replay in {root} was begun with other months, another fault or other settings; "
                "begin anew with --fresh, or give this one a --name of its own."
            )
        return True
    root.mkdir(parents=True, exist_ok=True)
    storage.write(known, plan.model_dump_json(indent=2) + "\n")
    return False


def _fault(asked: Replay, fault: str | None, spans: range) -> tuple[str | None, int | None]:
    if fault is None:
        return None, None
    name, _, span = fault.partition("@")
    if name not in asked.faults:
        known = ", ".join(sorted(asked.faults)) or "none"
        raise FlightdeckError(f"There is no fault {name!r} in the settings; there are: {known}.")
    if not span.isdigit() or int(span) not in spans:
        raise FlightdeckError(f"Write the fault as {name}@SPAN, with a span from {spans[0]} to {spans[-1]}.")
    return name, int(span)
