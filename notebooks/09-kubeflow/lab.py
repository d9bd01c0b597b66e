# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: Kubeflow Pipelines and the GPU trainer
#     minutes: 60
# ---

# %% [markdown]
# # Lab 09: Kubeflow Pipelines and the GPU trainer
#
# **Goals.** You can read what the pipeline becomes when it is compiled for a cluster: tasks, dependencies, images,
# resources. You put one node on a GPU, and only that one. You work out how long a run takes, and why Flightdeck lets
# neighbours share a container.
#
# **Time.** 60 minutes. No cluster is needed: everything here is done before there is one.
#
# **Before.** Lab 05 (the pipeline), lab 08 (images, pods, taints).

# %%
import copy
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import yaml

import notebooks

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow says about this machine is not the subject
from flightdeck.settings import read_settings
from pipeline import node
from pipeline.runners.kubeflow import compile_pipeline  # loads TensorFlow and TFX: ten seconds or more

# %% [markdown]
# ## 1. One definition, compiled
#
# `pipeline/definition.py` builds the pipeline once. On your machine each node runs in a process of its own. For a cluster
# it is *compiled*: to TFX's intermediate representation, which says everything about the nodes, and to a Kubeflow
# pipeline around it, which says what the cluster has to know: which containers, in which order, with what. Kubeflow
# schedules, and inside each container TFX launches its nodes as it does everywhere. `flightdeck kubeflow compile` does
# what this cell does.

# %%
ROOT = Path(notebooks.__file__).resolve().parents[1]
CONFIG = ROOT / "config/kubeflow.yaml"
FOLDER = Path(tempfile.mkdtemp())


def compiled(*overrides: str, one_task_per_node: bool = False) -> tuple[dict, dict]:
    """The two YAML documents of the compiled pipeline: Kubeflow's, and what only Kubernetes needs to know."""
    settings = read_settings(CONFIG, list(overrides))
    compile_pipeline(settings, FOLDER / "pipeline.yaml", one_task_per_node)
    spec, platform = yaml.safe_load_all((FOLDER / "pipeline.yaml").read_text())
    return spec, platform


spec, platform = compiled()
print("parameters:", ", ".join(spec["root"]["inputDefinitions"]["parameters"]))
print(yaml.safe_dump(spec["root"]["dag"]["tasks"]["trainer"], width=110)[:420])

# %% [markdown]
# The parameter `ir` carries the intermediate representation. It can be unpacked again:

# %%
carried = spec["root"]["inputDefinitions"]["parameters"]["ir"]["defaultValue"]
print(f"{len(carried):,} characters:", carried[:60], "...")
print("nodes:", ", ".join(node.node_ids(node.decode(carried))))

# %% [markdown]
# ### Exercise `asks`
#
# Write `asks(spec, platform)`: what each task asks of the cluster, as a dict from the task's name to
#
#     {"after": {names of the tasks it waits for}, "image": ..., "gpus": number, "selector": {node labels}}
#
# - Tasks are in `spec["root"]["dag"]["tasks"]`; what they wait for is in `dependentTasks`, which may be missing.
# - A task has a component (`componentRef.name`), the component an `executorLabel` (`spec["components"]`), and the
#   label leads to the container (`spec["deploymentSpec"]["executors"]`) and to what Kubernetes needs to know
#   (`platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]`). Follow the references; names are no
#   promise.
# - GPUs are counted in `container.resources.accelerator.resourceCount`, labels are in `nodeSelector.labels`. Most
#   tasks have neither: 0, and an empty dict.


# %% exercise="asks"
def asks(spec: dict, platform: dict) -> dict[str, dict]:
    """What each task waits for, and what it asks of the cluster."""
    ### BEGIN SOLUTION
    executors = spec["deploymentSpec"]["executors"]
    places = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    requirements = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = executors[label]["container"]
        requirements[name] = {
            "after": set(task.get("dependentTasks", ())),
            "image": container["image"],
            "gpus": int(container.get("resources", {}).get("accelerator", {}).get("resourceCount", 0)),
            "selector": places.get(label, {}).get("nodeSelector", {}).get("labels", {}),
        }
    return requirements
    ### END SOLUTION


