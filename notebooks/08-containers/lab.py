# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
#   lab:
#     title: Containers, pods, clusters and registries, from zero
#     minutes: 60
# ---

# %% [markdown]
# # Lab 08: containers, pods, clusters and registries, from zero
#
# **Goals.** You can say what a container, an image, a registry, a pod, a service, a namespace and a node are, and what
# each of them promises. You build an image's layer by hand, find a service that reaches nobody, and place pods as a
# scheduler does.
#
# **Time.** 60 minutes. Nothing is installed and nothing is started; Docker is not needed.
#
# **Before.** Lab 05: a pipeline that runs on your machine. Here we ask what it takes to run on somebody else's.

# %%
import copy
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import kubernetes_validate
import matplotlib.pyplot as plt
import yaml

import notebooks

ROOT = Path(notebooks.__file__).resolve().parents[1]

# %% [markdown]
# ## 1. A container is a process
#
# There is no box. A container is an ordinary process to which the kernel shows less: its own files, its own list of
# processes, its own network. Each such view is a *namespace*, and every process is in one of each kind, also this
# notebook. Two processes in the same container are in the same ones. How much processor and memory a process may use
# is the business of another part of the kernel, *cgroups*.

# %%
if sys.platform == "linux":
    for kind in ("mnt", "pid", "net", "user"):
        print(f"{kind:5} {os.readlink(f'/proc/self/ns/{kind}')}")
    print("cgroup", Path("/proc/self/cgroup").read_text().splitlines()[-1])
else:
    print("Namespaces belong to Linux. On a Mac, containers run in a small Linux machine.")

# %% [markdown]
# ## 2. An image is a list of archives
#
# The files that a container sees come from an *image*: tar archives, the *layers*, stacked on each other, and two
# small JSON documents. Everything is named by the SHA-256 of its bytes, its *digest*. Whoever has the digest can check
# what was delivered; and a layer that is already there need not be sent again.
#
# That second promise holds only if the same files always make the same bytes. A tar archive also holds the order of
# its files, their times, and who owned them: build it twice, and you may get two digests for one content.
#
# ### Exercise `layer`
#
# Write `layer(files)`. It returns an uncompressed tar archive as bytes. The same `files` (a dict from path to content)
# must give the same bytes on any day, in any order, for any user; other files must give other bytes. All are readable
# by everybody and writable by nobody but the owner (`0o644`). Use `tarfile`; look at the attributes of `TarInfo`.


# %% exercise="layer"
def layer(files: dict[str, bytes]) -> bytes:
    """A tar archive that depends on the paths and contents of the files, and on nothing else."""
    ### BEGIN SOLUTION
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)  # its time is 0 and its owner is 0, until somebody sets them
            entry.size = len(files[path])
            entry.mode = 0o644
            archive.addfile(entry, io.BytesIO(files[path]))
    return buffer.getvalue()
    ### END SOLUTION


# %% tests="layer" points=2
def _read(archive):
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {entry.name: (opened.extractfile(entry).read(), entry.mode) for entry in opened.getmembers()}


_files = {"b.txt": b"two", "a/deep.txt": b"one" * 400, "c": b""}
_made = layer(dict(_files))
assert {name: content for name, (content, _) in _read(_made).items()} == _files, (
    "The archive does not hold the files that were given."
)
### BEGIN HIDDEN TESTS
import time as _time

_clock, _uid = _time.time, os.getuid
_time.time, os.getuid = (lambda: _clock() + 86_400), (lambda: 4321)
try:
    assert layer(dict(_files)) == _made, "Built a day later or by another user, the archive is another one."
finally:
    _time.time, os.getuid = _clock, _uid
with tarfile.open(fileobj=io.BytesIO(_made)) as _opened:
    _entries = _opened.getmembers()
assert all(entry.mtime < 10**8 for entry in _entries), (
    "Built a day later or by another user, the archive is another one."
)
assert len({(entry.uid, entry.gid, entry.uname, entry.gname) for entry in _entries}) == 1, (
    "The files have several owners."
)
assert all(entry.uid == 0 and entry.uname in ("", "root") for entry in _entries), (
    "Built a day later or by another user, the archive is another one: its files are owned by somebody."
)
assert layer(dict(reversed(_files.items()))) == _made, "The order in which the files are given changes the archive."
assert layer({**_files, "c": b"x"}) != _made, "A file has changed and the archive has not."
assert all(mode == 0o644 for _, mode in _read(_made).values()), "The mode of a file is not 0o644."
### END HIDDEN TESTS

