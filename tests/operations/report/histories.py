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
from tests.operations.monitoring.windows import window as window_of_a_day

MONTHS = range(3, 9)
FAULTY = 7
DRIFT = "size is {} from the window before; the threshold is 0.1."
HOSTILE = "<script>alert('x')</script>"


def begin(month: int) -> datetime:
    return datetime(2013, month, 1, tzinfo=UTC)


def window(month: int) -> Window:
    """A month of requests: `size` drifts in one of them, and the last one has no labels yet."""
    labelled = month < MONTHS[-1]
    auc = 0.7 + month / 1000
    moved = 0.4 if month == FAULTY else 0.02
    judged: dict[str, Any] = {"value": None, "meaning": "No label has arrived."}
    if labelled:
        judged = {"value": auc, "low": auc - 0.01, "high": auc + 0.01, "threshold": 0.65, "meaning": "As good."}
    signals = (
        signal(subject="size", value=moved, name="jensen_shannon_divergence", meaning=DRIFT.format(moved)),
        signal("missing", "colour", 0.0, name="share", meaning="None is missing."),
        Signal(kind="traffic", name="requests", value=None, meaning="There is no window before."),
        Signal(kind="quality", name="auc", **judged),
    )
    times = {"begin": begin(month), "end": begin(month + 1)}
    version, rows = "1" if month < 6 else "2", 5000
    return window_of_a_day(0, version, signals, name=f"2013-{month:02d}", rows=rows, labelled=rows * labelled, **times)


def decision(month: int) -> Decision:
    reason = Reason(rule="sudden change", action="quarantine", subjects=("size",), text=f"size has moved {HOSTILE}")
    asked: dict[str, Any] = {"action": "quarantine", "reasons": (reason,), "spans": (FAULTY,)}
    nothing: dict[str, Any] = {"action": "none", "reasons": ()}
    seen = window(month)
    return Decision(window=seen.name, version=seen.version, when=seen.end, **(asked if month == FAULTY else nothing))


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
    records = MonitoringRecords(store, pipeline)
    for month in MONTHS:
        records.keep_window(window(month))
        records.keep_decision(decision(month))
    Executions(store, pipeline).keep(CANARY, str(VERDICT.canary), VERDICT)


def tell(file: Path) -> None:
    """Puts one alert into an outbox, which nobody empties."""
    box = Outbox(file, ("log",), 0)
    box.put(Alert(key="size", severity="critical", title="toys: size", text=f"{HOSTILE} moved", source="monitor"))


def around(value: float) -> Interval:
    return Interval(value=value, low=value - 0.01, high=value + 0.01)


def level(number: int, fault: bool = False) -> Level:
    """A level that is the better the higher it is, and that in July has a fault."""
    loss, auc = 0.55 - number / 100, 0.7 + number / 100
    months = tuple(
        Month(
            month=f"2013-{month:02d}",
            span=month,
            rows=5000,
            versions=1 + number // 2,
            auc=around(auc),
            log_loss=around(loss),
            calibration=Interval(value=None if month == MONTHS[-1] else 0.95),
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
        auc=auc,
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
