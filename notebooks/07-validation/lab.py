# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "Model validation: slices, champion and challenger, blessing"
#     minutes: 60
# ---

# %% [markdown]
# # Lab 07: model validation: slices, champion and challenger, blessing
#
# **Goals.** You judge a model by the groups that it serves and not by its mean; you write the rule that lets a model
# pass; and you know with which model a new one must be compared.
#
# **Time.** 60 minutes, of which the machine takes three.
#
# **Before.** Lab 06: a difference comes with an interval. Here a machine has to decide, at night, with nobody
# watching.

# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from ledger import scores
from ledger.runs import Runs
from notebooks import small_pipeline
from operations.monitoring.model_signals import interval

# %% [markdown]
# ## 1. A challenger
#
# The pipeline pushes a model only with the Evaluator's *blessing*. The model that was blessed last is the *champion*;
# a new one is its *challenger*, and both are evaluated on the same, current rows. This challenger has hardly been
# trained:

# %%
good = small_pipeline.run("model.learning_rate=0.02", "model.epochs=4")

# %%
bad = small_pipeline.run("model.learning_rate=0.00001", "model.epochs=1")
for reason in bad["reasons"]:
    print("  ", reason)
print("pushed:", bad["version"])

# %% [markdown]
# Nothing was pushed, and no server will notice that somebody has trained a bad model. The rest of this lab is about
# how such a decision is made.
#
# ## 2. Slices
#
# A mean hides whom a model fails. *Slices* are groups of rows that share values of one or several columns. The scores
# of each evaluated row are kept, so that we can look.

# %%
metadata = small_pipeline.metadata()
runs = Runs(metadata)


def scored(summary: dict) -> pd.DataFrame:
    """The rows on which a run's model was evaluated: label, probability, and the columns that slices need."""
    evaluated = scores.read(scores.find(metadata, runs.find(summary["run_id"])))
    return evaluated.columns.to_pandas().assign(label=evaluated.labels, probability=evaluated.predictions)


rows = scored(good)
rows.head(3)

# %% [markdown]
# ### Exercise `by-slice`
#
# Write `by_slice(rows, columns, least)`: the AUC of every combination of values that occurs in these columns, as a
# dict from the tuple of values to `(number of rows, AUC)`. `rows` has the columns `label` (0 or 1) and `probability`.
#
# A slice with fewer than `least` rows, or in which all labels are the same, has no AUC that could be trusted: NaN. It
# is listed all the same; what is not measured should be seen. So is a slice in which the value is missing (`None`).


# %% exercise="by-slice"
def by_slice(rows: pd.DataFrame, columns: list[str], least: int) -> dict[tuple, tuple[int, float]]:
    """Slice -> number of rows and AUC."""
    ### BEGIN SOLUTION
    slices = {}
    for values, part in rows.groupby(columns, dropna=False, observed=True):
        measurable = len(part) >= least and part["label"].nunique() == 2
        auc = float(roc_auc_score(part["label"], part["probability"])) if measurable else math.nan
        slices[tuple(None if pd.isna(value) else value for value in values)] = (len(part), auc)
    return slices
    ### END SOLUTION


