"""Worlds with something to predict: what a model that knows them answers, what a worse one does, and the labels."""

import dataclasses

import numpy as np

from data.contract import Target
from operations.tasks import Task, task_of

TASKS = {
    "binary": task_of(Target(label="arrived_late")),
    "multiclass": task_of(Target(label="lateness", task="multiclass", classes=("on time", "late", "very late"))),
    "regression": task_of(Target(label="arr_delay", task="regression", unit="minutes")),
}


@dataclasses.dataclass(frozen=True)
class World:
    """Rows of one task; predictions and labels as `Task` has them."""

    task: Task
    good: np.ndarray
    noisy: np.ndarray
    labels: np.ndarray

    @property
    def expected(self) -> dict[str, float]:
        """What an evaluation of the good model would say."""
        ones, resampled = np.ones(len(self.labels)), self.task.measures.resampled
        return {name: of(self.labels, self.good)(ones) for name, of in resampled.items()}


def world(task: str, rows: int, noise: float = 0.0, seed: int = 1, shift: float = 0.0) -> World:
    """Rows whose labels depend on a hidden number; the worse model sees it with noise, and a shift moves its mean."""
    random = np.random.default_rng(seed)
    hidden = random.normal(shift, 1, rows)
    seen, chance = hidden + noise * random.normal(size=rows), random.random(rows)
    if task == "regression":
        labels = 20 + 15 * hidden + 25 * random.normal(size=rows)
        return World(TASKS[task], 20 + 15 * hidden, 20 + 15 * seen, labels)
    if task == "binary":
        good, noisy = (1 / (1 + np.exp(1 - 2 * each)) for each in (hidden, seen))
        return World(TASKS[task], good, noisy, (chance < good).astype(float))
    good, noisy = (_softmax(np.stack([0 * each, 2 * each - 1, 4 * each - 4], axis=1)) for each in (hidden, seen))
    labels = (chance[:, None] > good.cumsum(axis=1)[:, :-1]).sum(axis=1)
    return World(TASKS[task], good, noisy, labels.astype(float))


def _softmax(odds: np.ndarray) -> np.ndarray:
    powers = np.exp(odds - odds.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def backwards(labels: np.ndarray) -> np.ndarray:
    """The labels the wrong way round: the smallest for the largest."""
    return labels.max() + labels.min() - labels


def shuffled(labels: np.ndarray) -> np.ndarray:
    """The labels of other rows."""
    return np.random.default_rng(7).permutation(labels)
