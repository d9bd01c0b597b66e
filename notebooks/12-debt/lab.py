# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "Technical debt: ten problems in a small pipeline"
#     minutes: 90
# ---

# %% [markdown]
# # Lab 12: technical debt: ten problems in a small pipeline
#
# **Goals.** You find ten things in a working pipeline that will hurt somebody, and repair them, or write the check
# that finds the next one.
#
# **Time.** 90 minutes, of which the machine takes one.
#
# **Before.** All other labs: most of the ten are something that one of them was about.
#
# Machine learning code is cheap to write and expensive to maintain: it depends not only on code but on data, settings,
# other people's programs, and the world (Sculley and others, *Hidden Technical Debt in Machine Learning Systems*,
# NeurIPS
# 2015). The folder `debt/` beside this notebook holds a pipeline of a hundred lines. It runs, it reports a splendid
# number, and it contains **ten problems**.

# %%
import ast
import re
import shutil
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import yaml
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from data.contract import Contract
from data.prepare import CONTRACT
from notebooks.slices import flights

DEBT = Path("debt")
for path in sorted(DEBT.iterdir()):
    if path.is_file():
        print(f"----- {path}\n{path.read_text()}")

# %% [markdown]
# Read it, and **write the ten down before you go on**. Then watch it work: three months to learn from, April as what
# comes after.

# %%
MONTHS = Path("months")
MONTHS.mkdir(exist_ok=True)
for month in (1, 2, 3, 4):
    flights(month, rows=2000).to_parquet(MONTHS / f"month-{month}.parquet")

sys.path.insert(0, str(DEBT.resolve()))
import serve
import train

model, reported = train.main(MONTHS)
april = flights(4, rows=2000)
answers = serve.answer_month(model, MONTHS, 4)
achieved = roc_auc_score(april.arrived_late, answers)
figure, axis = plt.subplots(figsize=(6, 1.8))
axis.barh(
    ["what serving achieves in April", "what training reports"], [achieved, reported], color=["tab:red", "tab:blue"]
)
axis.axvline(0.5, color="black", lw=0.8)
axis.set_xlim(0.4, 1.02)
axis.set_xlabel("AUC")
plt.tight_layout()
print(f"reported {reported:.3f}, achieved {achieved:.3f}")

# %% [markdown]
# ## 1. An honest number
#
# Three of the ten problems are in how the number comes about.
#
# ### Exercise `honest`
#
# Write `honest(frame, columns, known, estimator)`: the AUC that may be reported.
#
# - Only those of `columns` are used that are known at the time of the prediction: `known` maps a column to `schedule`,
#   `prediction_time`, `after_departure` or `after_arrival`; the last two are too late.
# - `estimator` (not yet fitted; it has `fit` and `predict_proba`) learns from all months but the newest, and is judged
# by the newest. `frame` has the columns `month` and `arrived_late`. Pass tables that keep the index of `frame`: the
#   tests use it to tell which rows they are.


# %% exercise="honest"
def honest(frame: pd.DataFrame, columns: list[str], known: dict[str, str], estimator) -> float:
    """The AUC on the newest month, of a model that knows only what can be known."""
    ### BEGIN SOLUTION
    usable = [name for name in columns if known[name] in ("schedule", "prediction_time")]
    newest = frame["month"].max()
    older, latest = frame[frame["month"] < newest], frame[frame["month"] == newest]
    estimator.fit(older[usable], older["arrived_late"])
    return float(roc_auc_score(latest["arrived_late"], estimator.predict_proba(latest[usable])[:, 1]))
    ### END SOLUTION


# %% tests="honest" points=2
class _Watched:
    """An estimator that remembers what it was shown."""

    def fit(self, rows, labels):
        self.learned, self.labels = rows.copy(), labels.copy()
        return self

    def predict_proba(self, rows):
        self.judged = rows.copy()
        chance = rows["signal"].to_numpy() / 100
        return np.stack([1 - chance, chance], axis=1)


