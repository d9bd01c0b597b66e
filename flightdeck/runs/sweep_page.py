"""A sweep on the screen: live, and as a result."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from flightdeck.console import table

if TYPE_CHECKING:
    from rich.console import Console

    from ledger.run_view import RunView
    from operations.experiments.sweep.plan import SweepPlan
    from operations.experiments.sweep.standing import Standing, Trial

_SHOWN_TRIALS = 10


class Page:
    """Shows how a sweep goes on: a line per trial that ends, and on a terminal a bar with the time left."""

    def __init__(self, plan: SweepPlan, parallel: int, on: Console) -> None:
        """Shows a sweep on a console."""
        self._plan, self._parallel, self._console = plan, parallel, on
        self._shown: set[int] = set()
        self._first = True
        self._bar: Any = None
        self._began = time.monotonic()
        on.print(
            f"Sweep {plan.sweep_id} around run {plan.parent}: {plan.trials} trials, {parallel} at a time, "
            f"{plan.settings['model']['tuning']['algorithm']}, by {plan.objective}"
        )

    def watched(self, standing: Standing) -> None:
        """Is told how the sweep stands."""
        ended = [
            each for each in standing.trials.values() if each.state != "running" and each.number not in self._shown
        ]
        if self._first and ended:
            self._console.print(f"  {len(ended)} trials ended before, and are not repeated")
            self._shown |= {each.number for each in ended}
        elif not self._first:
            for trial in ended:
                self._shown.add(trial.number)
                self._line(trial, standing)
        self._first = False
        self._status(standing)

    def close(self) -> None:
        """Leaves the screen as it should stay."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def print_result(self, standing: Standing) -> None:
        """The trials, best first."""
        from operations.experiments.sweep import record

        best = standing.best(self._plan.higher_is_better)
        if best is None:
            self._console.print(f"[bold red]The sweep failed:[/] {record.failure(standing)}")
            return
        done = sorted(standing.done(), key=lambda each: each.score or 0.0, reverse=self._plan.higher_is_better)
        names = list(_searched(best))
        self._console.print()
        table(
            ["trial", self._plan.objective, *names, "seconds"],
            [
                (
                    str(each.number),
                    f"{each.score:.5f}",
                    *(_value(_searched(each).get(name)) for name in names),
                    f"{each.seconds or 0:.1f}",
                )
                for each in done[:_SHOWN_TRIALS]
            ],
            self._console,
        )
        failed = len(standing.failed())
        if failed:
            self._console.print(f"{failed} of {len(standing.trials)} trials failed.")
        if len(standing.trials) < self._plan.trials:
            self._console.print(f"There was nothing else to try after {len(standing.trials)} trials.")
        self._console.print(f"Best: trial {best.number}, {self._plan.objective} {best.score:.5f}")
        self._console.print(f"Look at the trials with: flightdeck tensorboard {self._plan.sweep_id}")

    def _line(self, trial: Trial, standing: Standing) -> None:
        if trial.state == "failed":
            self._console.print(f"  trial {trial.number:<4} [bold red]failed[/]  {trial.error}", highlight=False)
            return
        best = standing.best(self._plan.higher_is_better)
        mark = "  best so far" if best is trial else ""
        left = "" if self._console.is_terminal else f"  {self._left(standing)}"
        values = ", ".join(f"{name} {_value(value)}" for name, value in _searched(trial).items())
        self._console.print(
            f"  trial {trial.number:<4} {self._plan.objective} {trial.score:.5f}  {trial.seconds or 0:5.1f} s  "
            f"{values}{mark}{left}"
        )

    def _status(self, standing: Standing) -> None:
        if not self._console.is_terminal:
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        if self._bar is None:
            self._bar = Progress(
                SpinnerColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bar.add_task("", total=self._plan.trials)
            self._bar.start()
        best = standing.best(self._plan.higher_is_better)
        shown = f"best {self._plan.objective} {best.score:.5f}, " if best else ""
        ended = len(standing.trials) - len(standing.running())
        self._bar.update(
            self._bar.task_ids[0],
            completed=ended,
            description=f"{ended} of {self._plan.trials} trials, {shown}{self._left(standing)}",
        )

    def _left(self, standing: Standing) -> str:
        """How long the rest will take, if all trials take as long as those that have ended."""
        seconds = [each.seconds for each in standing.trials.values() if each.seconds]
        left = self._plan.trials - (len(standing.trials) - len(standing.running()))
        if not left:
            return "all done"
        if not seconds:
            return f"{left} left"
        expected = left * sum(seconds) / len(seconds) / self._parallel
        return f"{left} left, about {f'{expected:.0f} s' if expected < 120 else f'{expected / 60:.0f} min'}"


def document(plan: SweepPlan, standing: Standing, final: RunView | None) -> dict[str, Any]:
    """A sweep as JSON."""
    best = standing.best(plan.higher_is_better)
    return {
        "sweep": plan.sweep_id,
        "parent": plan.parent,
        "algorithm": plan.settings["model"]["tuning"]["algorithm"],
        "objective": plan.objective,
        "planned": plan.trials,
        "trials": [
            {
                "run_id": plan.trial_id(each.number),
                "state": each.state,
                "score": each.score,
                "metrics": each.metrics,
                "hyperparameters": _searched(each),
                "seconds": each.seconds,
                "starts": each.starts,
                "error": each.error,
            }
            for each in standing.trials.values()
        ],
        "best": None if best is None else plan.trial_id(best.number),
        "final": None if final is None else final.summary(),
    }


def _searched(trial: Trial) -> dict[str, Any]:
    """The hyperparameters of a trial, without the algorithm's own bookkeeping."""
    searched = {name: value for name, value in trial.values.items() if not name.startswith("tuner/")}
    return searched | ({"epochs": trial.values["tuner/epochs"]} if "tuner/epochs" in trial.values else {})


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