# %% tests="asks" points=2
_asked = asks(copy.deepcopy(spec), copy.deepcopy(platform))
assert set(_asked) == {"data", "transform", "trainer", "release"}, "Not every task of the pipeline is there."
assert _asked["data"]["after"] == set(), "The first task waits for nothing."
### BEGIN HIDDEN TESTS
assert _asked["trainer"]["after"] == {"data", "transform"}, "The trainer waits for the data and for Transform."
assert (_asked["trainer"]["gpus"], _asked["data"]["gpus"]) == (1, 0), "The trainer, and only it, asks for one GPU."
assert _asked["trainer"]["selector"] == {"flightdeck.dev/pool": "gpu"}, "The node labels of the trainer are missing."
assert (_asked["trainer"]["image"], _asked["data"]["image"]) == ("flightdeck:latest-gpu", "flightdeck:latest"), (
    "The image of a task is not that of its container."
)
assert _asked["transform"]["selector"] == {}, "A task that says nothing of nodes has no labels: an empty dict."
_other, _place = copy.deepcopy(spec), copy.deepcopy(platform)
_components = _other["components"]
_components["comp-trainer"]["executorLabel"], _components["comp-data"]["executorLabel"] = "exec-data", "exec-trainer"
_asked = asks(_other, _place)
assert (_asked["data"]["gpus"], _asked["trainer"]["gpus"]) == (1, 0), (
    "The executor was guessed from the task's name; follow componentRef and executorLabel."
)
assert _asked["data"]["selector"] == {"flightdeck.dev/pool": "gpu"}, (
    "The executor was guessed from the task's name; follow componentRef and executorLabel."
)
_other["deploymentSpec"]["executors"]["exec-trainer"]["container"]["resources"]["accelerator"]["resourceCount"] = "4"
assert asks(_other, _place)["data"]["gpus"] == 4, "The number of GPUs is not the one in the file."
### END HIDDEN TESTS

# %%
for name, asked in asks(spec, platform).items():
    after = ", ".join(sorted(asked["after"])) or "-"
    print(f"{name:10} after {after:16} {asked['image']:24} {asked['gpus']} GPUs {asked['selector']}")

# %% [markdown]
# ## 2. The GPU trainer
#
# Component code never mentions Kubernetes. Where a node runs is a setting of the Kubeflow runner:

# %%
print(yaml.safe_dump(yaml.safe_load(CONFIG.read_text())["kubeflow"]["resources"], sort_keys=False))

# %% [markdown]
# Four things must agree, and each failure looks different:
#
# | missing | what happens |
# |---|---|
# | `gpus` | the pod lands on the GPU node, and on GKE sees no GPU there; elsewhere it may see all, uncounted |
# | `tolerations` | the pod waits for ever: the taint keeps it out |
# | `node_selector` | with a toleration alone it takes any node with a GPU, also one of a dearer kind |
# | an image with CUDA | TensorFlow finds no GPU and says so in a log that nobody reads |
#
# The last one is why `model.accelerator` exists: `required` makes the Trainer fail at once instead of training for
# hours on a processor. An idle GPU is the most expensive machine there is, so only the Trainer may have one,
# and the pool shrinks to zero when nothing trains.
#
# ### Exercise `on-gpus`
#
# Somebody rents nodes labelled `accelerator=POOL` with the taint `TAINT` (any value, `NoSchedule`). Write
# `on_gpus(count, pool, taint)`: the overrides, as for `--set`, with which the Trainer gets `count` GPUs there and the
# image `flightdeck:cuda`, fails where it finds none, and everything else stays as it is in `config/kubeflow.yaml`.
# An override is a string `key=value`; the value is YAML. A section that is written as a whole,
# `kubeflow.resources.Trainer={...}`, takes the place of the old one with all its keys; key by key, as in
# `kubeflow.resources.Trainer.cpu=8`, the others stay. `flightdeck config schema` explains every key.


