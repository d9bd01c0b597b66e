# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: Serving, scaling, cost
#     minutes: 75
# ---

# %% [markdown]
# # Lab 10: serving, scaling, cost
#
# **Goals.** You ask a real prediction service, measure it, and read its percentiles; you say how many replicas a load
# needs, let an autoscaler follow the load, and say what that costs.
#
# **Time.** 75 minutes, of which the machine takes two.
#
# **Before.** Lab 07: a blessed, pushed model. Lab 08: pods, requests, the autoscaler's manifest.

# %%
import asyncio
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import requests
import yaml

from notebooks import small_pipeline
from notebooks.slices import flights
from operations.serving.child import serving
from operations.serving.load import drive

# %% [markdown]
# ## 1. One request
#
# `flightdeck serve` answers with the newest pushed version. It takes plain values: the preprocessing of lab 04 is in
# the SavedModel, so that the client cannot get it wrong.

# %%
small_pipeline.run("model.learning_rate=0.02", "model.epochs=4")
settings = small_pipeline.settings()
name = settings.use_case.name
frame = flights(4, rows=2000)


def load(url: str, rows: list[dict], clients: int, seconds: float):
    """What so many clients see that ask without a pause."""
    bodies = [json.dumps({"instances": [row]}).encode() for row in rows]
    with ThreadPoolExecutor(1) as beside:  # a notebook has an event loop of its own
        seen = beside.submit(asyncio.run, drive(url, bodies, clients, seconds, check=lambda answer: None)).result()
    if seen.failed:
        raise RuntimeError(f"{seen.failed} requests failed, such as: {seen.errors[0]}")
    return seen


measured, cpu_ms = {}, 0.0
with serving(name, Path(settings.pushed), settings.serving, payloads=None, log=None) as service:
    about = requests.get(f"{service.url}/v1/models/{name}/metadata", timeout=30).json()
    columns = sorted(about["metadata"]["signature_def"]["signature_def"]["predict_raw"]["inputs"])
    rows = json.loads(frame[columns].head(64).to_json(orient="records"))
    url = f"{service.url}/v1/models/{name}:predict"
    answer = requests.post(url, json={"instances": rows[:2]}, timeout=30)
    print("version", service.version, "answers", answer.status_code, answer.json())
    answer = requests.post(url, json={"instances": [{**rows[0], "distance": "far"}]}, timeout=30)
    print("and refuses", answer.status_code, answer.json())
    load(url, rows, 1, 1.0)  # the first requests are slower
    for clients in (1, 2, 4, 8):
        before = service.cpu_seconds()
        measured[clients] = load(url, rows, clients, 2.0)
        cpu_ms = (service.cpu_seconds() - before) * 1000 / max(1, len(measured[clients].milliseconds))
    exposed = requests.get(f"{service.url}/metrics", timeout=30).text

# %% [markdown]
# ## 2. How fast?
#
# With more clients the service first answers more, then only later. A mean says little: the slow ones are what people
# complain about. The 99th percentile is what 99 of 100 answers did not exceed.

# %%
for clients, seen in measured.items():
    print(
        f"{clients} clients: {seen.requests_per_second:6.0f}/s, p50 {seen.percentile(50):6.1f} ms, "
        f"p99 {seen.percentile(99):6.1f} ms, failed {seen.failed}"
    )
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8))
left.hist(measured[4].milliseconds, bins=60)
left.axvline(measured[4].percentile(50), color="black", label="p50")
left.axvline(measured[4].percentile(99), color="tab:red", label="p99")
left.set_xlabel("ms, with 4 clients")
left.set_ylabel("answers")
left.legend()
rates = [level.requests_per_second for level in measured.values()]
right.plot(rates, [level.percentile(99) for level in measured.values()], "o-")
right.set_xlabel("answers per second")
right.set_ylabel("p99, ms")
plt.tight_layout()

