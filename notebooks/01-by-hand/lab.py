# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: A model by hand, and how to lose it (level 0)
#     minutes: 40
# ---

# %% [markdown]
# # Lab 01: a model by hand, and how to lose it
#
# **Goals.** Train a model the way most models begin: in a notebook. See three ways in which that goes wrong: the number
# cannot be repeated, nobody knows which model it belongs to, and the model goes stale unnoticed. Then fix the first
# two with a few lines each.
#
# **Time.** 40 minutes. **You need.** pandas and scikit-learn as you know them.
#
# The question is that of the whole course: *will this flight arrive at least 15 minutes late?* It is asked two hours
# before departure, about real flights that left New York City in 2013.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from notebooks.slices import flights

frame = flights(*range(1, 13), rows=2500)
frame[["month", "carrier", "origin", "dest", "temp", "origin_recent_delay", "arrived_late"]].head()

# %% [markdown]
# ## 1. A first model
#
# Train on January and February, test on March. ROC AUC is the chance that a late flight gets a higher
# score than a punctual one: 0.5 is a coin toss, 1.0 is perfect.

# %%
FEATURES = [
    "distance", "sched_dep_minute", "temp", "humid", "wind_speed", "pressure", "visib",
    "origin_recent_delay", "origin_recent_departures",
]  # fmt: skip
winter, march = frame[frame.month <= 2], frame[frame.month == 3]


def quick(columns):
    model = RandomForestClassifier(n_estimators=60, min_samples_leaf=20, n_jobs=2)
    model.fit(winter[columns], winter["arrived_late"])
    return roc_auc_score(march["arrived_late"], model.predict_proba(march[columns])[:, 1])


print(f"AUC on March: {quick(FEATURES):.4f}")
print(f"AUC on March: {quick(FEATURES):.4f}   (the same line again)")

# %% [markdown]
# The same line twice, two results. A colleague now leaves out one column, sees a better number and keeps the change.
# Was it better? Look at what chance alone does:

# %%
same = [quick(FEATURES) for _ in range(12)]
without = [quick([name for name in FEATURES if name != "sched_dep_minute"]) for _ in range(12)]

fig, axis = plt.subplots(figsize=(8, 2.6))
axis.plot(same, np.full(12, 1), "o", alpha=0.5)
axis.plot(without, np.full(12, 0), "o", alpha=0.5)
axis.set_yticks([0, 1], ["without sched_dep_minute", "all columns"])
axis.set_ylim(-0.6, 1.6)
axis.set_xlabel("AUC on March: 12 trainings each, nothing else changed")
plt.tight_layout()

# %% [markdown]
# The two clouds overlap. Whoever trains each of them once and keeps the higher number keeps luck. This is why the first
# thing to get under control is that *the same inputs give the same model*.
#
# ## 2. The state you cannot see
#
# A notebook remembers every cell that ever ran, in whatever order. Here a well-meant cleaning step is executed once,
# and then again, because somebody ran the cell twice:

# %%
cleaned = march
for times in (1, 2, 3):
    cleaned = cleaned[cleaned["origin_recent_delay"] < cleaned["origin_recent_delay"].quantile(0.95)]
    print(f"cell executed {times} times: {len(cleaned):,} flights, {cleaned['arrived_late'].mean():.1%} late")

# %% [markdown]
# The cell looks the same on the screen each time. The cure: write each step as a function of its arguments that
# returns something new and keeps no state.
#
# ### Exercise `training`
#
# Write `train(rows, columns, seed)`. It returns a fitted `RandomForestClassifier` with 60 trees and
# `min_samples_leaf=20` that has learned `arrived_late` from `columns` of `rows`, given as a table, so that it knows
# their names.
#
# * The same arguments give a model with the same predictions, however often it is called.
# * It uses its arguments, and no other state of this notebook.
# * It leaves `rows` as it was.