# %%
code = layer({"app/main.py": b"print('hello')\n", "app/settings.yaml": b"epochs: 3\n"})
print(hashlib.sha256(code).hexdigest())

# %% [markdown]
# With layers, an image is easily made. This writes one in the format of the Open Container Initiative, the one that
# registries speak: blobs named by digest, a configuration, a manifest that lists both, and an index with the *tag*.
# `skopeo` could read the folder, and `docker load` a tar archive of it.


# %%
def blob(folder: Path, content: bytes, kind: str) -> dict:
    """Stores bytes under their digest, and returns how a document refers to them."""
    digest = hashlib.sha256(content).hexdigest()
    (folder / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (folder / "blobs/sha256" / digest).write_bytes(content)
    return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}


def image(folder: Path, layers: list[bytes], tag: str) -> dict:
    """Writes an image layout and returns its manifest's descriptor."""
    stored = [blob(folder, archive, "layer.v1.tar") for archive in layers]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["python3", "app/main.py"], "User": "10001"},
        "rootfs": {"type": "layers", "diff_ids": [descriptor["digest"] for descriptor in stored]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(folder, json.dumps(config).encode(), "config.v1+json"),
        "layers": stored,
    }
    made = blob(folder, json.dumps(manifest).encode(), "manifest.v1+json")
    index = {"schemaVersion": 2, "manifests": [{**made, "annotations": {"org.opencontainers.image.ref.name": tag}}]}
    (folder / "index.json").write_text(json.dumps(index))
    (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": "1.0.0"}))
    return made


registry = Path(tempfile.mkdtemp())
packages = layer({f"lib/package{number}.py": os.urandom(40_000) for number in range(50)})
sizes = []
for version, source in enumerate((b"print('hello')\n", b"print('hello again')\n"), start=1):
    before = {path.name for path in registry.glob("blobs/sha256/*")}
    described = image(registry, [packages, layer({"app/main.py": source})], tag="latest")
    added = [path for path in registry.glob("blobs/sha256/*") if path.name not in before]
    sizes.append(sum(path.stat().st_size for path in added))
    print(f"version {version}: latest -> {described['digest'][:19]}..., {len(added)} new blobs, {sizes[-1]:,} bytes")

# %% [markdown]
# The second version added its code alone, half a percent of the first. That is why Flightdeck's Dockerfile installs
# the packages before it copies the code: what changes rarely lies below.
#
# And the tag `latest` now means another image. A tag is a name that can be moved; a digest cannot be. Production names
# a digest or a tag that nobody moves. `flightdeck image build` tags with the commit.

# %%
dockerfile = (ROOT / "deploy/docker/Dockerfile").read_text()
for line in dockerfile.splitlines():
    if re.match(r"(FROM|COPY|USER)", line):
        print(line)

# %% [markdown]
# ## 3. A cluster reconciles itself with what is written down
#
# A *registry* keeps images. A *node* is a machine that runs containers. A *pod* is a few containers that live and die
# together on one node. Nobody starts pods by hand: a *Deployment* says how many there should be, and Kubernetes keeps
# reconciling the cluster with it. Pods come and go, so a *Service* gives them one address; it finds them by their
# *labels*. A *Namespace* is a part of a cluster with its own names, rights and quotas. (It has nothing to do with those of the
# kernel.)
#
# All of these are YAML documents. These are the ones that serve Flightdeck's model.

# %%
folder = ROOT / "deploy/kubernetes"
paths = ["base/namespace.yaml", "base/quota.yaml", "base/server.yaml", "components/serving-tfserving/server.yaml"]
paths += ["components/serving-tfserving/scaling.yaml"]
documents = [document for path in paths for document in yaml.safe_load_all((folder / path).read_text())]
for document in documents:
    kubernetes_validate.validate(document, "1.30", strict=True)
    print(f"{document['kind']:24} {document['metadata'].get('namespace', '-'):12} {document['metadata']['name']}")

# %% [markdown]
# `kubernetes_validate` knows the schema of each kind, and all of them pass. What it does not know is whether they fit
# each other: a Service whose labels match no pod is a valid document, and a dead address. Nothing will say so.
#
# ### Exercise `unreached`
#
# Write `unreached(documents)`: the sorted names of the Services that send their requests nowhere. A Service reaches
# the pods of a Deployment if
#
# - both are in the same namespace (where none is written, it is `default`);
# - every label of the Service's `spec.selector` is among the labels of the *pods*, which the Deployment writes into
#   its `spec.template` (pods may have more labels);
# - every `targetPort` of the Service is a port of some container in them, by its name or by its number. Without a
#   `targetPort`, it is the `port`.


# %% exercise="unreached"
def unreached(documents: list[dict]) -> list[str]:
    """The names of the Services that no pod answers, sorted."""

    ### BEGIN SOLUTION
    def namespace(document):
        return document["metadata"].get("namespace", "default")

    def reaches(service, deployment):
        template = deployment["spec"]["template"]
        labels = template["metadata"].get("labels", {})
        ports = [port for container in template["spec"]["containers"] for port in container.get("ports", [])]
        known = {port.get("name") for port in ports} | {port["containerPort"] for port in ports}
        return (
            namespace(service) == namespace(deployment)
            and service["spec"]["selector"].items() <= labels.items()
            and all(port.get("targetPort", port["port"]) in known for port in service["spec"]["ports"])
        )

    deployments = [document for document in documents if document["kind"] == "Deployment"]
    services = [document for document in documents if document["kind"] == "Service"]
    return sorted(
        service["metadata"]["name"]
        for service in services
        if not any(reaches(service, deployment) for deployment in deployments)
    )
    ### END SOLUTION


# %% tests="unreached" points=2
def _changed(change):
    changed = copy.deepcopy(documents)
    service = next(document for document in changed if document["kind"] == "Service")
    deployment = next(document for document in changed if document["kind"] == "Deployment")
    change(service, deployment)
    return unreached(changed)


assert unreached(documents) == [], "A Service is said to reach nobody, although its pods have all its labels, and more."
### BEGIN HIDDEN TESTS


def _relabel(service, deployment):
    deployment["metadata"]["labels"] = dict(service["spec"]["selector"])
    deployment["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] = "other"


assert _changed(_relabel) == ["model-server"], (
    "The pods lack a label of the Service and it is not found: look at the pods' labels, not at the Deployment's own."
)
assert _changed(lambda service, deployment: service["metadata"].update(namespace="staging")) == ["model-server"], (
    "A Service in another namespace than the pods is said to reach them."
)
assert _changed(lambda service, deployment: service["metadata"].pop("namespace")) == ["model-server"], (
    "A Service without a namespace is in `default`, and the pods are not."
)
assert _changed(lambda service, deployment: service["spec"]["ports"][1].update(targetPort="web")) == ["model-server"], (
    "A Service sends requests to a port that no container has, and it is not found."
)
assert _changed(lambda service, deployment: service["spec"]["ports"][1].update(targetPort=8501)) == [], (
    "A targetPort may also be a number."
)
assert _changed(lambda service, deployment: service["spec"]["ports"][1].pop("targetPort")) == [], (
    "Without a targetPort, requests go to the same port of the pod."
)


def _workload(kind, name, labels, ports, **more):
    where = {"name": name, "namespace": "models"}
    if kind == "Service":
        return {"kind": kind, "metadata": where, "spec": {"selector": labels, "ports": [{"port": ports[0]}]}}
    containers = [{"name": f"c{port}", "ports": [{"containerPort": port}]} for port in ports]
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "first"}, *containers]}}
    return {"kind": kind, "metadata": where, "spec": {"template": template}}


