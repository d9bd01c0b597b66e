"""A year after a run, as the monitor, the canary and the registry keep it, and a replay: for the report's pages."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ledger.executions import Executions
from operations.alerts.alert import Alert
from operations.alerts.outbox import Outbox
from operations.loop.canary.act import CANARY
from operations.loop.canary.judgement import Verdict
from operations.loop.replay.result import Comparison, Event, FalseAlarms, FaultOutcome, Interval, Level, Month, Result
from operations.monitoring.policy import Decision, Reason
from operations.monitoring.records import MonitoringRecords
from operations.monitoring.signals import Signal, Window
from operations.registry import Version
from tests.operations.monitoring.windows import signal

MONTHS = range(3, 9)
FAULTY = 7
DRIFT = "size is {} from the window before; the threshold is 0.1."
HOSTILE = "<script>alert('x')</script>"


def begin(month: int) -> datetime:
    return datetime(2013, month, 1, tzinfo=UTC)


def window(month: int) -> Window:
    """A month of requests: `size` drifts in one of them, and the last one has no labels yet."""
    version = "1" if month < 6 else "2"
    faulty, labelled = month == FAULTY, month < MONTHS[-1]
    auc = 0.7 + month / 1000
    moved = 0.4 if faulty else 0.02
    judged: dict[str, Any] = (
        {"value": auc, "low": auc - 0.01, "high": auc + 0.01, "threshold": 0.65} if labelled else {}
    )
    signals = [
        signal(subject="size", value=moved, name="jensen_shannon_divergence", meaning=DRIFT.format(moved)),
        signal("missing", "colour", 0.0, name="share", meaning="None is missing."),
        Signal(kind="traffic", name="requests", value=None, meaning="There is no window before."),
        Signal(
            kind="quality",
            name="auc",
            meaning="As good as in the evaluation." if labelled else "No label has arrived.",
            **(judged if labelled else {"value": None}),
        ),
    ]
    return Window(
        name=f"2013-{month:02d}",
        begin=begin(month),
        end=begin(month + 1),
        version=version,
        rows=5000,
        labelled=5000 if labelled else 0,
        signals=tuple(signals),
    )


def decision(month: int) -> Decision:
    reason = Reason(rule="sudden change", action="quarantine", subjects=("size",), text=f"size has moved {HOSTILE}")
    faulty = month == FAULTY
    return Decision(
        window=f"2013-{month:02d}",
        version=window(month).version,
        when=begin(month + 1),
        action="quarantine" if faulty else "none",
        reasons=(reason,) if faulty else (),
        spans=(FAULTY,) if faulty else (),
    )


VERDICT = Verdict(
    canary=2,
    model_id=20,
    served=1,
    when=begin(6),
    action="promote",
    reasons=("Its log loss is 0.5100, that of version 1 0.5200.",),
    numbers={"answered": 2000, "log_loss_canary": 0.51},
)
VERSIONS = (
    Version(3, Path("3"), origin="rollback", pushed_at=begin(8), who="ada", reason="worse", restores=1, served=True),
    Version(2, Path("2"), origin="promote", pushed_at=begin(6), run_id="second", who="loop"),
    Version(1, Path("1"), origin="run", pushed_at=begin(3), run_id="first"),
)


def keep(store, pipeline: str) -> None:
    """Writes all of it as its owners do."""
    book = MonitoringRecords(store, pipeline)
    for month in MONTHS:
        book.keep_window(window(month))
        book.keep_decision(decision(month))
    Executions(store, pipeline).keep(CANARY, str(VERDICT.canary), VERDICT)


def tell(file: Path) -> None:
    """Puts one alert into an outbox, which nobody empties."""
    box = Outbox(file, ("log",), 0)
    box.put(Alert(key="size", severity="critical", title="toys: size", text=f"{HOSTILE} moved", source="monitor"))


def level(number: int, fault: bool = False) -> Level:
    """A level that is the better the higher it is, and that in July has a fault."""
    loss = 0.55 - number / 100
    months = tuple(
        Month(
            month=f"2013-{month:02d}",
            span=month,
            rows=5000,
            versions=1 + number // 2,
            auc=Interval(value=0.7 + number / 100, low=0.69 + number / 100, high=0.71 + number / 100),
            log_loss=Interval(value=loss, low=loss - 0.01, high=loss + 0.01),
            calibration=Interval(value=None if month == MONTHS[-1] else 0.95, low=None, high=None),
            fault="celsius" if fault and month == FAULTY else None,
        )
        for month in MONTHS
    )
    outcome = FaultOutcome(
        fault="celsius",
        column="size",
        month=f"2013-{FAULTY:02d}",
        detected_after_days=31.0,
        within_month=True,
        named=True,
        action="quarantine",
        recovered_after_days=None if number == 0 else 31.0,
        log_loss_in_month=0.61,
    )
    return Level(
        level=number,
        name=("by hand", "approved", "by itself")[number],
        months=months,
        log_loss=loss,
        auc=0.7 + number / 100,
        trainings=1 + 5 * number,
        refused=number // 2,
        deployments=1 + 2 * number,
        rollbacks=number // 2,
        rejected=0,
        quarantined=(FAULTY,) if fault and number == 2 else (),
        alerts=number,
        wall_seconds={"serving": 60.0, "training": 100.0 * number},
        cpu_seconds={"serving": 61.5, "training": 150.0 * number},
        false_alarms=(
            FalseAlarms(kind="drift", judged=120, exceeded=6, subjects={"size": 4, "colour": 2}),
            FalseAlarms(kind="latency", judged=0, exceeded=0),
        ),
        fault=outcome if fault else None,
        events=(Event(when=begin(4) + timedelta(days=2), kind="deployment", text=f"version {number} {HOSTILE}"),),
    )


def replay(name: str = "clean", fault: bool = False) -> Result:
    return Result(
        name=name,
        use_case="toys",
        first="2013-03",
        last="2013-08",
        fault=f"celsius@{FAULTY}" if fault else None,
        finished=begin(9),
        commit="0123456789abcdef",
        levels=tuple(level(number, fault) for number in range(3)),
        comparisons=(
            Comparison(level=2, against=1, metric="log_loss", difference=-0.01, low=-0.02, high=-0.005, rows=30000),
            Comparison(level=1, against=0, metric="auc", difference=0.01, low=-0.001, high=0.02, rows=30000),
        ),
    )
