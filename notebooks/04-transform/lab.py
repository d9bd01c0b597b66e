# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: Transform, and training-serving skew
#     minutes: 50
# ---

# %% [markdown]
# # Lab 04: Transform, and training-serving skew
#
# **Goals.** See how two implementations of the same features diverge, and what that costs. Measure it. Then write the
# preprocessing once, with TensorFlow Transform, so that training and serving run the same graph with the same constants.
#
# **Time.** 50 minutes. **You need.** Lab 03.
#
# (TensorFlow prints a few lines about this machine when it is loaded. You can ignore them.)

# %%
import logging
import tempfile

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tensorflow as tf
import tensorflow_transform as tft
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from notebooks.slices import flights

logging.disable(logging.WARNING)  # Beam and Transform say a lot
frame = flights(1, 2, 3, rows=4000)
winter, march = frame[frame.month <= 2], frame[frame.month == 3]

# %% [markdown]
# ## 1. Two implementations
#
# A data scientist prepares the features in a notebook:

# %%
NUMBERS = ["temp", "wind_speed", "visib", "origin_recent_delay"]


def for_training(rows: pd.DataFrame) -> pd.DataFrame:
    numbers = rows[NUMBERS].fillna(winter[NUMBERS].mean())
    numbers = (numbers - winter[NUMBERS].mean()) / winter[NUMBERS].std()
    return numbers.assign(hour=rows["sched_dep_minute"] // 60 - 12)


model = LogisticRegression().fit(for_training(winter), winter["arrived_late"])

# %% [markdown]
# Months later somebody else writes the service, in another repository and perhaps another language, from a description:
# "fill missing values, standardise, hour of departure". They do it by the book, for the rows of a request:


# %%
def for_serving(rows: pd.DataFrame) -> pd.DataFrame:
    numbers = rows[NUMBERS].fillna(0.0)
    numbers = (numbers - numbers.mean()) / numbers.std().replace(0, 1)
    return numbers.assign(hour=(rows["sched_dep_minute"] / 60).round() - 12)


def quality(features: pd.DataFrame) -> dict[str, float]:
    score = model.predict_proba(features)[:, 1]
    truth = march["arrived_late"]
    return {"AUC": roc_auc_score(truth, score), "log loss": log_loss(truth, score), "mean score": score.mean()}


requests = [march.iloc[start : start + 20] for start in range(0, len(march), 20)]  # twenty flights each
served = pd.concat([for_serving(request) for request in requests])
pd.DataFrame({"as tested": quality(for_training(march)), "as served": quality(served)})

# %%
fig, axes = plt.subplots(1, 5, figsize=(13, 2.6))
for axis, column in zip(axes, served.columns, strict=True):
    axis.plot(for_training(march)[column], served[column], ".", alpha=0.2, markersize=2)
    axis.axline((0, 0), slope=1, color="black", linewidth=0.5)
    axis.set(title=column, xlabel="trained")
axes[0].set_ylabel("served")
plt.tight_layout()

# %% [markdown]
# Every point beside the line is a flight whose features in serving are not those that training would compute.
# Nothing failed. No exception, no missing value, plausible numbers everywhere. There are three mistakes in `for_serving`;
# find them before you read on.
#
# Missing values are filled with 0, which is not the mean of anything. Mean and standard deviation are those *of the
# request*, so that a flight's features depend on the other rows of the request. And the hour is rounded to the nearest
# instead of down.
#
# ### Exercise `skew`
#
# To find such a thing without reading code: log what was served, and compare it with what training computes for the
# same flights. Write `skew(trained, served, tolerance=1e-6)`. Both are tables with `flight_id` and the same feature
# columns. It returns a `Series`: for each feature column the share of flights whose value differs by more than
# `tolerance`.
#
# * Flights are matched by `flight_id`, since logs arrive in any order; those in one of the tables only are left out.
# * Two missing values are the same; a missing value and a number differ.


# %% exercise="skew"
def skew(trained: pd.DataFrame, served: pd.DataFrame, tolerance: float = 1e-6) -> pd.Series:
    ### BEGIN SOLUTION
    one, other = trained.set_index("flight_id"), served.set_index("flight_id")
    both = one.index.intersection(other.index)
    one, other = one.loc[both], other.loc[both, one.columns]
    same = ((one - other).abs() <= tolerance) | (one.isna() & other.isna())
    return (~same).mean()
    ### END SOLUTION


# %% tests="skew" points=3
learned = pd.DataFrame({"flight_id": ["a", "b", "c", "d"], "x": [1.0, 2.0, 3.0, 4.0], "y": [0.0, 0.0, np.nan, 1.0]})
asked = learned.assign(x=[1.0, 2.5, 3.0, 4.0])
assert skew(learned, asked).to_dict() == {"x": 0.25, "y": 0.0}, "x differs for one flight of four, y for none."
### BEGIN HIDDEN TESTS
assert skew(learned, learned[::-1]).sum() == 0, "the same flights in another order are no skew: match by flight_id."
gap = skew(learned, learned.assign(y=[0.0, np.nan, np.nan, 1.0]))
assert gap["y"] == 0.25, "a value that is missing on one side only is a difference."
few = skew(learned, asked[:2])
assert few["x"] == 0.5, "flights that only one side knows are left out: of a and b, one differs in x."
assert skew(learned, learned.assign(x=learned["x"] + 1e-9)).sum() == 0, "a difference below the tolerance counts."
assert skew(learned, learned.assign(x=learned["x"] + 0.01), tolerance=0.1).sum() == 0, "`tolerance` is not used."
shifted = learned.assign(x=[2.0, 1.0, 4.0, 3.0])
assert skew(learned, shifted)["x"] == 1.0, "values that moved between flights have the same mean, and all differ."
swapped = learned[["y", "flight_id", "x"]]
assert skew(learned, swapped).sum() == 0, "the same columns in another order are no skew."
### END HIDDEN TESTS

# %%
named = for_training(march).assign(flight_id=march["flight_id"])
skew(named, served.assign(flight_id=march["flight_id"]))

# %% [markdown]
# ## 2. One implementation
#
# The cure is not discipline but a single implementation. TensorFlow Transform asks for a `preprocessing_fn` of
# *tensors*. It may contain two kinds of steps. *Analyzers*, such as `tft.mean`, need all training data: they run once,
# over all of it, and what they find becomes a constant. Everything else is an ordinary graph, row by row. The result
# is that graph with the constants in it, which is saved *into* the model.
#
# This is how it is run here, on a table instead of files:

# %%
import apache_beam as beam
import tensorflow_transform.beam as tft_beam
from apache_beam.options.pipeline_options import PipelineOptions
from tensorflow_transform.tf_metadata import dataset_metadata, schema_utils

INPUTS = {"temp": tf.float32, "wind_speed": tf.float32, "sched_dep_minute": tf.float32, "carrier": tf.string}
SPEC = {name: tf.io.FixedLenFeature([], kind) for name, kind in INPUTS.items()}


def rows_of(table: pd.DataFrame) -> list[dict]:
    """Rows as Transform reads them; a missing number is NaN."""
    table = table[list(INPUTS)].assign(sched_dep_minute=table["sched_dep_minute"].astype("float32"))
    return table.to_dict("records")


def analysed(preprocessing_fn, table: pd.DataFrame) -> tft.TFTransformOutput:
    """Runs the analyzers over a table, and returns the graph."""
    folder = tempfile.mkdtemp(dir=".")
    metadata = dataset_metadata.DatasetMetadata(schema_utils.schema_from_feature_spec(SPEC))
    options = PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory", "--sdk_container_image=none"])
    with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=f"{folder}/temporary"):
        graph = (pipeline | beam.Create(rows_of(table)), metadata) | tft_beam.AnalyzeDataset(preprocessing_fn)
        _ = graph | tft_beam.WriteTransformFn(folder)
        raw = f"{folder}/{tft.TFTransformOutput.RAW_METADATA_DIR}"
        _ = metadata | tft_beam.WriteMetadata(raw, pipeline)
    return tft.TFTransformOutput(folder)


