"""A sweep on the screen: live, and as a result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flightdeck.console import table
from ledger.formats import duration

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
        self._shown: set[int] | None = None
        self._bar: Any = None
        on.print(
            f"Sweep {plan.sweep_id} around run {plan.parent}: {plan.trials} trials, {parallel} at a time, "
            f"{plan.settings['model']['tuning']['algorithm']}, by {plan.objective}"
        )

    def watched(self, standing: Standing) -> None:
        """Is told how the sweep stands."""
        ended = [trial for trial in standing.trials.values() if trial.state != "running"]
        if self._shown is None:
            if ended:
                self._console.print(f"  {len(ended)} trials ended before, and are not repeated")
        else:
            for trial in ended:
                if trial.number not in self._shown:
                    self._line(trial, standing)
        self._shown = {trial.number for trial in ended}
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
        done = sorted(standing.done(), key=lambda trial: trial.score or 0.0, reverse=self._plan.higher_is_better)
        names = list(_searched(best))
        self._console.print()
        table(
            ["trial", self._plan.objective, *names, "seconds"],
            [
                (
                    str(trial.number),
                    f"{trial.score:.5f}",
                    *(_value(_searched(trial).get(name)) for name in names),
                    f"{trial.seconds or 0:.1f}",
                )
                for trial in done[:_SHOWN_TRIALS]
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
            columns = SpinnerColumn(), BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
            self._bar = Progress(*columns, console=self._console, transient=True)
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
        seconds = [trial.seconds for trial in standing.trials.values() if trial.seconds]
        left = self._plan.trials - (len(standing.trials) - len(standing.running()))
        if not left:
            return "all done"
        if not seconds:
            return f"{left} left"
        return f"{left} left, about {duration(left * sum(seconds) / len(seconds) / self._parallel)}"


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
                "run_id": plan.trial_id(trial.number),
                "state": trial.state,
                "score": trial.score,
                "metrics": trial.metrics,
                "hyperparameters": _searched(trial),
                "seconds": trial.seconds,
                "starts": trial.starts,
                "error": trial.error,
            }
            for trial in standing.trials.values()
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