# %% tests="by-slice" points=2
_rows = pd.DataFrame(
    {
        "city": ["A"] * 6 + ["B"] * 6 + ["C"] * 2 + [None] * 6,
        "hour": [1, 1, 1, 2, 2, 2] * 2 + [1, 2] + [1] * 6,
        "label": [0, 0, 1, 0, 1, 1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        "probability": [0.1, 0.2, 0.9, 0.3, 0.8, 0.7, 0.1, 0.2, 0.9, 0.2, 0.8, 0.7, 0.4, 0.5, *np.linspace(0, 1, 6)],
    }
)
_slices = by_slice(_rows, ["city"], 3)
assert _slices.get(("A",)) == (6, 1.0), "The slice A has 6 rows and an AUC of 1."
assert _slices.get(("B",)) == (6, 0.0), "The slice B has an AUC of its own: 0, the worst there is."
### BEGIN HIDDEN TESTS
assert ("C",) in _slices, (
    "A slice that is too small to be measured is not listed, so nobody sees that it is not measured."
)
assert math.isnan(_slices[("C",)][1]), "Two rows cannot tell an AUC."
assert (None,) in _slices, "Rows whose value is missing belong to no slice: they are judged by nobody."
assert math.isnan(_slices[(None,)][1]), "Where all labels are the same there is no AUC."
assert by_slice(_rows, ["city"], 6)[("A",)] == (6, 1.0), "A slice of exactly `least` rows is large enough."
_crossed = by_slice(_rows, ["city", "hour"], 2)
assert _crossed.get(("A", 1)) == (3, 1.0), "Two columns make a slice of each combination of their values."
assert sum(number for number, _ in _crossed.values()) == len(_rows), "Some rows are in no slice, or in two."
### END HIDDEN TESTS

# %%
slices = {"all": (len(rows), roc_auc_score(rows.label, rows.probability))}
parts = {"all": rows}
for columns in (["origin"], ["departure_band"]):
    for values, result in by_slice(rows, columns, least=100).items():
        slices[values[0]] = result
        parts[values[0]] = rows[rows[columns[0]] == values[0]]
figure, axis = plt.subplots(figsize=(8, 2.8))
for place, name in enumerate(reversed(slices)):
    _, low, high = interval("auc", parts[name].label.to_numpy(), parts[name].probability.to_numpy())
    axis.plot([low, high], [place, place], lw=3, color="tab:blue")
    axis.plot(slices[name][1], place, "o", color="black")
axis.set_yticks(range(len(slices)), [f"{name} ({slices[name][0]:,})" for name in reversed(slices)])
axis.axvline(0.5, color="0.6")
axis.set_xlabel("AUC with its 95 % interval")
plt.tight_layout()

# %% [markdown]
# Small slices have wide intervals: gating every slice of 50 rows rejects good models by chance. So few slices are
# gated, large ones, with loose thresholds; the others are shown.
#
# ## 3. The blessing
#
# ### Exercise `refusals`
#
# Write `refusals(challenger, champion, rules)`: the reasons why a challenger may not pass, one text each; an empty
# list is a blessing. Each rule is about one metric:
#
#     {"metric": "auc", "better": "higher", "bound": 0.6, "may_lose": 0.01}
#
# - `bound` is absolute: the challenger must be at least that good (equal is enough), in the direction of `better`.
# - `may_lose`: it may be worse than the champion by at most so much. `champion` is `None` for the first model ever:
#   then the absolute bounds decide alone.
# - Either can be `None`: nothing is asked.
# - A metric that is missing, or is NaN, was not measured. A challenger without it has not passed, whatever is asked of
#   it; nor has one that should be compared with a champion without it.
# - Each reason names the metric.


# %% exercise="refusals"
def refusals(challenger: dict[str, float], champion: dict[str, float] | None, rules: list[dict]) -> list[str]:
    """Why the challenger may not pass."""
    ### BEGIN SOLUTION
    reasons = []
    for rule in rules:
        name, sign = rule["metric"], 1 if rule["better"] == "higher" else -1
        value = challenger.get(name, math.nan)
        if math.isnan(value):
            reasons.append(f"{name} was not measured")
            continue
        if rule["bound"] is not None and sign * value < sign * rule["bound"]:
            reasons.append(f"{name} is {value:.4f}, and {rule['bound']} is asked for")
        if rule["may_lose"] is not None and champion is not None:
            before = champion.get(name, math.nan)
            if not sign * (value - before) >= -rule["may_lose"]:
                reasons.append(f"{name} is {value:.4f}, and the champion's is {before:.4f}")
    return reasons
    ### END SOLUTION


# %% tests="refusals" points=3
_rules = [
    {"metric": "auc", "better": "higher", "bound": 0.6, "may_lose": 0.01},
    {"metric": "loss", "better": "lower", "bound": 0.7, "may_lose": 0.02},
    {"metric": "shown", "better": "higher", "bound": None, "may_lose": None},
]


def _refused(auc=0.7, loss=0.5, champion=(0.7, 0.5)):
    before = None if champion is None else {"auc": champion[0], "loss": champion[1], "shown": 1.0}
    return refusals({"auc": auc, "loss": loss, "shown": 0.0}, before, _rules)


assert _refused() == [], "A challenger as good as the champion is refused."
assert len(_refused(auc=0.5)) >= 1, "An AUC of 0.5 passes, although 0.6 is asked for."
### BEGIN HIDDEN TESTS
assert _refused(champion=None) == [], "The first model has no champion to lose to, and is refused."
assert _refused(auc=0.5, champion=None), "The first model need not be any good: the absolute bound is not applied."
assert _refused(loss=0.4, champion=(0.7, 0.5)) == [], "A lower loss is better, and it is refused."
assert any("loss" in reason for reason in _refused(loss=0.6)), "A loss that has grown from 0.5 to 0.6 passes."
assert any("loss" in reason for reason in _refused(loss=0.8, champion=None)), "A loss above its absolute bound passes."
assert any("auc" in reason for reason in _refused(auc=0.68)), "An AUC that has fallen from 0.70 to 0.68 passes."
assert _refused(auc=0.695) == [], "It may lose 0.01, and is refused for losing half of that."
assert _refused(auc=0.6, champion=None) == [], "Exactly the bound is enough."
assert any("auc" in reason for reason in _refused(auc=math.nan, champion=None)), (
    "An AUC that is NaN passes: every comparison with NaN is false, so ask for what must hold, not for what must not."
)
assert any("auc" in reason for reason in refusals({"loss": 0.5, "shown": 0.0}, None, _rules)), (
    "A metric that is missing passes."
)
assert any("auc" in reason for reason in _refused(champion=(math.nan, 0.5))), (
    "The champion's AUC is NaN, so nobody knows what the challenger loses, and it passes."
)
### END HIDDEN TESTS

# %%
rules = [
    {"metric": "auc", "better": "higher", "bound": 0.55, "may_lose": 0.02},
    {"metric": "log_loss", "better": "lower", "bound": None, "may_lose": 0.02},
]
print("the good one, first:", refusals(good["metrics"], None, rules))
print("the bad one, now:   ", refusals(bad["metrics"], bad["champion_metrics"], rules))

# %% [markdown]
# ## 4. Which champion?
#
# ### Exercise `champion`
#
# Write `champion(history, candidate)`: the model that the candidate must be compared with, or `None`. `history` is
# what happened, oldest first: dicts with `model` (a number) and `blessed` (whether the Evaluator blessed it then).
#
# - It is the model that was blessed last; a model can be judged more than once.
# - It is never the candidate itself, which may have been judged before: a run that is repeated comes from the cache.
# - A blessing is never taken back: a model that was blessed once, and refused on newer rows later, has been pushed.


# %% exercise="champion"
def champion(history: list[dict], candidate: int) -> int | None:
    """The model to beat."""
    ### BEGIN SOLUTION
    for judged in reversed(history):
        if judged["blessed"] and judged["model"] != candidate:
            return judged["model"]
    return None
    ### END SOLUTION


# %% tests="champion" points=2
_judged = [(1, False), (2, True), (5, True), (6, False)]
_history = [{"model": model, "blessed": blessed} for model, blessed in _judged]
assert champion(_history, 8) == 5, "The champion is the model that was blessed last."
### BEGIN HIDDEN TESTS
assert champion([], 1) is None, "Where nothing was ever blessed there is no champion."
assert champion(_history[:1], 8) is None, "A model that was refused is taken for the champion."
assert champion(_history, 5) == 2, "A model is compared with itself, and can only be equal."
assert champion([*_history, {"model": 2, "blessed": True}], 8) == 2, (
    "An older model that was blessed again is the one that was pushed last: the order of the judgements counts."
)
assert champion([*_history, {"model": 5, "blessed": False}], 8) == 5, "A blessing is never taken back."
### END HIDDEN TESTS

# %%
history = [
    {"model": 3, "blessed": True},
    {"model": 7, "blessed": True},
    {"model": 9, "blessed": False},
    {"model": 3, "blessed": False},
]
print("model 9 is compared with", champion(history, 9), "and model 7, once more, with", champion(history, 7))

# %% [markdown]
# TFX's own resolver returns the newest blessed model, which on a repeated run is the candidate itself. That is why
# Flightdeck has one of its own: `components/resolvers.py`.
#
# ## Check
#
# `flightdeck lab check 07`. Then, in a new cell, call `refusals` with a `bound` that the good model does not pass either,
# and say who should be allowed to do that.
#
# ## Take-away
#
# Validation is a rule that was written before the result was known: absolute bounds against nonsense, bounds against
# the champion for progress, slices for those whom a mean hides, and NaN never passes.
#
# ## What is still missing
#
# All of this ran on one machine, with packages that happen to be installed there. Lab 08 begins with what it takes to
# run anywhere else.