# %% [markdown]
# No server keeps every latency. It counts how many answers took at most 5 ms, at most 10 ms, and so on, in ever larger
# *buckets*, and a monitoring system adds up the counts of all replicas. These are the service's own:

# %%
buckets = [line for line in exposed.splitlines() if "request_seconds_bucket" in line and 'route="predict"' in line]
print("\n".join(buckets))

# %% [markdown]
# ### Exercise `quantile`
#
# Write `quantile(histograms, share)`: the latency that this share of all answers, over all replicas, did not exceed.
# Each histogram is a dict from a bucket's upper bound to the number of answers that took *at most* that long (so the
# counts grow with the bound); the last bound is `math.inf`. All replicas have the same bounds.
#
# Find the first bucket in which the count reaches `share` of all, and go as far into it as its share demands: linearly
# between its lower bound (0 for the first) and its upper one. In the last bucket nobody knows: answer its lower bound.
# Without any answer: NaN. (This is what Prometheus' `histogram_quantile` does.)


# %% exercise="quantile"
def quantile(histograms: list[dict[float, int]], share: float) -> float:
    """The latency that a share of the answers of all replicas did not exceed."""
    ### BEGIN SOLUTION
    bounds = sorted(histograms[0])
    counts = [sum(histogram[bound] for histogram in histograms) for bound in bounds]
    if not counts[-1]:
        return math.nan
    rank = share * counts[-1]
    index = next(place for place, count in enumerate(counts) if count >= rank)
    lower, below = (bounds[index - 1], counts[index - 1]) if index else (0.0, 0)
    if math.isinf(bounds[index]):
        return lower
    return lower + (bounds[index] - lower) * (rank - below) / (counts[index] - below)
    ### END SOLUTION


# %% tests="quantile" points=2
_one = {10: 50, 20: 100, math.inf: 100}
assert quantile([_one], 0.5) == 10, "Half of the answers took at most 10 ms, and the median is another."
assert abs(quantile([_one], 0.75) - 15) < 1e-9, "Three quarters lie in the middle of the second bucket: 15 ms."
### BEGIN HIDDEN TESTS
_busy, _quiet = {10: 0, 20: 0, 40: 900, math.inf: 900}, {10: 100, 20: 100, 40: 100, math.inf: 100}
_mean = (quantile([_busy], 0.5) + quantile([_quiet], 0.5)) / 2
_both = quantile([_busy, _quiet], 0.5)
assert abs(_both - _mean) > 1e-6, "Percentiles were averaged: a replica with ten times the requests counts ten times."
assert abs(_both - (20 + 20 * 400 / 900)) < 1e-9, "The median of both replicas together is another."
assert quantile([{10: 10, 20: 10, math.inf: 100}], 0.5) == 20, (
    "In the last bucket nobody knows how long it took; answer its lower bound."
)
assert math.isnan(quantile([{10: 0, math.inf: 0}], 0.9)), "Without any answer there is no percentile: NaN."
assert abs(quantile([{10: 100, math.inf: 100}], 0.1) - 1.0) < 1e-9, "The first bucket begins at 0."
### END HIDDEN TESTS

# %%
BOUNDS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, math.inf]


def histogram(milliseconds) -> dict[float, int]:
    """How many took at most so long, by bound."""
    return {bound: int((milliseconds <= bound).sum()) for bound in BOUNDS}


busy, quiet = measured[8].milliseconds, measured[1].milliseconds
print(f"two replicas, p99 of all answers:  {np.percentile(np.concatenate([busy, quiet]), 99):6.1f} ms")
print(f"from their histograms:             {quantile([histogram(busy), histogram(quiet)], 0.99):6.1f} ms")
print(f"mean of their p99:                 {(np.percentile(busy, 99) + np.percentile(quiet, 99)) / 2:6.1f} ms")

# %% [markdown]
# ## 3. How many?
#
# ### Exercise `replicas`
#
# Write `replicas(wanted, levels, p99_ms, spare)`: how many replicas answer `wanted` requests per second. `levels` is
# what was measured of one replica: a list of `(requests per second, p99 in ms)`. Count on the level with most requests
# among those whose p99 is at most `p99_ms`. So that `spare` replicas may fail at once, there are so many more. If no
# level is fast enough, more replicas do not help: raise `ValueError`.