def _months(seed=0):
    random = np.random.default_rng(seed)
    made = pd.DataFrame({"month": np.repeat([5, 3, 4], 50), "signal": random.integers(0, 100, 150)})
    made["arrived_late"] = (made.signal + random.normal(0, 60, 150) > 50).astype(int)
    return made.assign(dep_delay=made.arrived_late * 30, arr_delay=made.arrived_late * 30)


_frame, _watched = _months(), _Watched()
_known = {"signal": "prediction_time", "dep_delay": "after_departure", "arr_delay": "after_arrival"}
_auc = honest(_frame, ["signal", "dep_delay", "arr_delay"], _known, _watched)
assert 0 <= _auc <= 1, "An AUC is between 0 and 1."
assert "dep_delay" not in _watched.learned, "The model learns from a departure delay, which nobody knows beforehand."
### BEGIN HIDDEN TESTS
assert list(_watched.learned.columns) == ["signal"], (
    "The model learns from other columns than those that are known in time."
)
assert set(_frame.loc[_watched.learned.index, "month"]) == {3, 4}, (
    "The model does not learn from exactly the older months: rows of the month that it is judged by are among them, or missing."
)
assert set(_frame.loc[_watched.judged.index, "month"]) == {5}, "The model is not judged by the newest month alone."
assert len(_watched.judged) == 50, "The model is not judged by all rows of the newest month."
_newest = _frame[_frame.month == 5]
assert abs(_auc - roc_auc_score(_newest.arrived_late, _newest.signal)) < 1e-9, (
    "The number is not the AUC of the newest month."
)
assert list(_watched.labels) == list(_frame.loc[_watched.learned.index, "arrived_late"]), (
    "Labels and rows do not belong together."
)
### END HIDDEN TESTS

# %%
known = {column.name: column.known for column in Contract.load(CONTRACT).columns}
history = pd.concat([pd.read_parquet(MONTHS / f"month-{month}.parquet").assign(month=month) for month in (1, 2, 3)])
numbers = ["dep_delay", "temp", "distance", "sched_dep_minute"]
forest = RandomForestClassifier(n_estimators=40, min_samples_leaf=20, random_state=0, n_jobs=1)
print(f"an honest AUC: {honest(history.fillna({'temp': 40}), numbers, known, forest):.3f}")

# %% [markdown]
# ## 2. One preprocessing
#
# Two more: `prepare` exists twice, and the one of training computes its means from whatever rows it is given, those of
# the evaluation included. A single row has no deviation at all.
#
# ### Exercise `preparation`
#
# Write the class `Preparation`, to be used by both sides.
#
# - `Preparation(rows, numbers, words)` learns from the rows: the mean and standard deviation (`ddof=0`) of each
#   number, and the values of each word column.
# - `apply(rows)` returns a table with the same index: each number minus its mean, by its deviation, and 0 where it is
#   missing; then, for each word and each learned value in sorted order, a column `word=value` of 0 and 1. A value that
#   was never seen has 0 in all of them.
# - One row alone gives what it gives among others. The given table is not changed.


# %% exercise="preparation"
class Preparation:
    """What is learned from training rows, and applied alike to training, evaluation and requests."""

    ### BEGIN SOLUTION
    def __init__(self, rows: pd.DataFrame, numbers: list[str], words: list[str]) -> None:
        self._scales = {name: (rows[name].mean(), rows[name].std(ddof=0) or 1.0) for name in numbers}
        self._values = {name: sorted(rows[name].dropna().unique()) for name in words}

    def apply(self, rows: pd.DataFrame) -> pd.DataFrame:
        ready = {name: ((rows[name] - mean) / spread).fillna(0.0) for name, (mean, spread) in self._scales.items()}
        for name, values in self._values.items():
            ready |= {f"{name}={value}": (rows[name] == value).astype(float) for value in values}
        return pd.DataFrame(ready, index=rows.index)

    ### END SOLUTION