# %% exercise="training"
def train(rows: pd.DataFrame, columns: list[str], seed: int) -> RandomForestClassifier:
    ### BEGIN SOLUTION
    model = RandomForestClassifier(n_estimators=60, min_samples_leaf=20, n_jobs=2, random_state=seed)
    return model.fit(rows[columns], rows["arrived_late"])
    ### END SOLUTION


# %% tests="training" points=3
first, again = train(winter, FEATURES, seed=1), train(winter, FEATURES, seed=1)
scores = [model.predict_proba(march[FEATURES])[:, 1] for model in (first, again)]
assert np.allclose(*scores), "two trainings with the same arguments do not predict the same."
### BEGIN HIDDEN TESTS
assert first.n_estimators == 60, "the model should have 60 trees."
assert first.min_samples_leaf == 20, "min_samples_leaf should be 20."
some = ["distance", "temp", "visib"]
assert list(train(winter, some, seed=1).feature_names_in_) == some, "it learns from other columns than `columns` names."
few = winter.sample(400, random_state=3)
before = few.copy()
small = train(few, FEATURES, seed=1)
pd.testing.assert_frame_equal(few, before, obj="rows after train()")
assert not np.allclose(small.predict_proba(march[FEATURES])[:, 1], scores[0]), (
    "400 flights gave the same model as all of winter: it does not learn from the rows it is given."
)
other = train(winter, FEATURES, seed=2).predict_proba(march[FEATURES])[:, 1]
assert not np.allclose(other, scores[0]), "another seed gives the same model: the argument `seed` is not used."
np.random.seed(7)
noise = np.random.random()
np.random.seed(7)
train(winter, FEATURES, seed=1)
assert np.random.random() == noise, (
    "it draws from (or seeds) NumPy's global generator, which other cells share; give the model a seed of its own."
)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Which model was that?
#
# Three weeks later there is a folder with `model.pkl`, `model_final.pkl` and `model_final_2.pkl`, a slide that says
# "AUC 0.686", and somebody who asks how that number came about. To answer, one needs to have written down *before*:
# which data, which code and packages, which settings, which seed, which result.
#
# ### Exercise `record`
#
# Write `record(path, rows, columns, seed, auc)`. It appends one line of JSON to the file `path`, which may not exist
# yet, with these keys:
#
# | key | what |
# |---|---|
# | `data` | a digest (such as SHA-256) of the *values* in `rows[columns]` and `rows["arrived_late"]` |
# | `columns`, `seed`, `auc` | as given |
# | `packages` | the versions of `scikit-learn`, `pandas` and `numpy`, by name |
#
# The digest is the same for the same values, also tomorrow and in another process, and another one when a single value
# differs. Lines that are already in the file stay there. `pandas.util.hash_pandas_object` and
# `importlib.metadata.version` do most of the work. What `record` needs besides `np` and `pd`, imports and functions
# of your own, belongs into this cell: it is also run alone, in another process.

# %% exercise="record"
import hashlib
import importlib.metadata
import json
from pathlib import Path


def record(path: Path, rows: pd.DataFrame, columns: list[str], seed: int, auc: float) -> None:
    ### BEGIN SOLUTION
    hashes = pd.util.hash_pandas_object(rows[[*columns, "arrived_late"]], index=False)
    line = {
        "data": hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest(),
        "columns": columns,
        "seed": seed,
        "auc": auc,
        "packages": {name: importlib.metadata.version(name) for name in ("scikit-learn", "pandas", "numpy")},
    }
    with Path(path).open("a") as file:
        file.write(json.dumps(line) + "\n")
    ### END SOLUTION


# %% tests="record" points=3
def recorded(*arguments) -> list[dict]:
    record(*arguments)
    return [json.loads(line) for line in arguments[0].read_text().splitlines()]


auc = float(roc_auc_score(march["arrived_late"], first.predict_proba(march[FEATURES])[:, 1]))
Path("runs.jsonl").unlink(missing_ok=True)
lines = recorded(Path("runs.jsonl"), winter, FEATURES, 1, auc)
assert [line["auc"] for line in lines] == [auc], "after one call the file should have one line, with the auc."
lines = recorded(Path("runs.jsonl"), winter, FEATURES, 2, auc)
assert [line["seed"] for line in lines] == [1, 2], "after a second call the file should have both lines."
### BEGIN HIDDEN TESTS
import subprocess
import sys
import tempfile