# %% exercise="replicas"
def replicas(wanted: float, levels: list[tuple[float, float]], p99_ms: float, spare: int = 1) -> int:
    """How many replicas a load needs."""
    ### BEGIN SOLUTION
    fast = [rate for rate, p99 in levels if p99 <= p99_ms]
    if not fast:
        raise ValueError(f"No level was measured with a p99 of at most {p99_ms} ms.")
    return math.ceil(wanted / max(fast)) + spare
    ### END SOLUTION


# %% tests="replicas" points=2
_levels = [(100, 8.0), (180, 12.0), (260, 40.0)]
assert replicas(300, _levels, 15, spare=1) == 3, "2 replicas of 180 answer 300, and one may fail: 3."
### BEGIN HIDDEN TESTS
assert replicas(520, _levels, 15, spare=0) == 3, (
    "A rate is counted on at which answers take too long: within 15 ms, a replica answers 180 per second."
)
assert replicas(400, _levels, 15, spare=0) == 3, "400 requests need more than two replicas of 180, so three."
assert replicas(500, _levels, 100, spare=0) == 2, "With a loose limit, a replica answers 260 per second."
assert replicas(190, _levels, 8.0, spare=0) == 2, (
    "A p99 of exactly the limit is fast enough, and a slower level is not."
)
assert replicas(360, _levels, 12, spare=2) == 4, "Exactly two replicas' worth of load needs two, and two may fail: 4."
try:
    replicas(10, _levels, 5)
except NotImplementedError:
    raise
except ValueError:
    pass
else:
    raise AssertionError("No level is fast enough, and a number of replicas is promised nevertheless.")
### END HIDDEN TESTS

# %%
levels = [(level.requests_per_second, level.percentile(99)) for level in measured.values()]
limit = 1.2 * min(p99 for _, p99 in levels)
for wanted in (500, 2000, 10_000):
    count = replicas(wanted, levels, limit)
    print(f"{wanted:6,} requests per second with a p99 below {limit:.0f} ms: {count} replicas")
PRICE = 0.04  # dollars for an hour of a core: about what clouds ask; put in what yours asks
hours = 1e6 * cpu_ms / 3.6e6
print(f"{cpu_ms:.1f} ms of processor time per request: a million takes {hours:.1f} core-hours, ${hours * PRICE:.2f}")

# %% [markdown]
# ## 4. An autoscaler
#
# The load is not the same at night. Kubernetes' HorizontalPodAutoscaler looks at the mean utilisation of the pods:

# %%
scaling = small_pipeline.ROOT / "deploy/kubernetes/components/serving-tfserving/scaling.yaml"
manifests = yaml.safe_load_all(scaling.read_text())
scaler = next(manifest for manifest in manifests if manifest["kind"] == "HorizontalPodAutoscaler")["spec"]
print(yaml.safe_dump({key: scaler[key] for key in ("minReplicas", "maxReplicas", "metrics", "behavior")}))

# %% [markdown]
# ### Exercise `desired`
#
# Write `desired(current, utilisation, target, lowest, highest, recent)`:
#
# 1. the *recommendation* is `current * utilisation / target`, rounded up; but `current`, if `utilisation / target` is
#    within 0.1 of 1. Beware: with floating-point numbers `3 * 0.8 / 0.6` is 4.000000000000001, and 4 are enough;
# 2. it is kept between `lowest` and `highest`;
# 3. if it is more than `current`, it is the result. Else scaling down waits: `recent` are the recommendations of the
#    last minutes, this one not among them, and the result is the largest of them and the new one, but at most
#    `current`.
#
# Return `(result, recommendation)`.


