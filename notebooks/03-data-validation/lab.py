# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "Data validation: schema, anomalies, drift, skew"
#     minutes: 45
# ---

# %% [markdown]
# # Lab 03: data validation, or tests for data
#
# **Goals.** Compute statistics of a dataset and check them against a schema. Tell apart three questions: does the data
# *fit* what was agreed (anomalies), has the *world* changed (drift), and do training and serving see the *same* thing
# (skew)? See what each of them cannot see.
#
# **Time.** 45 minutes. **You need.** Lab 02.
#
# Code is tested before it is merged. Data arrives every month, from people who do not know that you exist, and changes
# the model just as much. It deserves tests, and since nobody can read 27,000 rows, the tests look at statistics.
#
# (TensorFlow prints a few lines about this machine when it is loaded. You can ignore them.)

# %%
import copy
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow_data_validation as tfdv

import data.contract
from data.contract import Contract
from data.schema_diff import curated
from notebooks.slices import flights

contract = Contract.load(Path(data.contract.__file__).with_name("contract.yaml"))
columns = list(contract.ingested())
whole = {integer: "Int64" for integer, kind in contract.ingested().items() if kind == "int64"}

year = flights(*range(1, 13), rows=100_000)  # fewer are in each month: all of them
months = {month: rows[columns].reset_index(drop=True) for month, rows in year.groupby("month")}


def statistics(rows: pd.DataFrame):
    """TFDV's statistics; whole numbers stay whole, which pandas forgets where one is missing."""
    return tfdv.generate_statistics_from_dataframe(
        rows.reset_index(drop=True).astype({name: kind for name, kind in whole.items() if name in rows})
    )


statistics_of = {month: statistics(rows) for month, rows in months.items()}
print(f"{len(columns)} columns, from {len(months[2]):,} rows (February) to {len(months[8]):,} (August)")

# %% [markdown]
# ## 1. Statistics and a schema
#
# A schema says what each column may hold. A first one can be inferred from data:

# %%
inferred = tfdv.infer_schema(statistics_of[1])
tfdv.get_feature(inferred, "sched_dep_minute")

# %%
set(months[7]["dest"]) - set(tfdv.get_domain(inferred, "dest").value)

# %% [markdown]
# It accepts what it saw, and only that: nothing limits the minutes of a day, and those airports, which nobody flies
# to in January, would be errors in July. An inferred schema is a proposal. People turn it into an agreement, here
# `data/schema.pbtxt`, which is reviewed like code:

# %%
# Without the labels of two other tasks on the same flights, which this contract ignores.
schema = curated(Path(data.contract.__file__).with_name("schema.pbtxt"), contract)
tfdv.get_feature(schema, "sched_dep_minute")

# %% [markdown]
# Does February fit? And what if its file had been damaged in one of these ways?

# %%
february = months[2]
damaged = {
    "as it is": february,
    "an unknown carrier": february.assign(carrier=february["carrier"].mask(february.index % 50 == 0, "ZZ")),
    "minutes of the next day": february.assign(sched_dep_minute=february["sched_dep_minute"] + 1440),
    "three temperatures in four lost": february.assign(temp=february["temp"].where(february.index % 4 == 0)),
    "a column forgotten": february.drop(columns="visib"),
    "temperatures in Celsius": february.assign(temp=(february["temp"] - 32) * 5 / 9),
}
for name, rows in damaged.items():
    anomalies = tfdv.validate_statistics(statistics(rows), schema, environment="TRAINING")
    descriptions = [f"{column}: {info.description}" for column, info in anomalies.anomaly_info.items()]
    print(f"{name:32} {'; '.join(descriptions) or 'fits'}")

# %% [markdown]
# Five faults, four found. Celsius passed: minus 9 to 13 degrees are possible Fahrenheit temperatures in New York. A
# schema checks each value against what is *possible*; it does not know what is *usual*. Keep that in mind.
#
# ### Exercise `problems`
#
# Write `problems(rows, environment)`. It validates the statistics of `rows` against the curated `schema`, and returns a
# `set` with the name of every column that has an anomaly, and also `"(data set)"` if the data as a whole has one (too
# few rows, say: look at `dataset_anomaly_info` of the anomalies).
#
# `environment` is `"TRAINING"` or `"SERVING"`. Requests have no label, and in `SERVING` that is no anomaly.


# %% exercise="problems"
def problems(rows: pd.DataFrame, environment: str) -> set[str]:
    ### BEGIN SOLUTION
    anomalies = tfdv.validate_statistics(statistics(rows), schema, environment=environment)
    whole_set = {"(data set)"} if anomalies.dataset_anomaly_info.reason else set()
    return set(anomalies.anomaly_info) | whole_set
    ### END SOLUTION