# %% exercise="on-gpus"
def on_gpus(count: int, pool: str, taint: str) -> list[str]:
    """Overrides of the settings that put the Trainer, and nothing else, on GPUs."""
    ### BEGIN SOLUTION
    trainer = "kubeflow.resources.Trainer"
    return [
        "model.accelerator=required",
        f"{trainer}.image=flightdeck:cuda",
        f"{trainer}.gpus={count}",
        f"{trainer}.node_selector={{accelerator: {pool}}}",
        f"{trainer}.tolerations=[{{key: {taint}, operator: Exists, effect: NoSchedule}}]",
    ]
    ### END SOLUTION


# %% tests="on-gpus" points=2
_overrides = on_gpus(2, "a100", "example.com/dear")
_settings = read_settings(CONFIG, list(_overrides))
_spec, _platform = compiled(*_overrides)
_executors = _spec["deploymentSpec"]["executors"]
_places = _platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
_with = [name for name, executor in _executors.items() if "accelerator" in executor["container"].get("resources", {})]
assert "exec-trainer" in _with, "The Trainer gets no GPU."
### BEGIN HIDDEN TESTS
assert _with == ["exec-trainer"], "Not only the Trainer gets a GPU: the others would idle on it."
assert _executors["exec-trainer"]["container"]["resources"]["accelerator"]["resourceCount"] == "2", (
    "The Trainer does not get as many GPUs as were asked for."
)
_tolerated = _places["exec-trainer"].get("tolerations", [])
_keys = [
    toleration.get("key")
    for toleration in _tolerated
    if toleration.get("operator") == "Exists" and not toleration.get("value")
]
assert "example.com/dear" in _keys, (
    "The Trainer does not tolerate the taint, whatever its value: its pod would wait for ever."
)
assert _places["exec-trainer"].get("nodeSelector", {}).get("labels") == {"accelerator": "a100"}, (
    "The Trainer is not sent to the nodes of that pool."
)
_others = [place for name, place in _places.items() if name != "exec-trainer"]
assert not any("nodeSelector" in place or "tolerations" in place for place in _others), (
    "Other tasks than the Trainer's are sent to the GPU nodes."
)
_image = _executors["exec-trainer"]["container"]["image"]
assert _image == "flightdeck:cuda", "The Trainer's image has no CUDA libraries."
assert _executors["exec-data"]["container"]["image"] == "flightdeck:latest", "The other tasks' image has changed."
_asked, _usual = _settings.kubeflow.resources["Trainer"], read_settings(CONFIG, []).kubeflow.resources["Trainer"]
assert (_asked.cpu, _asked.memory) == (_usual.cpu, _usual.memory), (
    "The Trainer asks for other processors or memory than in the file: a section that is written as a whole replaces it."
)
assert _settings.model.accelerator == "required", (
    "Without a GPU, the Trainer would train on the processor and not fail."
)
### END HIDDEN TESTS

# %%
for name, asked in asks(*compiled(*on_gpus(2, "l4", "example.com/gpu"))).items():
    print(f"{name:10} {asked['image']:24} {asked['gpus']} GPUs {asked['selector']}")

# %% [markdown]
# ## 3. How long does a run take?
#
# Tasks that do not wait for each other run at the same time, so a run takes as long as its longest chain, the
# *critical path*. Each task also pays for a container: pulling the image, starting Python, loading TensorFlow and TFX.
#
# ### Exercise `finished`
#
# Write `finished(after, seconds, start)`: when each task ends, in seconds from the beginning. A task starts when all
# those that it waits for have ended; it then takes `start` seconds for its container, and its own `seconds`. The
# cluster has room for all. Tasks come in no particular order.