_several = [
    _workload("Deployment", "other", {"app": "other"}, [80]),
    _workload("Service", "z-lost", {"app": "nobody"}, [80]),
    _workload("Service", "found", {"app": "web"}, [90]),
    _workload("Service", "a-lost", {"app": "web"}, [70]),
    _workload("Deployment", "web", {"app": "web", "tier": "front"}, [80, 90]),
]
assert "found" not in unreached(_several), "Any Deployment and any container may be the one that answers."
assert unreached(_several) == ["a-lost", "z-lost"], "There may be several Services, and their names are sorted."
### END HIDDEN TESTS

# %%
print("unreached:", unreached(documents))

# %% [markdown]
# ## 4. The scheduler
#
# Each container *requests* processor and memory. The scheduler finds a node whose requests, with this pod's, do not
# exceed what the node has. It looks at requests only: not at limits, and not at what is really used. A request that is
# too large pays for an idle machine; one that is too small lets pods starve each other.
#
# Expensive nodes, such as those with a GPU, carry a *taint*: only pods that *tolerate* it may go there. That keeps
# others away; a *node selector* on the pod is what brings the right pods there. You need both.
#
# ### Exercise `place`
#
# Write `place(pods, nodes)`: pods are placed one after the other, each on the first node, in the order given, that
# takes it; the result maps the pod's name to the node's, or to `None` if the pod has to wait. A node takes a pod if
#
# - for each resource in the pod's `requests`, the node's `allocatable` minus the requests of the pods that were placed
#   there suffices (a resource that the node does not name, it does not have);
# - the node has all labels of the pod's `selector`;
# - the pod's `tolerations` hold all of the node's `taints`.