# %% exercise="desired"
def desired(
    current: int, utilisation: float, target: float, lowest: int, highest: int, recent: list[int]
) -> tuple[int, int]:
    """How many replicas there should be now, and what is recommended."""
    ### BEGIN SOLUTION
    ratio = utilisation / target
    recommended = current if abs(ratio - 1) <= 0.1 else math.ceil(current * ratio - 1e-9)
    recommended = min(max(recommended, lowest), highest)
    if recommended >= current:
        return recommended, recommended
    return min(current, max([recommended, *recent])), recommended
    ### END SOLUTION


# %% tests="desired" points=2
assert desired(4, 0.9, 0.6, 1, 10, []) == (6, 6), "At 90 % with a target of 60 %, 4 replicas should be 6."
assert desired(4, 0.63, 0.6, 1, 10, []) == (4, 4), "Within a tenth of the target nothing changes."
assert desired(4, 0.545, 0.5, 1, 10, []) == (4, 4), "Within a tenth of the target nothing changes."
### BEGIN HIDDEN TESTS
assert desired(3, 0.8, 0.6, 1, 10, [])[0] == 4, "Exactly 4 replicas are recommended, and it is another number."
assert desired(3, 0.75, 0.6, 1, 10, [])[0] == 4, "3.75 replicas are rounded up: rounding down leaves them overloaded."
assert desired(4, 0.9, 0.6, 1, 5, [])[0] == 5, "There may be at most `highest`."
assert desired(4, 0.05, 0.6, 2, 10, []) == (2, 2), "There must be at least `lowest`."
assert desired(6, 0.2, 0.6, 1, 10, [5, 6, 4])[0] == 6, (
    "It scales down although more was recommended minutes ago: replicas would come and go with every breath."
)
assert desired(6, 0.2, 0.6, 1, 10, [5, 6, 4])[1] == 2, "The recommendation is that of now, whatever was said before."
assert desired(6, 0.2, 0.6, 1, 10, [3, 2, 4])[0] == 4, "It waits for the largest recent recommendation, not for ever."
assert desired(4, 0.9, 0.6, 1, 10, [9, 9])[0] == 6, "Scaling up follows the recommendation of now alone."
assert desired(4, 0.3, 0.6, 1, 10, [9])[0] == 4, "Scaling down never adds replicas."
### END HIDDEN TESTS

# %% [markdown]
# A day, minute by minute, with a rush in the evening, under that manifest:

# %%
minutes = np.arange(24 * 60)
asked = 120 + 60 * np.sin((minutes - 500) / 1440 * 2 * np.pi) + 220 * np.exp(-(((minutes - 1110) / 60) ** 2))
per_replica, now, history, running = 100.0, 2, [], []
patience = scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] // 60
for rate in asked:
    used = min(1.0, rate / (now * per_replica))
    now, recommendation = desired(now, used, 0.7, scaler["minReplicas"], scaler["maxReplicas"], history[-patience:])
    history.append(recommendation)
    running.append(now)
figure, axis = plt.subplots(figsize=(9, 2.6))
axis.plot(minutes / 60, asked / per_replica, label="load, in replicas")
axis.step(minutes / 60, running, label="replicas")
axis.set_xlabel("hour")
axis.set_ylabel("replicas")
axis.legend()
plt.tight_layout()
fixed = math.ceil(asked.max() / per_replica / 0.7)
for way, hours in {"as many as the load needs": sum(running) / 60, "always as many as in the rush": fixed * 24}.items():
    print(f"{way:30} {hours:4.0f} replica-hours, with a core each ${hours * PRICE:.2f} a day")

# %% [markdown]
# ## Check
#
# `flightdeck lab check 10`. `flightdeck serve bench --load 2000` measures and plans with this machine's numbers.
#
# ## Take-away
#
# Measure one replica under the load that it will have, promise a percentile and not a mean, pay for spare ones, and
# let the rest follow the load, scaling down slowly.
#
# ## What is still missing
#
# The service answers, fast and cheaply. Whether its answers are still right, it cannot know: lab 11.
