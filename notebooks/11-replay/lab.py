# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "Monitoring, continuous training, rollback: the replay (level 2)"
#     minutes: 90
# ---

# %% [markdown]
# # Lab 11: monitoring, continuous training, rollback: the replay (level 2)
#
# **Goals.** You measure how far data has moved, write a rule that acts on it without raising false alarms, and roll
# back to an earlier model without rewriting history. You also see what a loop that does all this by itself is worth.
#
# **Time.** 90 minutes, of which the machine takes three.
#
# **Before.** Lab 10: a service that answers. Lab 07: validation before a push. What happens after it?

# %%
import contextlib
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.spatial.distance import jensenshannon

from notebooks.slices import flights, spans_folder
from notebooks.small_pipeline import ROOT
from notebooks.terminal import terminal
from operations.loop.replay import result

# %% [markdown]
# ## 1. Replay the past
#
# In March to May of 2013, 1,500 requests a month are answered by a model that was trained on January and judged on
# February. At the end of each month its labels arrive. At *level 0* a person trains once and goes away. At *level 2* the loop looks
# at each month, trains again, tries the new model in shadow mode, and deploys it by itself. In April, somebody
# renames an airline: `UA` becomes `U2`. Nobody is told.
#
# `flightdeck replay` plays that with the real pipeline, monitor, canary and registry, and a simulated clock.
# It takes a minute or two, so it starts now, and you go on.

# %%
WORKSPACE = Path("replayed").resolve()
SMALL = [
    f"workspace={WORKSPACE}",
    f"data.spans={spans_folder(1, 2, 3, 4, 5, rows=1500)}",
    *("model.epochs=4", "model.learning_rate=0.02", "model.batch_size=256", "model.hidden_units=[32]"),
    "evaluation.metrics=[{name: AUC, better: higher, at_least: 0.5, may_lose: 0.1}, {name: MeanPrediction},"
    " {name: LogLoss, module: components.evaluation.row_metrics},"
    " {name: RowCount, module: components.evaluation.row_metrics}]",
    # Of so few rows, distances say little: the rules look at values that were never allowed, and at quality.
    "monitoring.rules=[{name: fault in the data, kinds: [unseen], action: quarantine},"
    " {name: quality, kinds: [quality], action: alert}]",
    *("monitoring.fewest_rows=1000", "monitoring.fewest_labels=1000"),
    *("canary.rows=300", "canary.labels=1000", "canary.prediction_distance=1.0"),
]
command = [sys.executable, "-m", "flightdeck", "replay", "--level", "0,2", "--months", "3:5", "--fault", "renamed@4"]
command += ["--name", "lab", *(part for setting in SMALL for part in ("--set", setting))]
with Path("replay.log").open("w") as log:
    playing = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)

# %% [markdown]
# ## 2. How far has it moved?
#
# Labels arrive late, answers never wait. Until the labels are there, one can only ask whether the data, or the
# answers, still look like those of the training. The Jensen-Shannon divergence compares two histograms *p* and *q*
# with their mean *m*: half of the sum of `p log2(p/m)` and half of that of `q log2(q/m)`. It is 0 for equal ones, 1
# for those that share nothing, and, unlike others, finite where one of them is empty.
#
# ### Exercise `divergence`
#
# Write `divergence(reference, current, bins)`: of the histograms of two samples, with `bins` bins of equal width
# between the smallest and the largest value of the *reference*. Values beyond go to the outermost bins; NaN is left
# out.


# %% exercise="divergence"
def divergence(reference: Sequence[float], current: Sequence[float], bins: int = 20) -> float:
    """The Jensen-Shannon divergence, base 2, of the histograms of two samples."""
    ### BEGIN SOLUTION
    one, other = (np.asarray(sample, float) for sample in (reference, current))
    one, other = one[~np.isnan(one)], other[~np.isnan(other)]
    edges = np.linspace(one.min(), one.max(), bins + 1)
    p, q = (np.histogram(np.clip(sample, edges[0], edges[-1]), edges)[0] / len(sample) for sample in (one, other))
    middle = (p + q) / 2

    def half(share):
        there = share > 0
        return 0.5 * float((share[there] * np.log2(share[there] / middle[there])).sum())

    return half(p) + half(q)
    ### END SOLUTION