# %% tests="preparation" points=3
_rows = pd.DataFrame({"t": [10.0, 20.0, None, 30.0], "c": ["B", "A", "B", None], "k": [1, 2, 3, 4]}, index=[7, 8, 9, 5])
_prepared = Preparation(_rows, ["t"], ["c"]).apply(_rows)
assert list(_prepared.columns) == ["t", "c=A", "c=B"], "The columns are not t, c=A and c=B."
assert abs(_prepared.loc[8, "t"]) < 1e-9, "The mean itself should become 0."
### BEGIN HIDDEN TESTS
_learned = Preparation(_rows, ["t"], ["c"])
assert list(_prepared.index) == [7, 8, 9, 5], "The index of the rows is lost: nobody can tell which answer is whose."
assert abs(_prepared.loc[5, "t"] - 10 / np.std([10, 20, 30])) < 1e-9, (
    "A number is not scaled by the deviation (ddof=0)."
)
assert _prepared.loc[9, "t"] == 0, "A missing number should become 0."
assert list(_prepared["c=B"]) == [1, 0, 1, 0], "A word is not marked in its own column, or a missing one is."
for _place in _rows.index:
    _alone = _learned.apply(_rows.loc[[_place]])
    assert _alone.to_dict() == _prepared.loc[[_place]].to_dict(), (
        "A row alone is prepared otherwise than among others: that is training-serving skew."
    )
_later = pd.DataFrame({"t": [1000.0], "c": ["Z"], "k": [0]}, index=[1])
assert abs(_learned.apply(_later).loc[1, "t"] - 980 / np.std([10, 20, 30])) < 1e-9, (
    "Later rows are scaled by other means than those of the rows that were learned from."
)
assert list(_learned.apply(_later).columns) == ["t", "c=A", "c=B"], "A word that was never seen changes the columns."
assert list(_learned.apply(_later).loc[1, ["c=A", "c=B"]]) == [0, 0], "A word that was never seen is taken for another."
assert _rows.isna().sum().sum() == 2, "The rows that were given have been changed."
### END HIDDEN TESTS

# %%
learned = Preparation(history[history.month < 3], ["temp", "distance", "sched_dep_minute"], ["carrier"])
learned.apply(april.head(3)).round(2)

# %% [markdown]
# ## 3. Data that is looked at
#
# Two more are in `load.py`: a month that is not there is quietly an empty one, and a month that is there is believed,
# whatever is in it.
#
# ### Exercise `load`
#
# Write `load(folder, months, ranges)`: the months in one table, with a column `month`, or an exception. `ranges` maps
# a column to the lowest and the highest value it may have.
#
# - A file that is missing raises `FileNotFoundError`. No months at all raise `ValueError`.
# - A column of `ranges` that is missing, that holds a value out of its range, or of which more than half is missing in
#   a month raises `ValueError`, with the month and the name of the column in its text.


