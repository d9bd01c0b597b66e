# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: "The TFX pipeline: artifacts, metadata, caching (level 1)"
#     minutes: 75
# ---

# %% [markdown]
# # Lab 05: the TFX pipeline: artifacts, metadata, caching
#
# **Goals.** You run a pipeline instead of cells in an order that only you know. You can say what it made, out of what,
# and by what; and you can predict what runs again after a change.
#
# **Time.** 75 minutes, of which the machine takes three.
#
# **Before.** Labs 03 and 04: data validation, and one preprocessing for training and serving. Here they become some of
# thirteen nodes. This is *level 1* of MLOps: what is deployed is no longer a model, but the pipeline that makes
# models.

# %%
import hashlib
import json
from pathlib import Path

import matplotlib.pyplot as plt
import ml_metadata
from ml_metadata.proto import metadata_store_pb2

from ledger.outputs import executions_of_run, outputs_of_run
from notebooks import small_pipeline

WORKSPACE = Path("workspace").resolve()

# %% [markdown]
# ## 1. A run
#
# The pipeline is defined once, in `pipeline/definition.py`. `flightdeck run` runs each node when those it waits for have ended: read the
# months, compute statistics, validate, transform, train, evaluate, try to serve, push. Three months of 2,000 flights
# each, so that it takes a minute: January and February to learn from, March to be judged on.

# %%
first = small_pipeline.run(workspace=WORKSPACE)
print("pushed as version", first["version"])
print({name: round(value, 3) for name, value in first["metrics"].items()})

# %% [markdown]
# ## 2. What it left behind
#
# Each node took *artifacts* and made artifacts: files in a folder of their own, never changed again. Who made what out
# of what is in *ML Metadata*, a database of artifacts, of *executions* (a node that ran once), and of *events* (this
# artifact was the input, or the output, of this execution).

# %%
metadata = small_pipeline.metadata(WORKSPACE)
executions = executions_of_run(metadata, first["run_id"])
made_by: dict[int, tuple[str, str]] = {}
for node, outputs in outputs_of_run(metadata, first["run_id"]).items():
    for key, artifact in outputs.items():
        made_by.setdefault(artifact.artifact_id, (node, key))  # a later node may pass it on, as Champion does
inputs: dict[str, set[str]] = {node: set() for node in executions}
for node, execution in executions.items():
    for event in metadata.get_events_by_execution_ids([execution.id]):
        if event.type == metadata_store_pb2.Event.INPUT and event.artifact_id in made_by:
            inputs[node].add(made_by[event.artifact_id][0])
for node, before in inputs.items():
    print(f"{node:16} <- {', '.join(sorted(before)) or 'nothing of this run'}")

# %%
model = next(artifact for artifact, origin in made_by.items() if origin == ("Trainer", "model"))
folder = Path(metadata.get_artifacts_by_id([model])[0].uri)
print("artifact", model, "is", folder.relative_to(WORKSPACE))
for path in sorted(folder.rglob("*"))[:8]:
    print("  ", path.relative_to(folder))

# %% [markdown]
# ### Exercise `ancestors`
#
# A model has done damage. What was it made of? Write `ancestors(store, artifact_id)`: the ids of all artifacts that an
# artifact was made from, directly or through others, without itself. The events know:
#
# - `store.get_events_by_artifact_ids([id])`: those with `type == OUTPUT` say which executions made it
#   (`event.execution_id`);
# - `store.get_events_by_execution_ids([id])`: those with `type == INPUT` say what an execution took
#   (`event.artifact_id`).
#
# An artifact that comes from the cache is the output of several executions.

# %%
INPUT, OUTPUT = metadata_store_pb2.Event.INPUT, metadata_store_pb2.Event.OUTPUT


# %% exercise="ancestors"
def ancestors(store: ml_metadata.MetadataStore, artifact_id: int) -> set[int]:
    """The ids of all artifacts that this one was made from."""
    ### BEGIN SOLUTION
    reached: set[int] = set()
    waiting = [artifact_id]
    while waiting:
        made = [event for event in store.get_events_by_artifact_ids([waiting.pop()]) if event.type == OUTPUT]
        taken = store.get_events_by_execution_ids({event.execution_id for event in made}) if made else []
        new = {event.artifact_id for event in taken if event.type == INPUT} - reached
        reached |= new
        waiting += new
    return reached - {artifact_id}
    ### END SOLUTION