# %%
def pod(name, cpu, memory, gpus=0, selector=None, tolerations=(), limits=None):
    """A pod in the words of this exercise; limits are those of its containers."""
    requests = {"cpu": float(cpu), "memory": float(str(memory).removesuffix("Gi")), **({"gpu": gpus} if gpus else {})}
    tolerations = list(tolerations)
    return {
        "name": name,
        "requests": requests,
        "limits": limits or requests,
        "selector": selector or {},
        "tolerations": tolerations,
    }


# %% exercise="place"
def place(pods: list[dict], nodes: list[dict]) -> dict[str, str | None]:
    """Where each pod goes. Pods: name, requests, selector, tolerations; nodes: name, allocatable, labels, taints."""
    ### BEGIN SOLUTION
    free = {node["name"]: dict(node["allocatable"]) for node in nodes}
    placed: dict[str, str | None] = {}
    for pod in pods:
        placed[pod["name"]] = None
        for node in nodes:
            left = free[node["name"]]
            if (
                all(left.get(resource, 0) >= wanted for resource, wanted in pod["requests"].items())
                and pod["selector"].items() <= node["labels"].items()
                and set(node["taints"]) <= set(pod["tolerations"])
            ):
                for resource, wanted in pod["requests"].items():
                    left[resource] -= wanted
                placed[pod["name"]] = node["name"]
                break
    return placed
    ### END SOLUTION


# %% tests="place" points=2
def _node(name, cpu=4, memory=8, labels=None, taints=(), **more):
    allocatable = {"cpu": cpu, "memory": memory, **more}
    return {"name": name, "allocatable": allocatable, "labels": labels or {}, "taints": list(taints)}