# %% exercise="load"
def load(folder: Path, months: list[int], ranges: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """All months in one table; never less than was asked for."""
    ### BEGIN SOLUTION
    if not months:
        raise ValueError("No month was asked for.")
    frames = []
    for month in months:
        frame = pd.read_parquet(folder / f"month-{month}.parquet")
        for name, (lowest, highest) in ranges.items():
            if name not in frame:
                raise ValueError(f"Month {month} has no column {name}.")
            if frame[name].isna().mean() > 0.5:
                raise ValueError(f"Month {month}: more than half of {name} is missing.")
            if not frame[name].dropna().between(lowest, highest).all():
                raise ValueError(f"Month {month}: {name} has values outside of {lowest} to {highest}.")
        frames.append(frame.assign(month=month))
    return pd.concat(frames, ignore_index=True)
    ### END SOLUTION


# %% tests="load" points=2
_folder = Path("tried")
shutil.rmtree(_folder, ignore_errors=True)
_folder.mkdir()
_good = pd.DataFrame({"temp": [30.0, None, 50.0], "distance": [100, 200, 300]})
_good.to_parquet(_folder / "month-1.parquet")
_good.to_parquet(_folder / "month-2.parquet")
_ranges = {"temp": (-40, 130), "distance": (1, 6000)}
_read = load(_folder, [1, 2], _ranges)
assert len(_read) == 6, "Not all rows of both months are there."
assert list(_read["month"]) == [1, 1, 1, 2, 2, 2], "The column `month` does not say which month a row is of."


def _refusal(frame=None, months=(1, 7)):
    (_folder / "month-7.parquet").unlink(missing_ok=True)
    if frame is not None:
        frame.to_parquet(_folder / "month-7.parquet")
    try:
        load(_folder, list(months), _ranges)
    except NotImplementedError:
        raise
    except (OSError, ValueError) as error:
        return error
    return None


### BEGIN HIDDEN TESTS
assert isinstance(_refusal(), FileNotFoundError), (
    "A month is missing, and nothing is said: fewer rows are learned from."
)
assert isinstance(_refusal(months=()), ValueError), "No month at all is no data, and nothing is said."
_bad = _good.assign(temp=[30.0, 400.0, 50.0])
assert _refusal(_bad) is not None, "A temperature of 400 is believed."
assert "temp" in str(_refusal(_bad)), "What is refused does not say which column it is about."
assert "7" in str(_refusal(_bad)), "What is refused does not say which month it is about."
assert "distance" in str(_refusal(_good.drop(columns="distance"))), (
    "A column that is missing is not named, or not noticed."
)
assert isinstance(_refusal(_good.drop(columns="distance")), ValueError), (
    "A column that is missing must raise ValueError."
)
assert "temp" in str(_refusal(_good.assign(temp=[None, None, 50.0]))), (
    "A column of which two thirds are missing is believed."
)
assert _refusal(_good.assign(temp=[30.0, None, -40.0])) is None, (
    "The ends of a range belong to it, and few missing values are usual."
)
shutil.rmtree(_folder)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. A check that finds the next one
#
# The remaining ones can be seen without running anything, so a machine should look for them, in every change.
#
# ### Exercise `findings`
#
# Write `findings(folder)`: a set of `(file name, kind)`:
#
# | kind | in | what |
# |---|---|---|
# | `secret` | `*.py` | a name or an attribute (`self.token`) that contains `password`, `secret` or `token`, in any case, is assigned a text that stands in the code and is not empty |
# | `silent` | `*.py` | a handler for everything (`except:`, `except Exception`, `except BaseException`) without a `raise` in it |
# | `undeclared` | `*.py` | a call of `to_csv` or `to_parquet` whose first argument is a text that stands in the code: nobody knows who reads that file |
# | `unpinned` | `requirements.txt` | a package without `==`; comments and empty lines are none |
# | `dead setting` | `settings.yaml` | a key that stands as a text in no `*.py` |
#
# Use `ast`, not regular expressions: `ast.walk(ast.parse(text))` gives every node. `ast.Assign` has `targets` and
# `value`, `ast.ExceptHandler` has `type` and `body`, `ast.Call` has `func` and `args`, `ast.Constant` has `value`.


# %% exercise="findings"
def findings(folder: Path) -> set[tuple[str, str]]:
    """What can be seen without running anything."""
    ### BEGIN SOLUTION
    problems, texts = set(), set()

    def is_text(node):
        return isinstance(node, ast.Constant) and isinstance(node.value, str)

    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if is_text(node):
                texts.add(node.value)
            if isinstance(node, ast.Assign) and is_text(node.value) and node.value.value:
                names = [getattr(target, "id", getattr(target, "attr", "")) for target in node.targets]
                if any(re.search("password|secret|token", name, re.IGNORECASE) for name in names):
                    problems.add((path.name, "secret"))
            if isinstance(node, ast.ExceptHandler):
                everything = node.type is None or getattr(node.type, "id", "") in ("Exception", "BaseException")
                if everything and not any(isinstance(child, ast.Raise) for child in ast.walk(node)):
                    problems.add((path.name, "silent"))
            writes = isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("to_csv", "to_parquet")
            if writes and node.args and is_text(node.args[0]):
                problems.add((path.name, "undeclared"))
    for line in (folder / "requirements.txt").read_text().splitlines():
        wanted = line.partition("#")[0].strip()
        if wanted and "==" not in wanted:
            problems.add(("requirements.txt", "unpinned"))
    if yaml.safe_load((folder / "settings.yaml").read_text()).keys() - texts:
        problems.add(("settings.yaml", "dead setting"))
    return problems
    ### END SOLUTION


# %% tests="findings" points=3
_planted = findings(DEBT)
assert ("load.py", "secret") in _planted, "The password in load.py is not found."
assert ("requirements.txt", "unpinned") in _planted, "Packages without a version are not found."
### BEGIN HIDDEN TESTS
_all = {("load.py", "secret"), ("load.py", "silent"), ("train.py", "undeclared"), ("requirements.txt", "unpinned")}
_all |= {("settings.yaml", "dead setting")}
assert _planted == _all, f"In debt/, these are missing or too many: {sorted(_planted ^ _all)}"


def _written(code="", requirements="pandas==2.2.3\n", settings="trees: 4\n"):
    place = Path("written")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / "clean.py").write_text('import os\n\n\ndef main(settings):\n    return settings["trees"]\n')
    (place / "other.py").write_text(code)
    (place / "requirements.txt").write_text(requirements)
    (place / "settings.yaml").write_text(settings)
    try:
        return {kind for _, kind in findings(place)}
    finally:
        shutil.rmtree(place)


