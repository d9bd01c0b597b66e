# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: Tuning, tracking, comparing, reproducing
#     minutes: 75
# ---

# %% [markdown]
# # Lab 06: tuning, tracking, comparing, reproducing
#
# **Goals.** You can say whether a model is better than another, or whether that cannot be told; search hyperparameters
# without fooling yourself; find out what two runs differ in; and make a run again, to the last bit.
#
# **Time.** 75 minutes, of which the machine takes three.
#
# **Before.** Lab 05: each run leaves a record in ML Metadata. Here that record answers questions.

# %%
import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from ledger import scores, significance
from ledger.runs import Runs
from notebooks import small_pipeline
from notebooks.slices import flights
from notebooks.terminal import terminal

# %% [markdown]
# ## 1. Two runs, and what is known of them
#
# The second learns faster and longer. The labs share a workspace, so what another lab has run comes from the cache.

# %%
first = small_pipeline.run()

# %%
second = small_pipeline.run("model.learning_rate=0.02", "model.epochs=4")

# %%
_ = terminal(f"flightdeck runs list --config '{small_pipeline.CONFIG}' --kind run")

# %% [markdown]
# ## 2. Is it better?
#
# Both were evaluated on the same 2,000 flights of March. Two thousand other flights would have given two other
# numbers. How much of the difference is the choice of flights?
#
# The *bootstrap* answers without formulas: draw as many rows as there are, with replacement, compute the difference,
# and repeat; the middle 95 % of those differences are an interval for the true one. It must be *paired*: the same
# drawn rows for both models. A hard day is hard for both, and cancels out.

# %%
runs = Runs(small_pipeline.metadata())
records = [runs.find(summary["run_id"]) for summary in (first, second)]
rows = [scores.read(scores.find(small_pipeline.metadata(), record)) for record in records]
labels, one, other = rows[0].labels, rows[0].predictions, rows[1].predictions
print(f"log loss: first {log_loss(labels, one):.4f}, second {log_loss(labels, other):.4f}, on {len(labels):,} rows")

# %% [markdown]
# ### Exercise `interval`
#
# Write `interval(labels, first, second, resamples, seed)`: the 2.5 % and the 97.5 % quantile of the difference *second
# minus first* of the mean log loss, by a paired bootstrap. The log loss of a row is `-log(p)` if its label is 1, else
# `-log(1 - p)`; it is a mean over rows, so it needs to be computed only once per row. If the whole interval is below
# zero, the second model is better.