assert place([pod("a", 3, 1), pod("b", 3, 1)], [_node("one"), _node("two")]) == {"a": "one", "b": "two"}, (
    "What was placed on a node before is not counted: two pods of 3 cores do not fit on a node of 4."
)
### BEGIN HIDDEN TESTS
assert place([pod("a", 1, 1, limits={"cpu": 16, "memory": 64})], [_node("one")]) == {"a": "one"}, (
    "The scheduler looks at requests; a high limit is no reason to wait."
)
assert place([pod("a", 1, 9)], [_node("one")]) == {"a": None}, "A pod that fits on no node waits: None."
assert place([pod("a", 1, 1)], [_node("gpu", taints=["gpu"], gpu=1), _node("plain")]) == {"a": "plain"}, (
    "A pod without the toleration was placed on a tainted node."
)
_gpu = _node("gpu", 4, 8, {"pool": "gpu"}, ["gpu"], gpu=1)
assert place([pod("a", 1, 1, 1, {"pool": "gpu"}, ["gpu"])], [_node("plain"), _gpu]) == {"a": "gpu"}, (
    "A pod with a selector and a toleration belongs on the node that has both."
)
assert place([pod("a", 1, 1, 0, {"pool": "gpu"}, ["gpu"])], [_node("plain")]) == {"a": None}, (
    "A toleration lets a pod onto tainted nodes, but its selector keeps it off all others."
)
assert place([pod("a", 1, 1, 1)], [_node("plain")]) == {"a": None}, "The node has no GPU, and the pod wants one."
assert place([pod("a", 1, 5), pod("b", 1, 5)], [_node("one")]) == {"a": "one", "b": None}, (
    "Memory that was given away is given away again."
)
_both = [pod(name, 1, 1, 1, {"pool": "gpu"}, ["gpu"]) for name in ("a", "b")]
assert place(_both, [_gpu]) == {"a": "gpu", "b": None}, "Two pods were given the same GPU."
assert place([pod("a", 1, 1, 0, {}, ["gpu"])], [_node("spot", taints=["gpu", "spot"])]) == {"a": None}, (
    "A pod must tolerate every taint of a node, not only one of them."
)
assert place([pod("a", 1, 1, 0, {"pool": "gpu"})], [_node("one", labels={"once": "gpu"})]) == {"a": None}, (
    "A label is a name and a value: another name with the same value is another label."
)
_before = [_node("one")]
place([pod("a", 3, 1)], _before)
assert _before == [_node("one")], "The nodes that were given have been changed; the next call would start with less."
### END HIDDEN TESTS

# %% [markdown]
# The pods of Flightdeck's training pipeline, with the requests of `config/kubeflow.yaml`, and two replicas of the
# server; and three nodes.

# %%
kubeflow = yaml.safe_load((ROOT / "config/kubeflow.yaml").read_text())["kubeflow"]
trainer = kubeflow["resources"]["Trainer"]


default = kubeflow["default"]
gpu_only = [toleration["key"] for toleration in trainer["tolerations"]]
pods = [
    pod("data", **default),
    pod("transform", **default),
    pod("trainer", trainer["cpu"], trainer["memory"], trainer["gpus"], trainer["node_selector"], gpu_only),
    pod("server-1", 0.5, 0.5, limits={"cpu": 2, "memory": 2}),
    pod("server-2", 0.5, 0.5, limits={"cpu": 2, "memory": 2}),
]
nodes = [
    {
        "name": "gpu-1",
        "allocatable": {"cpu": 7.5, "memory": 28, "gpu": 1},
        "labels": trainer["node_selector"],
        "taints": gpu_only,
    },
    {"name": "cpu-1", "allocatable": {"cpu": 2, "memory": 9}, "labels": {}, "taints": []},
    {"name": "cpu-2", "allocatable": {"cpu": 2, "memory": 9}, "labels": {}, "taints": []},
]
placement = place(pods, nodes)
for name, where in placement.items():
    print(f"{name:10} -> {where}")

figure, axes = plt.subplots(1, 2, figsize=(9, 2.2), sharey=True)
for axis, resource, unit in zip(axes, ("cpu", "memory"), ("cores", "GiB"), strict=True):
    names = [node["name"] for node in nodes]
    axis.barh(names, [node["allocatable"][resource] for node in nodes], color="0.9")
    left = dict.fromkeys(names, 0.0)
    for spec in pods:
        where = placement[spec["name"]]
        if where:
            axis.barh(where, spec["requests"][resource], left=left[where], edgecolor="white", label=spec["name"])
            left[where] += spec["requests"][resource]
    axis.set_xlabel(f"{resource} requested, {unit}")
axes[1].legend(fontsize=7)
plt.tight_layout()

# %% [markdown]
# ## Check
#
# Run `flightdeck lab check 08`. Then `place`, in a new cell, a Trainer that asks for a memory of 32Gi, and predict where
# it goes before you run the cell.
#
# ## Take-away
#
# A container is a process with a smaller view; an image is archives under digests; a cluster is a set of written
# intentions that programs keep reconciling it with. Names that can move, labels that must match and requests that are
# only estimates are where it goes wrong, and none of those is a syntax error.
#
# ## What is still missing
#
# We can place a pod, but a training pipeline is a dozen of them in an order, handing artifacts on. Lab 09 gives them
# to Kubeflow Pipelines.