# %% tests="divergence" points=2
_random = np.random.default_rng(0)
_one = _random.normal(0, 1, 4000)
assert abs(divergence(_one, _one)) < 1e-9, "A sample is 0 away from itself."
_far = divergence(_one, _one + 2)
assert not math.isnan(_far), "Where a bin of one of them is empty, it is NaN."
assert _far > 0.2, "A sample that has moved by two deviations is far away."


### BEGIN HIDDEN TESTS
def _known(one, other, bins):
    edges = np.linspace(min(one), max(one), bins + 1)
    shares = [np.histogram(np.clip(sample, edges[0], edges[-1]), edges)[0] / len(sample) for sample in (one, other)]
    return float(jensenshannon(*shares, base=2) ** 2)


_other = _random.normal(0.5, 1.5, 900)
_inside = _one[:900] * 0.5
assert abs(divergence(_one, _inside, 20) - _known(_one, _inside, 20)) < 1e-6, (
    "Of two samples of different sizes it is another number; compare shares, not counts, by the base 2."
)
assert abs(divergence(_one, [50.0] * 100) - _known(_one, [50.0] * 100, 20)) < 1e-6, (
    "Values beyond those of the reference are dropped: the strangest ones would never be seen."
)
assert abs(divergence(_one, _other, 20) - _known(_one, _other, 20)) < 1e-6, "Of other samples it is another number."
assert abs(divergence(_one, _other, 5) - _known(_one, _other, 5)) < 1e-6, "The number of bins is not used."
assert abs(divergence(_one, [*_other, math.nan, math.nan]) - divergence(_one, _other)) < 1e-9, "NaN is not left out."
### END HIDDEN TESTS

# %%
year = flights(*range(1, 13), rows=1500)
february = year[year.month == 2]
figure, axis = plt.subplots(figsize=(8, 2.6))
for column in ("temp", "origin_recent_delay", "distance"):
    moved = [divergence(february[column], year[year.month == month][column]) for month in range(3, 13)]
    axis.plot(range(3, 13), moved, "o-", label=column)
april = year[year.month == 4]
celsius = divergence(february["temp"], (april["temp"] - 32) / 1.8)
axis.plot(4, celsius, "x", color="tab:red", ms=9, label="temp, if April came in degrees Celsius")
axis.set_xlabel("month")
axis.set_ylabel("divergence from February")
axis.legend(fontsize=8)
plt.tight_layout()

# %% [markdown]
# Summer is far from February, and no fault. Degrees Celsius are a fault, and no further away. A distance says that
# something has moved; what it means takes a second signal, or a person.
#
# ## 3. When to act
#
# One bad day is no reason to train again, and an alarm that rings every day is switched off. So a rule wants a signal
# in *n* of the last *m* windows, the latest one among them, and stays quiet for some windows after it has acted.
#
# ### Exercise `actions`
#
# Write `actions(exceeded, n, m, quiet)`: in which windows the rule acts, as a list of booleans. `exceeded` says for
# each window, oldest first, whether the signal was beyond its threshold, or `None` if it could not be measured: such a
# window is one of the last *m*, and is no reason. In the `quiet` windows after an action there is no action.


# %% exercise="actions"
def actions(exceeded: Sequence[bool | None], n: int, m: int, quiet: int) -> list[bool]:
    """In which windows the rule acts."""
    ### BEGIN SOLUTION
    acted: list[bool] = []
    for place, latest in enumerate(exceeded):
        recent = exceeded[max(0, place - m + 1) : place + 1]
        resting = any(acted[max(0, place - quiet) : place])
        acted.append(bool(latest) and sum(bool(beyond) for beyond in recent) >= n and not resting)
    return acted
    ### END SOLUTION