# %% exercise="interval"
def interval(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, resamples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of how much the second model's log loss exceeds the first's."""

    ### BEGIN SOLUTION
    def losses(probabilities):
        return -np.log(np.where(labels == 1, probabilities, 1 - probabilities))

    differences = losses(second) - losses(first)
    random = np.random.default_rng(seed)
    drawn = [differences[random.integers(0, len(labels), len(labels))].mean() for _ in range(resamples)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
    ### END SOLUTION


# %% tests="interval" points=3
def _rows(count, seed):
    random = np.random.default_rng(seed)
    chance = random.beta(2, 5, count)
    return (random.random(count) < chance).astype(float), chance, random


_labels, _chance, _random = _rows(3000, 1)
_noisy = np.clip(_chance + _random.normal(0, 0.15, 3000), 0.02, 0.98)
_low, _high = interval(_labels, _noisy, _chance, 400, 3)
assert _low < _high, "The lower end of the interval is not below the upper one."
assert _high < 0, "The second model is much better, so its log loss minus the first's must be below zero."
### BEGIN HIDDEN TESTS
(_known,) = significance.bootstrap(_labels, _noisy, _chance, ["log_loss"], resamples=2000)
_width, _right = _high - _low, _known.high - _known.low
_slightly = 0.995 * _chance + 0.005 * _labels  # better on every single row, by little
_, _little = interval(_labels, _chance, _slightly, 400, 3)
assert _little < 0, (
    "A model that is a little better on every row cannot be told from the other: draw the same rows for both."
)
assert _width > 0.75 * _right, f"The interval is {_right / _width:.1f} times too narrow for 95 %."
assert _width < 1.33 * _right, (
    f"The interval is {_width / _right:.1f} times too wide: it is about the mean of the rows."
)
_labels2, _chance2, _random2 = _rows(300, 5)
_a, _b = (np.clip(_chance2 + _random2.normal(0, 0.05, 300), 0.02, 0.98) for _ in range(2))
_low2, _high2 = interval(_labels2, _a, _b, 400, 0)
assert _low2 < 0 < _high2, "Two equally good models are told apart: 300 rows cannot do that."
assert interval(_labels, _noisy, _chance, 100, 7) == interval(_labels, _noisy, _chance, 100, 7), (
    "The same seed gives another interval."
)
assert interval(_labels, _noisy, _chance, 100, 7) != interval(_labels, _noisy, _chance, 100, 8), (
    "The seed does nothing."
)
assert interval(_labels, _noisy, _chance, 5, 7) != interval(_labels, _noisy, _chance, 500, 7), (
    "The number of resamples does nothing."
)
### END HIDDEN TESTS

# %%
low, high = interval(labels, one, other)
difference = log_loss(labels, other) - log_loss(labels, one)
print(f"log loss: second minus first is {difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}")
figure, axis = plt.subplots(figsize=(8, 2))
for place, comparison in enumerate(significance.compare(labels, one, other, ["auc", "log_loss", "brier"])):
    axis.plot([comparison.low, comparison.high], [place, place], lw=3, color="tab:blue")
    axis.plot(comparison.difference, place, "o", color="black")
    axis.text(comparison.high, place, f"  {comparison.metric}", va="center")
axis.axvline(0, color="0.6")
axis.set_yticks([])
axis.margins(x=0.25, y=0.3)
axis.set_xlabel("second minus first")
plt.tight_layout()

# %% [markdown]
# `flightdeck runs compare A B` does this for every metric and slice, and corrects for asking so many questions.
#
# The interval does not include the noise of training: another seed makes another model. Only more trainings show
# it.
#
# ## 3. Searching
#
# Whoever tries enough settings on the same rows finds one that suits those rows. So there are three parts: rows to
# learn from, newer ones to choose by, and the newest to report on, which the search never sees.

# %%
frame = flights(1, 2, 3, rows=2000)
COLUMNS = ["distance", "sched_dep_minute", "temp", "wind_speed", "precip", "visib", "origin_recent_delay"]
learn, choose, report = (frame[frame.month == month] for month in (1, 2, 3))


def trained(values: dict) -> HistGradientBoostingClassifier:
    """A boosted model of January's flights."""
    with threadpool_limits(1):  # on a busy machine, threads wait for each other longer than they work
        model = HistGradientBoostingClassifier(max_iter=40, random_state=0, **values)
        return model.fit(learn[COLUMNS], learn.arrived_late)


def quality(model, part) -> float:
    """The AUC on a part of the flights."""
    with threadpool_limits(1):
        return roc_auc_score(part.arrived_late, model.predict_proba(part[COLUMNS])[:, 1])


# %% [markdown]
# ### Exercise `search`
#
# Write `search(space, trials, seed, score)`, a random search. It returns the list of `(values, score)`, best first.
#
# - `space` maps a name to a list of candidates, or to `(low, high)`, a range of a number whose *order of magnitude* is
#   unknown: each factor of ten must be equally likely.
# - `score(values)` is higher for better ones, and NaN for a trial that failed. A failed trial is in the list, at its
#   end.
# - The same seed gives the same trials, whatever else draws random numbers.


# %% exercise="search"
def search(space: dict, trials: int, seed: int, score: Callable[[dict], float]) -> list[tuple[dict, float]]:
    """Tries random values and returns them with their scores, best first."""
    ### BEGIN SOLUTION
    random = np.random.default_rng(seed)

    def draw(candidates):
        if isinstance(candidates, tuple):
            low, high = candidates
            return float(math.exp(random.uniform(math.log(low), math.log(high))))
        return candidates[random.integers(len(candidates))]

    tried = []
    for _ in range(trials):
        values = {name: draw(candidates) for name, candidates in space.items()}
        tried.append((values, score(values)))
    return sorted(tried, key=lambda trial: (math.isnan(trial[1]), -trial[1]))
    ### END SOLUTION


# %% tests="search" points=2
_tried = search({"x": [1, 2, 3]}, 20, 0, lambda values: values["x"])
assert len(_tried) == 20, "Not as many trials as were asked for."
assert _tried[0] == ({"x": 3}, 3), "The best trial does not come first."
### BEGIN HIDDEN TESTS
_drawn = [values["rate"] for values, _ in search({"rate": (1e-4, 1.0)}, 400, 1, lambda values: 0.0)]
assert all(1e-4 <= rate <= 1.0 for rate in _drawn), "A value lies outside of its range."
_small = sum(rate < 1e-2 for rate in _drawn) / len(_drawn)
assert 0.4 < _small < 0.6, (
    f"Of a range from 0.0001 to 1, {_small:.0%} of the draws are below 0.01, and half should be: "
    "each factor of ten is equally likely."
)
_drawn = [values["rate"] for values, _ in search({"rate": (10.0, 1000.0)}, 400, 1, lambda values: 0.0)]
assert all(10 <= rate <= 1000 for rate in _drawn), "A value lies outside of its range: the ends are in the space."
np.random.seed(1)
_space = {"rate": (1e-4, 1.0), "x": [1, 2, 3]}
_once = search(_space, 5, 4, lambda values: values["rate"])
np.random.seed(2)
assert _once == search(_space, 5, 4, lambda values: values["rate"]), "The same seed gives other trials."
assert _once != search(_space, 5, 5, lambda values: values["rate"]), "The seed does nothing."
_fails = search({"x": list(range(10))}, 40, 0, lambda values: float("nan") if values["x"] % 2 else float(values["x"]))
assert not math.isnan(_fails[0][1]), "A trial that failed is taken for the best."
_numbers = [score for _, score in _fails if not math.isnan(score)]
assert _numbers == sorted(_numbers, reverse=True), "With failed trials among them, the others are not in order."
assert len(_fails) == 40, "A failed trial is missing: it was tried, and the record says so."
assert all(math.isnan(score) for _, score in _fails[len(_numbers) :]), "Failed trials do not come last."
### END HIDDEN TESTS

# %%
space = {"learning_rate": (0.003, 1.0), "max_leaf_nodes": [4, 8, 16, 31], "l2_regularization": (0.01, 100.0)}
tried = search(space, 12, seed=0, score=lambda values: quality(trained(values), choose))
best, chosen_by = tried[0]
print("best:", {name: round(value, 4) for name, value in best.items()})
print(f"AUC on the flights it was chosen by:              {chosen_by:.3f}")
print(f"AUC on the flights that the search has not seen:  {quality(trained(best), report):.3f}")
figure, axis = plt.subplots(figsize=(7, 2.6))
rates, leaves = ([values[name] for values, _ in tried] for name in ("learning_rate", "max_leaf_nodes"))
points = axis.scatter(rates, [score for _, score in tried], c=leaves)
axis.set_xscale("log")
axis.set_xlabel("learning rate")
axis.set_ylabel("AUC")
figure.colorbar(points, label="leaves")
plt.tight_layout()

# %% [markdown]
# `flightdeck runs sweep --from latest --trials 3` does it with the pipeline's own model, judges by the newest tenth of
# the training rows, keeps every trial in the ledger, and can be killed and resumed.
#
# ## 4. What is different?
#
# The other everyday question. Each run has kept all of its settings.
#
# ### Exercise `differences`
#
# Write `differences(one, other)` of two nested documents: a dict from the dotted name (`model.epochs`) to the pair of
# values. What one of them lacks is `None` there; a whole section that it lacks is listed value by value. Lists are
# compared as a whole. `True` is not `1`, but `1` is `1.0`.


# %% exercise="differences"
def differences(one: dict, other: dict, prefix: str = "") -> dict[str, tuple]:
    """Dotted name -> value in the first, value in the second."""
    ### BEGIN SOLUTION
    changed = {}
    for name in sorted({*one, *other}):
        left, right = one.get(name), other.get(name)
        if {type(left), type(right)} in ({dict}, {dict, type(None)}):
            changed |= differences(left or {}, right or {}, f"{prefix}{name}.")
        elif left != right or isinstance(left, bool) != isinstance(right, bool):
            changed[f"{prefix}{name}"] = (left, right)
    return changed
    ### END SOLUTION


# %% tests="differences" points=2
_one = {"model": {"epochs": 2, "units": [8, 4], "on": True}, "window": "1:3", "same": {"a": {"b": 1}}}
assert differences(_one, _one) == {}, "A document differs from itself."
_changed = differences(_one, {**_one, "window": "1:4"})
assert _changed == {"window": ("1:3", "1:4")}, "A changed value is not found as such."
### BEGIN HIDDEN TESTS
_other = {"model": {"epochs": 2.0, "units": [4, 8], "on": 1}, "window": "1:3", "same": {"a": {"b": 2}}, "new": {"x": 0}}
_differences = differences(_one, _other)
assert "same.a.b" in _differences, "A value two levels down is not found under its dotted name."
assert _differences["same.a.b"] == (1, 2), "The values are not those of the first and the second, in that order."
assert _differences.get("new.x") == (None, 0), "What only the second document has is missing."
assert differences(_other, _one).get("new.x") == (0, None), "What only the first document has is missing."
assert "model.epochs" not in _differences, "1 and 1.0 are the same setting."
assert _differences.get("model.on") == (True, 1), "True and 1 are not the same setting."
assert set(_differences) == {"same.a.b", "new.x", "model.on", "model.units"}, (
    "Something else than a value is listed: of a section, only the values in it."
)
assert _differences.get("model.units") == ([8, 4], [4, 8]), "Lists are compared as a whole, order included."
### END HIDDEN TESTS

# %%
settings = [runs.document(record, "settings") for record in records]
for name, pair in differences(*settings).items():
    print(f"{name:24} {pair[0]} -> {pair[1]}")

# %% [markdown]
# ## 5. Reproduce, bit by bit
#
# A run that nobody can reproduce proves nothing. `reproduce` checks that code, packages and data are those of the
# record, trains once more, and compares weights and metrics bit by bit.

# %%
with small_pipeline.alone():  # lab 07 may be running its pipeline in the same workspace
    terminal(f"flightdeck runs reproduce {first['run_id']} --config '{small_pipeline.CONFIG}'")

# %% [markdown]
# ## Check
#
# `flightdeck lab check 06`. Then: how many rows would you need for an interval half as wide?
#
# ## Take-away
#
# A difference without an interval is an opinion. What a search has looked at cannot judge its result. And what is
# recorded can be compared, and made again.
#
# ## What is still missing
#
# The second model is better on the whole. For whom is it worse, and who decides that it may be pushed? Lab 07.