def applied(graph: tft.TFTransformOutput, table: pd.DataFrame) -> pd.DataFrame:
    """Runs the graph over a table, as training does with its batches and a service with its requests."""
    raw = {name: tf.constant(table[name].to_numpy(), kind) for name, kind in INPUTS.items()}
    return pd.DataFrame({name: value.numpy() for name, value in graph.transform_features_layer()(raw).items()})


# %% [markdown]
# ### Exercise `preprocessing`
#
# Write `preprocessing_fn(inputs)`. `inputs` maps each name of `INPUTS` to a tensor of shape `[batch]`. Return a
# dictionary of three tensors of the same shape:
#
# * `wind`: `wind_speed`, standardised by the mean and the standard deviation **of the training data**. A missing value
#   (NaN) becomes 0, which is where the mean is.
# * `carrier_id`: the index of `carrier` in the vocabulary of the training data, from 0, the most frequent first. Any
#   carrier that training has not seen gets one index of its own, the first after the vocabulary.
# * `hour`: the full hour of `sched_dep_minute`, as float32: 0.0 for minute 59, 1.0 for minute 60.
#
# `tft.scale_to_z_score` skips NaN when it analyses. `tft.compute_and_apply_vocabulary` has `num_oov_buckets`.


# %% exercise="preprocessing"
def preprocessing_fn(inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    ### BEGIN SOLUTION
    wind = tft.scale_to_z_score(inputs["wind_speed"])
    return {
        "wind": tf.where(tf.math.is_finite(wind), wind, 0.0),
        "carrier_id": tft.compute_and_apply_vocabulary(inputs["carrier"], num_oov_buckets=1),
        "hour": tf.floor(inputs["sched_dep_minute"] / 60.0),
    }
    ### END SOLUTION


# %% tests="preprocessing" points=4
graph = analysed(preprocessing_fn, winter)
features = applied(graph, winter)
assert set(features) == {"wind", "carrier_id", "hour"}, "the outputs should be wind, carrier_id and hour."
assert abs(features["wind"].mean()) < 0.02, "over the training data the mean of wind should be about 0."
### BEGIN HIDDEN TESTS
known = winter["wind_speed"].notna().to_numpy()
expected = (winter["wind_speed"] - winter["wind_speed"].mean()) / winter["wind_speed"].std(ddof=0)
assert np.allclose(features["wind"][known], expected[known], atol=1e-3), (
    "wind is not (value - mean) / standard deviation of the training data's known values."
)
alone = applied(graph, march.head(1))
assert np.allclose(alone["wind"], applied(graph, march)["wind"].head(1)), (
    "one flight alone gets another `wind` than the same flight among 4,000: the constants come from the batch, not "
    "from the training data."
)
calm = march.head(2).assign(wind_speed=np.float32(np.nan))
assert (applied(graph, calm)["wind"] == 0).all(), "a missing wind_speed should become 0 after scaling, the mean."
order = winter["carrier"].value_counts()
ids = dict(zip(winter["carrier"], features["carrier_id"], strict=True))
assert ids[order.index[0]] == 0, f"the most frequent carrier, {order.index[0]}, should have the index 0."
assert sorted(set(ids.values())) == list(range(len(order))), (
    "the carriers should have the indices from 0 on, each its own."
)
unseen = applied(graph, march.head(2).assign(carrier=["ZZ", "??"]))["carrier_id"]
assert (unseen == len(order)).all(), (
    f"carriers that training has not seen should all have the index {len(order)}, but have {unseen.tolist()}; a negative "
    "or a known index would read the wrong row of a table of embeddings."
)
assert features["hour"].dtype == "float32", "hour should be float32, as everything that the network reads."
minutes = march.head(4).assign(sched_dep_minute=[0, 59, 60, 1439])
assert applied(graph, minutes)["hour"].tolist() == [0.0, 0.0, 1.0, 23.0], "hour should be the full hour, rounded down."
### END HIDDEN TESTS

# %% [markdown]
# The same graph, asked one flight at a time and all at once:

# %%
together = applied(graph, march).assign(flight_id=march["flight_id"].to_numpy())
single = pd.concat([applied(graph, march.iloc[[place]]) for place in range(100)], ignore_index=True)
skew(together, single.assign(flight_id=march["flight_id"].to_numpy()[:100]))

# %% [markdown]
# ## 3. In Flightdeck
#
# `models/preprocessing.py` holds the one `preprocessing_fn`. The Transform component analyses the training split. The
# Trainer applies the graph in its input, and saves it with the network in one SavedModel: a request sends raw values,
# and a test compares 1,500 flights online, in batches, in a stream and as they were evaluated, one by one.
#
# One mistake is left that Transform cannot prevent: analysing the evaluation data too. Constants are learned, like
# weights, and belong to the training split alone.
#
# ## Check
#
# `flightdeck lab check 04`
#
# ## Take-away
#
# * Two implementations of one feature will differ, silently, and the model pays.
# * A feature must not depend on which other rows are asked about at the same time.
# * Save the preprocessing with its constants *inside* the model. Then there is nothing to keep in step.
# * To find skew: log what was served, and compare row by row.
#
# ## What is still missing
#
# Data, checks, Transform, training: by now there are many steps, in an order, with files between them, and you run
# them by hand. That is lab 05.
