# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "Set-up and map: where everything is"
#     minutes: 20
# ---

# %% [markdown]
# # Lab 00: set-up and map
#
# **Goals.** Check that everything works. Learn how labs are graded. Get an overview of the way from raw data to a
# monitored model, and find each stage in the folders.
#
# **Time.** 20 minutes. **You need.** Python as you know it.
#
# The labs follow one use case from its first notebook to a model that is monitored and retrained by itself: *will this
# flight arrive at least 15 minutes late?* The data are the 336,776 flights that were to leave New York City in 2013,
# with the weather of that day and the aircraft. Everything runs on your machine, without a network.

# %%
import matplotlib.pyplot as plt
import pandas as pd

from notebooks.slices import flights

frame = flights(*range(1, 13), rows=2500)
frame[["flight_id", "origin", "dest", "temp", "wind_speed", "arrived_late"]].sample(5, random_state=1)

# %% [markdown]
# ## 1. How a lab works
#
# Run the cells from top to bottom (Shift-Enter). Most of them belong to the lab and cannot be edited; the exercises
# are in between. Write your answer where it says `YOUR CODE HERE`; the next cell tests it at once. Then
#
#     flightdeck lab check 00
#
# runs the whole notebook in a clean kernel, with more tests: the answer has to be right for data it has not seen, too.
# You learn what is wrong, not how to fix it. `flightdeck lab list` shows where you are, and
# `flightdeck lab solution 00` shows an answer. Your work is never overwritten.
#
# ### Exercise `late-rate`
#
# Write `late_rate(rows)`: the share of late flights by month, as a `Series` with the month as index, in the order of the
# months. `rows` has the columns `month` and `arrived_late`, which is 1 for late and 0 for punctual.


# %% exercise="late-rate"
def late_rate(rows):
    ### BEGIN SOLUTION
    return rows.groupby("month")["arrived_late"].mean()
    ### END SOLUTION


# %% tests="late-rate" points=1
rate = late_rate(frame)
assert list(rate.index) == list(range(1, 13)), "the index should be the months 1 to 12, in order."
assert rate.between(0, 1).all(), "a share lies between 0 and 1."
### BEGIN HIDDEN TESTS
few = pd.DataFrame({"month": [9, 9, 2, 9, 9, 2], "arrived_late": [0, 1, 1, 0, 0, 1]})
assert late_rate(few).to_dict() == {2: 1.0, 9: 0.25}, (
    "of two flights in February two were late and of four in September one: the shares are 1.0 and 0.25."
)
assert list(late_rate(few).index) == [2, 9], "the months should be in their order, whatever the order of the rows."
assert late_rate(frame).sub(frame.groupby("month")["arrived_late"].mean()).abs().max() < 1e-9, (
    "for the flights of 2013 the shares are not right."
)
### END HIDDEN TESTS

# %%
axis = rate.plot.bar(figsize=(8, 2.8), rot=0, ylabel="share late", xlabel="month of 2013")
axis.axhline(frame["arrived_late"].mean(), color="black", linestyle=":")
plt.tight_layout()

# %% [markdown]
# Between one flight in seven and one in three. A model trained in winter faces different data in September. That is
# what makes this a use case for *operations*, and not for one good notebook.
#
# ## 2. The map
#
# | stage | question | lab | folder |
# |---|---|---|---|
# | discovery | is it feasible: what is known when? | 02 | `data/contract.yaml` |
# | data validation | is the data as agreed? | 03 | `data/schema.pbtxt`, `components/data_gate/` |
# | features | one implementation for training and serving | 04 | `models/preprocessing.py` |
# | pipeline | every step, in order, recorded, cached | 05 | `pipeline/definition.py` |
# | experiments | which run was that, is it better, can I repeat it? | 06 | `ledger/` |
# | model validation | is it good enough, also on each slice? | 07 | `pipeline/evaluation.py` |
# | infrastructure | the same, on a cluster | 08, 09 | `deploy/`, `pipeline/runners/` |
# | serving | answers, fast enough, at what cost? | 10 | `operations/serving/` |
# | monitoring | is it still right? what to do if not? | 11 | `operations/monitoring/` |
# | technical debt | what will this cost later? | 12 | everywhere |
#
# Imports point one way:
# `flightdeck -> teaching -> operations -> pipeline -> components, models, ledger -> data -> errors`.
# So `data/` can be read almost alone; `flightdeck/`, the command line, may use everything. A check in `make lint`
# enforces it. Code that does not know you cannot be broken by you.
#
# ### Exercise `imports`
#
# Write `may_import(layers, importer, imported)`. `layers` is a list of sets of packages, the highest first; packages in
# one set are neighbours. A package may import those of lower layers, and itself. It may not import higher ones, nor its
# neighbours. An unknown package is a `ValueError`.