# %% tests="problems" points=2
assert problems(february, "TRAINING") == set(), "February fits, so there should be no problem."
assert problems(damaged["an unknown carrier"], "TRAINING") == {"carrier"}, "carrier ZZ should be the one problem."
### BEGIN HIDDEN TESTS
assert problems(damaged["a column forgotten"], "TRAINING") == {"visib"}, (
    "a column that is gone should be a problem: does the schema come from the rows themselves?"
)
both = damaged["minutes of the next day"].assign(distance=-1.0)
assert problems(both, "TRAINING") == {"sched_dep_minute", "distance"}, "with two bad columns, both should be named."
requests = february.drop(columns="arrived_late")
assert problems(requests, "SERVING") == set(), "requests have no label; in SERVING that is no problem."
assert problems(requests, "TRAINING") == {"arrived_late"}, "training data without labels should be a problem."
assert "(data set)" in problems(february.head(60), "TRAINING"), (
    "60 rows are fewer than the schema allows: the data set as a whole has an anomaly, which belongs in the answer."
)
### END HIDDEN TESTS

# %% [markdown]
# ## 2. An agreement changes
#
# A new airline, `XX`, gets a licence. From now on the data is right and the schema is wrong. The tempting repair is to
# switch the check off. The right one is small, and says exactly what is new.
#
# ### Exercise `accept`
#
# Write `accept(schema, column, value)`. It returns a *copy* of the schema, in which `value` is one of the categories of
# `column`, and everything else is as it was. The schema that was passed in stays as it is (others are using it). A value
# that is listed already is not listed twice.
#
# `tfdv.get_domain(schema, column)` gives the categories of a column, and a protobuf message is copied with
# `copy.deepcopy`.


# %% exercise="accept"
def accept(schema, column: str, value: str):
    ### BEGIN SOLUTION
    changed = copy.deepcopy(schema)
    domain = tfdv.get_domain(changed, column)
    if value not in domain.value:
        domain.value.append(value)
    return changed
    ### END SOLUTION


# %% tests="accept" points=2
def seen(rows: pd.DataFrame, agreed) -> dict[str, str]:
    anomalies = tfdv.validate_statistics(statistics(rows), agreed, environment="TRAINING")
    return {column: info.description for column, info in anomalies.anomaly_info.items()}


few = february.sample(3000, random_state=0)
newcomer = few.assign(carrier=few["carrier"].mask(few.index % 10 == 0, "XX"))
passed_in = copy.deepcopy(schema)
agreed = accept(passed_in, "carrier", "XX")
assert seen(newcomer, agreed) == {}, "after accept(schema, 'carrier', 'XX') flights of XX should fit."
### BEGIN HIDDEN TESTS
assert passed_in == schema, "the schema that was passed in has changed; return a changed copy."
stranger = few.assign(carrier=few["carrier"].mask(few.index % 100 == 0, "YY"))
assert "carrier" in seen(stranger, agreed), (
    "after accepting XX, a flight of YY fits as well: the check was switched off, or loosened, instead of told about XX."
)
expected = copy.deepcopy(schema)
tfdv.get_domain(expected, "carrier").value.append("XX")
for changed in (agreed, expected):  # wherever it was added
    tfdv.get_domain(changed, "carrier").value.sort()
assert agreed == expected, "something else in the schema has changed, or the value was not added to the categories."
twice = accept(copy.deepcopy(agreed), "carrier", "XX")
assert list(tfdv.get_domain(twice, "carrier").value).count("XX") == 1, "a value that was listed already is there twice."
assert "B" in tfdv.get_domain(accept(copy.deepcopy(schema), "origin", "B"), "origin").value, (
    "it works for `carrier` only."
)
### END HIDDEN TESTS

# %% [markdown]
# ## 3. Drift: has the world changed?
#
# Compare the statistics of one month with those of the month before. For categories TFDV uses the L-infinity distance:
# the largest change of one category's share. For numbers it uses the Jensen-Shannon divergence of the histograms, from
# 0 (same) to 1 (no overlap). The schema says for each column how much is too much.


# %%
def drift(before: int, now: int) -> dict[str, tuple[float, float]]:
    """Distance and threshold of each column."""
    anomalies = tfdv.validate_statistics(
        statistics_of[now], schema, environment="TRAINING", previous_statistics=statistics_of[before]
    )
    return {
        info.path.step[0]: (info.drift_measurements[0].value, info.drift_measurements[0].threshold)
        for info in anomalies.drift_skew_info
    }


ratio = pd.DataFrame(
    {month: {name: value / limit for name, (value, limit) in drift(month - 1, month).items()} for month in range(2, 13)}
)
fig, axis = plt.subplots(figsize=(9, 6))
image = axis.imshow(ratio.sort_index(), aspect="auto", vmin=0, vmax=1, cmap="YlOrRd")
axis.set_yticks(range(len(ratio)), ratio.sort_index().index)
axis.set_xticks(range(11), range(2, 13))
axis.set_xlabel("month, against the one before")
fig.colorbar(image, label="distance as a share of its threshold")
plt.tight_layout()

# %% [markdown]
# All of 2013 stays below: the thresholds were set so that the passing seasons raise no alarm. A threshold is a decision
# about false alarms, taken from data, not a constant of nature. March against July would be another matter:

# %%
{name: values for name, values in drift(3, 7).items() if values[0] > values[1]}