# %% tests="actions" points=2
_T, _F = True, False
assert actions([_F, _T, _F, _T], 2, 3, 0) == [_F, _F, _F, _T], "Twice in the last three windows is a reason to act."
assert actions([_T, _T, _F], 2, 3, 0) == [_F, _T, _F], "In a window in which nothing is wrong, there is nothing to do."
### BEGIN HIDDEN TESTS
assert actions([_T, _F, _F, _T], 2, 3, 0) == [_F, _F, _F, _F], "What lies further back than m windows does not count."
assert actions([_T] * 6, 1, 1, 2) == [_T, _F, _F, _T, _F, _F], (
    "After an action there are two quiet windows, and then it may act again."
)
assert actions([_T, None, _T], 2, 2, 0) == [_F, _F, _F], (
    "A window that could not be measured is still one of the last m."
)
assert actions([_T, None], 1, 2, 0) == [_T, _F], "A window that could not be measured is no reason to act."
assert actions([_T, _F, _T, _T], 1, 1, 1) == [_T, _F, _T, _F], (
    "Quiet is counted from actions, not from signals that were held back."
)
assert actions([], 1, 1, 0) == [], "Without windows there is nothing."
### END HIDDEN TESTS

# %%
random = np.random.default_rng(4)
noise = [bool(random.random() < 0.15) for _ in range(40)]
moved = noise[:25] + [bool(random.random() < 0.8) for _ in range(15)]
figure, axis = plt.subplots(figsize=(9, 1.8))
for place, (label, chosen) in enumerate(
    {"beyond": moved, "1 of 1": actions(moved, 1, 1, 0), "2 of 3, then quiet": actions(moved, 2, 3, 7)}.items()
):
    axis.eventplot([day for day, marked in enumerate(chosen) if marked], lineoffsets=-place, linelengths=0.7)
    axis.text(-1, -place, label, ha="right", va="center")
axis.axvspan(25, 40, color="0.93")
axis.set_yticks([])
axis.set_xlabel("day; from day 25 on something has really changed")
plt.tight_layout()

# %% [markdown]
# ## 4. Rolling back
#
# Servers answer with the highest version. So a rollback pushes an earlier model *again*, as a new version:
# history is never rewritten, and no server needs to know about it.
#
# ### Exercise `rolled-back`
#
# Write `rolled_back(versions)`: the list of versions after one rollback, as a new list; the given one stays as it is.
# Each version is a dict with `number`, `model`, `blessed`, and for a rollback `restores`: the number of the version
# whose model it brought back (`None` otherwise).
#
# - The new version comes last. It has the highest number plus one, the `model` of the version that it restores, and is
#   blessed.
# - It restores the newest *earlier* version that holds another model than the served one, and a blessed one.
# - Earlier than what? Than the served version; but if that is itself a rollback, earlier than the version that it
# restores (and so on, if that one is a rollback too). Otherwise a second rollback would return to the model that was
#   found to be bad.
# - If there is none, raise `LookupError`.


# %% exercise="rolled-back"
def rolled_back(versions: list[dict]) -> list[dict]:
    """The versions after a rollback; the served one is that with the highest number."""
    ### BEGIN SOLUTION
    by_number = {version["number"]: version for version in versions}
    served = by_number[max(by_number)]
    place = served
    while place["restores"] is not None:
        place = by_number[place["restores"]]
    earlier = [
        version
        for version in versions
        if version["number"] < place["number"] and version["blessed"] and version["model"] != served["model"]
    ]
    if not earlier:
        raise LookupError("There is no earlier blessed model to go back to.")
    chosen = max(earlier, key=lambda version: version["number"])
    new = {"number": served["number"] + 1, "model": chosen["model"], "blessed": True, "restores": chosen["number"]}
    return [*versions, new]
    ### END SOLUTION


# %% tests="rolled-back" points=2
def _version(number, model, blessed=True, restores=None):
    return {"number": number, "model": model, "blessed": blessed, "restores": restores}


_three = [_version(10, "a"), _version(20, "b"), _version(30, "c")]
_once = rolled_back(_three)
assert len(_once) == 4, "A rollback adds exactly one version and removes none."
assert _once[-1] == _version(31, "b", restores=20), "The version before is not pushed again under the next number."
### BEGIN HIDDEN TESTS
assert len(_three) == 3, "The list that was given has been changed: history is never rewritten."
assert _once[:3] == _three, "An earlier version is another one after the rollback: history is never rewritten."
_twice = rolled_back(_once)
assert _twice[-1]["model"] != "c", "A second rollback brings the model back that was found to be bad."
assert _twice[-1] == _version(32, "a", restores=10), "A second rollback should go one model further back."
_four = [*_three, _version(31, "b", restores=20), _version(40, "d")]
assert rolled_back(rolled_back(_four))[-1]["model"] == "a", (
    "A version that is restored may be a rollback itself: go on to the one that it restores, or a bad model comes back."
)
assert rolled_back([_version(1, "a"), _version(2, "b", blessed=False), _version(3, "c")])[-1]["model"] == "a", (
    "A model that was never blessed is served."
)
assert rolled_back([_version(1, "a"), _version(2, "b"), _version(3, "b")])[-1]["model"] == "a", (
    "The same model is pushed once more: nothing has changed for anybody."
)
assert rolled_back(list(reversed(_three)))[-1]["model"] == "b", "The versions may be listed in any order."
try:
    rolled_back([_version(1, "a")])