# %% exercise="finished"
def finished(after: dict[str, set[str]], seconds: dict[str, float], start: float) -> dict[str, float]:
    """When each task ends."""
    ### BEGIN SOLUTION
    ended: dict[str, float] = {}

    def end(task: str) -> float:
        if task not in ended:
            ended[task] = max((end(earlier) for earlier in after[task]), default=0.0) + start + seconds[task]
        return ended[task]

    return {task: end(task) for task in after}
    ### END SOLUTION


# %% tests="finished" points=2
_after = {"push": {"train", "check"}, "check": {"read"}, "read": set(), "train": {"read"}}
_seconds = {"read": 5, "check": 1, "train": 30, "push": 2}
_ends = finished(_after, _seconds, 0)
assert _ends["push"] != 38, "Tasks that do not wait for each other were put one after the other."
assert _ends == {"read": 5, "check": 6, "train": 35, "push": 37}, (
    "A task starts when the last of those that it waits for has ended."
)
### BEGIN HIDDEN TESTS
_ends = finished(_after, _seconds, 10)
assert _ends["read"] == 15, "The first task has a container to start as well."
assert _ends == {"read": 15, "check": 26, "train": 55, "push": 67}, "Every task pays for its own container."
### END HIDDEN TESTS

# %% [markdown]
# The seconds of a run of all data (from Flightdeck's README), with 20 seconds assumed for each container, once with
# one container per node and once with neighbours sharing one.

# %%
measured = {
    "CuratedSchema": 0.3, "SpanExampleGen": 7.1, "StatisticsGen": 13.5, "ExampleValidator": 0.3, "SchemaGen": 0.2,
    "DataGate": 0.2, "Transform": 18.9, "Trainer": 30.6, "Champion": 0.0, "InfraValidator": 6.0, "Scores": 6.2,
    "Evaluator": 16.0, "Pusher": 0.1,
}  # fmt: skip


def members(spec: dict) -> dict[str, list[str]]:
    """The nodes of each task: what its container is told to run."""
    nodes = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        label = spec["components"][task["componentRef"]["name"]]["executorLabel"]
        arguments = spec["deploymentSpec"]["executors"][label]["container"]["args"]
        nodes[name] = arguments[arguments.index("--nodes") + 1 : arguments.index("--window")]
    return nodes


figure, axes = plt.subplots(2, 1, figsize=(9, 5), sharex=True, height_ratios=[13, 4])
ways = {"one container per node": compiled(one_task_per_node=True), "neighbours share one": (spec, platform)}
for axis, (title, documents) in zip(axes, ways.items(), strict=True):
    seconds = {name: sum(measured[node] for node in nodes) for name, nodes in members(documents[0]).items()}
    ends = finished({name: asked["after"] for name, asked in asks(*documents).items()}, seconds, start=20.0)
    for name in sorted(ends, key=ends.get, reverse=True):
        begun = ends[name] - seconds[name] - 20
        axis.barh(name, 20, left=begun, color="0.85")
        axis.barh(name, seconds[name], left=begun + 20, color="tab:blue")
    axis.set_title(f"{title}: {max(ends.values()):.0f} s, {len(ends)} containers", fontsize=10)
    axis.tick_params(axis="y", labelsize=7)
axes[1].set_xlabel("seconds; grey: the container")
plt.tight_layout()

# %% [markdown]
# ## Check
#
# `flightdeck lab check 09`. Then: which single task would you speed up to make the run shorter, and by how much at
# most?
#
# ## Take-away
#
# The cluster is told containers, order and resources; what a node does, it is not told. That is why the same
# definition runs on a laptop. Most of a small run on a cluster is containers that start.
#
# ## What is still missing
#
# The pipeline ends with a pushed model. Somebody has to answer requests with it: lab 10.