# %%
LAYERS = [
    {"flightdeck"},
    {"teaching"},
    {"operations"},
    {"pipeline"},
    {"components", "models", "ledger"},
    {"data"},
    {"storage"},
    {"errors"},
]


# %% exercise="imports"
def may_import(layers: list[set[str]], importer: str, imported: str) -> bool:
    ### BEGIN SOLUTION
    height = {package: place for place, layer in enumerate(layers) for package in layer}
    for package in (importer, imported):
        if package not in height:
            raise ValueError(f"{package} is in no layer.")
    return importer == imported or height[importer] < height[imported]
    ### END SOLUTION


# %% tests="imports" points=2
assert may_import(LAYERS, "pipeline", "data"), "pipeline stands above data, and may import it."
assert not may_import(LAYERS, "data", "pipeline"), "data stands below pipeline, and may not import it."
### BEGIN HIDDEN TESTS
assert may_import(LAYERS, "flightdeck", "models"), "a package may import those of every lower layer, not only the next."
assert not may_import(LAYERS, "components", "models"), "neighbours in one layer may not import each other."
assert may_import(LAYERS, "models", "models"), "a package may import itself."
other = [{"app"}, {"left", "right"}, {"core"}]
assert may_import(other, "app", "core"), "it is right for these layers only; use the argument."
assert not may_import(other, "core", "left"), "core stands below left, and may not import it."
for pair in (("app", "numpy"), ("numpy", "app"), ("numpy", "numpy")):
    try:
        may_import(other, *pair)
    except ValueError:
        continue
    except Exception as error:
        raise AssertionError(f"an unknown package should be a ValueError, not {type(error).__name__}.") from None
    raise AssertionError(f"an unknown package should be a ValueError: may_import(layers, {pair[0]!r}, {pair[1]!r}).")
### END HIDDEN TESTS

# %% [markdown]
# Does the project follow this rule? Check every import of every file with your function:

# %%
import ast
from pathlib import Path

import flightdeck

root = Path(flightdeck.__file__).parents[1]
packages = set().union(*LAYERS)
counts = pd.DataFrame(0, index=sorted(packages), columns=sorted(packages))
for package in packages:
    for path in (root / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for imported in {module.split(".")[0] for module in modules} & packages:
                counts.loc[package, imported] += 1
                assert may_import(LAYERS, package, imported), f"{path} imports {imported}"
order = [package for layer in LAYERS for package in sorted(layer)]
counts.loc[order, order]

# %% [markdown]
# Row imports column: nothing stands below the diagonal.
#
# ## 3. One command
#
# The whole way, from files to a served model, is `make demo`: two minutes, and you will take it apart in lab 05. Its
# settings are typed. A misspelt one is refused, with a suggestion:

# %%
from notebooks.terminal import terminal

_ = terminal("flightdeck config show --set model.epoch=5", expect=2)

# %% [markdown]
# ## Check
#
# `flightdeck lab check 00`
#
# ## Take-away
#
# * MLOps is the way from data to a model in operation, and back. Each stage answers a question.
# * A rule that a check enforces holds; a rule in a guide is a hope.
#
# ## What is still missing
#
# Everything. Begin where everybody begins: with a model trained by hand. That is lab 01.