# %% tests="ancestors" points=2
def _example_store():
    """A store in which two runs share their data: the second took it from the cache."""
    config = metadata_store_pb2.ConnectionConfig()
    config.fake_database.SetInParent()
    store = ml_metadata.MetadataStore(config)
    of_artifacts = store.put_artifact_type(metadata_store_pb2.ArtifactType(name="Thing"))
    of_executions = store.put_execution_type(metadata_store_pb2.ExecutionType(name="Node"))

    def artifact():
        return store.put_artifacts([metadata_store_pb2.Artifact(type_id=of_artifacts)])[0]

    def execution(taken, made):
        (ran,) = store.put_executions([metadata_store_pb2.Execution(type_id=of_executions)])
        kinds = [(taken_id, INPUT) for taken_id in taken] + [(made_id, OUTPUT) for made_id in made]
        store.put_events([metadata_store_pb2.Event(artifact_id=a, execution_id=ran, type=kind) for a, kind in kinds])

    things = {name: artifact() for name in ("data", "schema", "statistics", "graph", "model", "other model", "score")}
    execution([], [things["data"]])
    execution([], [things["data"]])  # from the cache
    execution([], [things["schema"]])
    execution([things["data"]], [things["statistics"]])
    execution([things["data"], things["schema"]], [things["graph"]])
    execution([things["data"], things["graph"]], [things["model"]])
    execution([things["data"], things["graph"]], [things["model"]])  # from the cache
    execution([things["data"], things["graph"]], [things["other model"]])
    execution([things["model"], things["data"]], [things["score"]])
    return store, things


_store, _things = _example_store()
_names = {number: name for name, number in _things.items()}
_ancestors = {_names[number] for number in ancestors(_store, _things["model"])}
assert "schema" in _ancestors, "The schema is behind the model, through the transform graph: go on from what you find."
### BEGIN HIDDEN TESTS
assert "model" not in _ancestors, "An artifact is not its own ancestor."
assert not _ancestors & {"statistics", "other model", "score"}, (
    "What was made of the same data, or out of the model, is not what the model was made of."
)
assert _ancestors == {"data", "graph", "schema"}, "Not every ancestor was found."
assert ancestors(_store, _things["data"]) == set(), "What no node made from anything has no ancestors."
assert ancestors(metadata, model) == {
    artifact
    for artifact, origin in made_by.items()
    if origin[0] in ("SpanExampleGen", "CuratedSchema", "Transform")
    and origin[1] in ("examples", "schema", "transform_graph")
}, "Of the real run, not exactly the examples, the schema and the transform graph were found."
### END HIDDEN TESTS

# %%
for artifact in metadata.get_artifacts_by_id(sorted(ancestors(metadata, model))):
    print(f"{artifact.id:3} {artifact.type:18} {artifact.uri.removeprefix(str(WORKSPACE))}")

# %% [markdown]
# ## 3. The cache
#
# The same again:

# %%
second = small_pipeline.run(workspace=WORKSPACE)

# %% [markdown]
# Nothing was computed. Before a node runs, TFX looks for an earlier execution with the same *inputs* and the same
# *settings*, and takes its outputs. That is safe only if everything the result depends on is part of the question, and
# TFX by itself would not notice that a function has changed. So Flightdeck adds the *code*: a digest of the modules
# behind `preprocessing_fn` and `run_fn`.
#
# ### Exercise `key`
#
# Write `key(node, inputs, settings, code)`: a text that stands for all a result depends on.
#
# - The same question gives the same key, in every process and on every day. The order in which a dict was filled is
#   not part of the question.
# - Any other node, input, setting or code gives another key. Beware of `"ab" + "c"` and `"a" + "bc"`, and of the
#   number `1` and the text `"1"`.


# %% exercise="key"
def key(node: str, inputs: dict[str, list[int]], settings: dict, code: str) -> str:
    """A key for the cache: node's name, artifact ids by input, settings, and digest of the code."""
    ### BEGIN SOLUTION
    question = json.dumps([node, inputs, settings, code], sort_keys=True)
    return hashlib.sha256(question.encode()).hexdigest()
    ### END SOLUTION


# %% tests="key" points=2
_inputs, _settings = {"examples": [2], "graph": [7]}, {"epochs": 2, "rate": 0.1}
_asked = {"node": "Trainer", "inputs": _inputs, "settings": _settings, "code": "c1"}
assert isinstance(key(**_asked), str), "The key is not a text."
assert key(**_asked) != key(**{**_asked, "settings": {"epochs": 3, "rate": 0.1}}), "Another setting has the same key."
### BEGIN HIDDEN TESTS
assert key(**_asked) == key(**{**_asked, "settings": {"rate": 0.1, "epochs": 2}}), (
    "The order in which settings were written changes the key: nothing would ever come from the cache."
)
_deep, _turned = ({"model": dict(pairs)} for pairs in ([("a", 1), ("b", 2)], [("b", 2), ("a", 1)]))
assert key(**{**_asked, "settings": _deep}) == key(**{**_asked, "settings": _turned}), (
    "The order of settings inside of a section changes the key: nothing would ever come from the cache."
)
assert key(**_asked) == key(**{**_asked, "inputs": {"graph": [7], "examples": [2]}}), (
    "The order of the inputs' names changes the key: nothing would ever come from the cache."
)
import builtins as _builtins