# %% [markdown]
# ### Exercise `distance`
#
# Write `distance(before, now)` for two columns of categories (`Series` of texts): the L-infinity distance, which is the
# largest absolute difference between the shares of one category in the two. Shares are of the values that are not
# missing; a category may occur in one of the two only.


# %% exercise="distance"
def distance(before: pd.Series, now: pd.Series) -> float:
    ### BEGIN SOLUTION
    shares = [column.dropna().value_counts(normalize=True) for column in (before, now)]
    return float(shares[0].sub(shares[1], fill_value=0.0).abs().max())
    ### END SOLUTION


# %% tests="distance" points=2
two = pd.Series(["a", "a", "b", "b"]), pd.Series(["a", "b", "b", "b"])
assert np.isclose(distance(*two), 0.25), "the share of a falls from 1/2 to 1/4: the distance is 0.25."
### BEGIN HIDDEN TESTS
assert np.isclose(distance(pd.Series(["a", "b"]), pd.Series(["a", "b"] * 50)), 0), (
    "the same shares in more rows are no drift: compare shares, not counts."
)
gone = distance(pd.Series(["a", "b", "c", "d"]), pd.Series(["a", "b", "b", "c"]))
assert np.isclose(gone, 0.25), "d has gone and b has doubled: each by 0.25, so the distance is 0.25 (not their sum)."
assert np.isclose(distance(pd.Series(["a"] * 9 + ["b"]), pd.Series(["a"])), 0.1), "b occurs only before: 0.1."
appears = distance(pd.Series(["a", "a"]), pd.Series(["a", "b", "c"]))
assert np.isclose(appears, 2 / 3), "a falls from 1 to 1/3, b and c appear: the distance is 2/3."
new = distance(pd.Series(["a", "b", "c"]), pd.Series(["d", "d", "d"]))
assert np.isclose(new, 1.0), (
    "d appears with a share of 1: a category that occurs in one of the two only counts as well."
)
missing = distance(pd.Series(["a", "b", None, None]), pd.Series(["a", "b"]))
assert np.isclose(missing, 0.0), "shares are of the values that are not missing: here both have half a, half b."
for column in ("carrier", "dest", "plane_manufacturer"):
    ours, theirs = distance(months[1][column], months[2][column]), drift(1, 2)[column][0]
    assert np.isclose(ours, theirs, atol=1e-6), f"for {column}, January to February, TFDV says {theirs}, not {ours}."
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Skew: do training and serving see the same?
#
# Back to Celsius. Suppose that in the middle of February the weather service switches, and training data is collected
# later, from an archive that has been corrected. Compare: each share of wrong temperatures, by drift (against January)
# and by skew (what was served in February against what was trained on for the same February).


# %%
def measured(kind: str, rows: pd.DataFrame) -> float:
    if kind == "drift":
        anomalies = tfdv.validate_statistics(statistics(rows), schema, previous_statistics=statistics_of[1])
        return next(i.drift_measurements[0].value for i in anomalies.drift_skew_info if i.path.step[0] == "temp")
    anomalies = tfdv.validate_statistics(statistics_of[2], schema, serving_statistics=statistics(rows))
    return next(i.skew_measurements[0].value for i in anomalies.drift_skew_info if i.path.step[0] == "temp")


shares = [0, 0.05, 0.1, 0.2, 0.5, 1]
chance = np.random.default_rng(0).random(len(february))
curves = {
    kind: [
        measured(kind, february.assign(temp=february["temp"].where(chance >= share, (february["temp"] - 32) * 5 / 9)))
        for share in shares
    ]
    for kind in ("drift", "skew")
}
fig, axis = plt.subplots(figsize=(8, 3.4))
for kind, color in (("drift", "C0"), ("skew", "C1")):
    comparator = getattr(tfdv.get_feature(schema, "temp"), f"{kind}_comparator")
    axis.plot(shares, curves[kind], "o-", color=color, label=kind)
    axis.axhline(comparator.jensen_shannon_divergence.threshold, color=color, linestyle=":")
axis.set(xlabel="share of temperatures in Celsius", ylabel="divergence; dotted: its threshold")
axis.legend()
plt.tight_layout()

# %% [markdown]
# Drift has to let winter turn into spring, so its threshold is loose, and a partial fault hides below it. Skew compares
# the same days with themselves: nothing but sampling should differ, so its threshold is tight, and it sees one wrong
# temperature in twenty. Neither replaces the other, and neither replaces the schema.
#
# In Flightdeck, StatisticsGen computes the statistics of each run, ExampleValidator writes the anomalies down, and
# DataGate stops the run on them; `flightdeck data check` does the same without a run, and `flightdeck monitor` measures
# skew and drift on what was really served.
#
# ## Check
#
# `flightdeck lab check 03`
#
# ## Take-away
#
# * An inferred schema is a proposal; the agreement is reviewed, versioned, and changed on purpose.
# * Anomaly: impossible. Drift: unusual compared with before. Skew: different from what the model learned from.
# * A threshold is a trade of missed faults against false alarms; take it from data.
#
# ## What is still missing
#
# The raw data is right. But the model does not read raw data: it reads features, which some code computes from it, in
# training and again in production. What if those are two implementations? That is lab 04.