except NotImplementedError:
    raise
except LookupError:
    pass
else:
    raise AssertionError("There is no earlier model, and one is served nevertheless: LookupError should say so.")
### END HIDDEN TESTS


# %%
def version(number, model, blessed=True, restores=None):
    """A version in the words of this exercise."""
    return {"number": number, "model": model, "blessed": blessed, "restores": restores}


for entry in rolled_back(rolled_back([version(1, "a"), version(2, "b"), version(3, "c")])):
    print(entry)

# %% [markdown]
# ## 5. What was it worth?
#
# The replay should be done by now. If it is not, this waits; if it was interrupted, the same command would go on.

# %%
with contextlib.suppress(subprocess.TimeoutExpired):
    playing.wait(timeout=270)

# %%
with contextlib.suppress(subprocess.TimeoutExpired):
    playing.wait(timeout=270)

# %%
if playing.poll() != 0:
    raise RuntimeError(f"The replay ended with {playing.poll()}:\n{Path('replay.log').read_text()[-1500:]}")
played = result.read(WORKSPACE / "replay" / "lab" / "replay.json")
for level in played.levels:
    print(f"Level {level.level}, {level.name}: {level.trainings} trainings, {level.alerts} alerts")
    for event in level.events:
        print(f"   {event.when:%Y-%m-%d} {event.kind:11} {event.text[:125]}")

# %%
figure, axis = plt.subplots(figsize=(7, 2.8))
for level in played.levels:
    losses = [month.quality["log_loss"] for month in level.months]
    places = np.arange(len(losses)) + 0.06 * level.level
    spread = [[loss.value - loss.low for loss in losses], [loss.high - loss.value for loss in losses]]
    axis.errorbar(places, [loss.value for loss in losses], spread, fmt="o-", capsize=3, label=f"level {level.level}")
axis.set_xticks(range(len(losses)), [f"{month.month} {month.fault or ''}" for month in played.levels[0].months])
axis.set_xlabel("month, and its fault")
axis.set_ylabel("log loss")
axis.legend()
plt.tight_layout()
for comparison in played.comparisons:
    print(
        f"{comparison.metric}: level {comparison.level} minus level {comparison.against} is {comparison.difference:+.4f} "
        f"({comparison.low:+.4f} to {comparison.high:+.4f}) on {comparison.rows:,} requests"
    )

# %% [markdown]
# Level 2 noticed the renamed airline at the end of April, named the column, and put the month into *quarantine*:
# nothing was learned from it. Level 0 never heard of it. But a higher level is no end in itself: it costs trainings,
# alerts, and a loop that somebody must understand. The numbers above say what it was worth on these few rows;
# `docs/replay.md` has the whole year.
#
# A person may still overrule the loop:

# %%
place = f"--config '{ROOT}/config/replay.yaml' --set 'workspace={WORKSPACE}/replay/lab/level-2'"
_ = terminal(f"flightdeck models list {place}")
_ = terminal(f"flightdeck models rollback --reason 'tried in lab 11' {place}")
_ = terminal(f"flightdeck models list {place}")

# %% [markdown]
# ## Check
#
# `flightdeck lab check 11`. Then: what would level 2 have done if the labels of April had been wrong, and not an
# airline's name? (`--fault poisoned@4`)
#
# ## Take-away
#
# Watch inputs, answers and labels; act on a rule that was written before; try a new model in shadow mode first; keep
# faulty data out of training; and keep every version, so that a rollback is a small step.
#
# ## What is still missing
#
# A loop like this is a system of many parts, and every part can rot. Lab 12 looks for what rots first.