from IPython import get_ipython

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "runs.jsonl"
    data = [line["data"] for line in recorded(path, winter, FEATURES, 1, auc)]
    data += [recorded(path, winter.copy(), FEATURES, 1, auc)[-1]["data"]]
    assert len(set(data)) == 1, "the same values give two digests."
    row = winter.index[17]
    for column in ("temp", "arrived_late"):
        changed = winter.copy()
        changed.loc[row, column] = 1 - changed.loc[row, column]
        data += [recorded(path, changed, FEATURES, 1, auc)[-1]["data"]]
        assert data[-1] != data[0], f"one changed value of `{column}` leaves the digest as it was."
    line = recorded(path, winter, FEATURES[:3], 5, 0.25)[-1]
    assert (line["columns"], line["seed"], line["auc"]) == (FEATURES[:3], 5, 0.25), (
        "columns, seed and auc are not recorded as given."
    )
    for package in ("scikit-learn", "pandas", "numpy"):
        assert line.get("packages", {}).get(package) == importlib.metadata.version(package), (
            f"the version of {package} is not recorded: with another one, the same code may give another model."
        )
    # The same question in a fresh process, where Python's own hash() of a text is another one.
    small = winter.head(50)[["temp", "carrier", "arrived_late"]]
    here = recorded(path, small, ["temp", "carrier"], 1, auc)[-1]["data"]
    small.to_pickle(Path(folder) / "small.pkl")
    entered = get_ipython().user_ns["In"]
    cells = [cell for cell in entered if "def record(" in cell and "def recorded(" not in cell]
    program = f"""
import hashlib, importlib.metadata, json
from pathlib import Path
import numpy as np
import pandas as pd
{cells[-1]}
folder = Path({folder!r})
record(folder / "other.jsonl", pd.read_pickle(folder / "small.pkl"), ["temp", "carrier"], 1, 0.5)
print(json.loads((folder / "other.jsonl").read_text())["data"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, f"in a process of its own record() stops: {done.stderr.strip().splitlines()[-1]}"
    assert done.stdout.strip() == str(here), "the digest is another one in a new process: tomorrow it proves nothing."
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Meanwhile, in production
#
# The winter model is deployed by copying a file. Nobody looks at it again. What would they have seen?

# %%
months = range(3, 13)
quality, said, happened = [], [], []
for month in months:
    later = frame[frame.month == month]
    score = first.predict_proba(later[FEATURES])[:, 1]
    quality.append(roc_auc_score(later["arrived_late"], score))
    said.append(score.mean())
    happened.append(later["arrived_late"].mean())

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
left.plot(months, quality, "o-")
left.set(xlabel="month of 2013", ylabel="AUC of the winter model", xticks=list(months))
right.plot(months, said, "o-", label="what the model says")
right.plot(months, happened, "s-", label="what happened")
right.set(xlabel="month of 2013", ylabel="share of late flights", xticks=list(months))
right.legend()
plt.tight_layout()

# %% [markdown]
# The model keeps predicting winter. In September it announces far too many late flights, in December too
# few, and in October it ranks them less well than in May. Nothing failed, no error was logged, and no one was told.
#
# ## Check
#
# `flightdeck lab check 01` runs your notebook from top to bottom in a clean kernel, with more tests than the cells
# above.
#
# ## Take-away
#
# * One number from one training is a draw from a distribution. Fix the seed to repeat it, and know how wide the
#   distribution is before you believe a difference.
# * A model without a record of its data, code, packages and settings cannot be explained, repeated or repaired.
# * This is *level 0* of MLOps: every step by hand, nothing recorded, nobody watching. It is fine for finding out
#   whether a model is worth building, and for nothing after that.
#
# ## What is still missing
#
# You trusted every column of the table. Which of them exist when the prediction is made? That is lab 02.