_usual, _before = hash, key(**_asked)
_builtins.hash = lambda value: _usual((value, "another process"))
try:
    assert key(**_asked) == _before, "hash() of a text differs from process to process, and so does the key."
finally:
    _builtins.hash = _usual
for _what, _other in {
    "node": {"node": "Tuner"},
    "input": {"inputs": {"examples": [3], "graph": [7]}},
    "order of the artifacts of one input": {"inputs": {"examples": [2, 3], "graph": [7]}},
    "code": {"code": "c2"},
    "setting of another type": {"settings": {"epochs": "2", "rate": 0.1}},
    "name of an input": {"inputs": {"example": [2], "graph": [7]}},
}.items():
    _same = key(**_asked) == key(**{**_asked, **_other})
    assert not _same, f"Another {_what} has the same key: a stale result would be used."
assert key("a", {}, {}, "bc") != key("ab", {}, {}, "c"), "Where one part ends and the next begins is not in the key."
### END HIDDEN TESTS

# %%
print(key("Trainer", {"examples": [2], "graph": [7]}, {"model": {"epochs": 2}}, "5e1f"))

# %% [markdown]
# ## 4. What runs again
#
# A node that runs makes a new artifact, with a new id. So whatever takes that artifact is asked a new question, too.
#
# ### Exercise `reruns`
#
# Write `reruns(inputs, changed)`: the nodes that run again when the settings or the code of the nodes in `changed`
# have changed. `inputs` says from which nodes each node takes artifacts, as it was printed above.


# %% exercise="reruns"
def reruns(inputs: dict[str, set[str]], changed: set[str]) -> set[str]:
    """Everything that cannot come from the cache."""
    ### BEGIN SOLUTION
    running = set(changed)
    while True:
        more = {node for node, before in inputs.items() if before & running} - running
        if not more:
            return running
        running |= more
    ### END SOLUTION


# %% tests="reruns" points=2
_chain = {"read": set(), "check": {"read"}, "change": {"read"}, "train": {"change"}, "judge": {"train", "read"}}
assert reruns(_chain, {"judge"}) == {"judge"}, "What nothing depends on runs again alone."
### BEGIN HIDDEN TESTS
assert reruns(_chain, set()) == set(), "Nothing has changed, and something is said to run."
assert "judge" in reruns(_chain, {"change"}), "A node two steps behind the change runs again as well."
assert reruns(_chain, {"change"}) == {"change", "train", "judge"}, (
    "What lies before the change, or beside it, comes from the cache."
)
assert reruns(_chain, {"check", "train"}) == {"check", "train", "judge"}, "Several nodes may have changed."
_backwards = dict(reversed(_chain.items()))
assert reruns(_backwards, {"read"}) == set(_chain), "The order in which nodes are listed decides what is found."
_given = {"train"}
reruns(_chain, _given)
assert _given == {"train"}, "The set that was given has been changed."
### END HIDDEN TESTS

# %% [markdown]
# Your prediction for another learning rate and more epochs, which are settings of the Trainer alone, and what really
# happens:

# %%
predicted = reruns(inputs, {"Trainer"})
third = small_pipeline.run("model.learning_rate=0.02", "model.epochs=4", workspace=WORKSPACE)
print("predicted:", ", ".join(sorted(predicted)))
print("ran:      ", ", ".join(sorted(node["node_id"] for node in third["nodes"] if node["state"] != "cached")))

# %%
figure, axis = plt.subplots(figsize=(9, 3.2))
names = [node["node_id"] for node in first["nodes"]]
for offset, (label, summary) in enumerate(
    {"first": first, "the same again": second, "other settings of the Trainer": third}.items()
):
    seconds = {node["node_id"]: node["seconds"] for node in summary["nodes"]}
    places = [place + offset * 0.27 for place in range(len(names))]
    axis.bar(places, [seconds[name] for name in names], 0.27, label=label)
axis.set_xticks([place + 0.27 for place in range(len(names))], names, rotation=40, ha="right", fontsize=8)
axis.set_ylabel("seconds")
axis.legend()
plt.tight_layout()

# %% [markdown]
# One node may differ: `Champion` looks up the model that was blessed last, and the world has changed since the first
# run, although the code has not. Such a node asks again every time.
#
# ## Check
#
# `flightdeck lab check 05`. Then predict, before you try it: what runs again after
# `small_pipeline.run("features.heavy_tailed=[]", workspace=WORKSPACE)`?
#
# ## Take-away
#
# Artifacts that never change, and a record of what was made of what: from these two come lineage ("what is in this
# model?"), caching ("what need not be done again?"), and resuming after a crash, which is caching, too.
#
# ## What is still missing
#
# We now have two models and a feeling that the second is better. Lab 06 makes it a finding: tune, track, compare,
# reproduce.