_raised = "try:\n    f()\nexcept Exception as error:\n    raise SystemExit(1) from error\n"
_narrow = "try:\n    f()\nexcept FileNotFoundError:\n    x = 1\n"
for _code, _what in {
    "": "A clean folder",
    'password = os.environ["PASSWORD"]\n': "A password that comes from the environment",
    '# password = "in a comment"\n': "A comment",
    'secret = ""\n': "An empty text",
    _raised: "A handler that raises again",
    _narrow: "A handler for one kind of error",
    "frame.to_csv(settings['output'])\n": "A file whose name is a setting",
}.items():
    assert _written(_code) == set(), f"{_what} is reported, and is none of the five."
for _code, _kind in {
    'self.api_TOKEN = "abc"\n': "secret",
    "try:\n    f()\nexcept:\n    pass\n": "silent",
    "try:\n    f()\nexcept BaseException:\n    x = 1\n": "silent",
    'frame.to_parquet("for-them.parquet")\n': "undeclared",
}.items():
    assert _written(_code) == {_kind}, f"{_kind}: not found in {_code!r}"
assert _written(requirements="# pandas\n\npandas==2.2.3  # fine\n") == set(), (
    "A comment in requirements.txt is reported."
)
assert _written(requirements="pandas==2.2.3\nnumpy>=1\n") == {"unpinned"}, "A lower bound is no version: not found."
assert _written(settings="trees: 4\nunused: 1\n") == {"dead setting"}, "A setting that nothing reads is not found."
### END HIDDEN TESTS

# %%
for finding in sorted(findings(DEBT)):
    print(*finding, sep=": ")

# %% [markdown]
# ## The ten
#
# | | problem | where | lab |
# |---|---|---|---|
# | 1 | a feature that is known only afterwards | `train.py`: `dep_delay` | 02 |
# | 2 | a random split over time, another one each time | `train.py`: `train_test_split` | 01, 02 |
# | 3 | evaluated on the rows that it learned from | `train.py`: `quality` | 02 |
# | 4 | two implementations of the preprocessing | `train.py` and `serve.py`: `prepare` | 04 |
# | 5 | statistics of the preprocessing include the evaluation | `train.py`: `prepare(frame)` before the split | 04 |
# | 6 | data is trusted without a look | `load.py` | 03 |
# | 7 | an error becomes an empty month | `load.py`: `except Exception` | |
# | 8 | a password in the code | `load.py` | |
# | 9 | packages without a version | `requirements.txt` | 01, 08 |
# | 10 | a consumer that nobody has declared, and settings that nothing reads | `train.py`: `scores.csv`; `settings.yaml` | 05: artifacts |
#
# Did you find one that is not in the table? There are some: no model is saved with the settings that made it, and
# there is not a single test.
#
# ## Check
#
# `flightdeck lab check 12`. Then run `findings` on a project of your own.
#
# ## Take-away
#
# None of the ten stopped the pipeline. Debt does not show in a demonstration; it shows when data, people or the world
# change. What can be checked by a machine belongs into CI, what cannot belongs into a review.
#
# ## What is still missing
#
# The same questions about a pipeline of your own, and about data that nobody has prepared for you. `flightdeck new`
# makes a project from one table (`docs/adapt.md`); begin with what its contract marks TO BE REVIEWED.
