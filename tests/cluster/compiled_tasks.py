"""The tasks of a compiled pipeline as Jobs, for a cluster without Kubeflow Pipelines.

Stands in for its backend and its launcher: resolves placeholders as the backend does, and gives each container what the
compiled file says. The launcher's own work is left out: it uploads what a task shows to an object store.
"""

import json
import re
import uuid
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = "kubeflow"
ACCOUNT = "flightdeck-runner"
OUTPUTS = "/tmp/outputs"
_INPUT = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")
_OUTPUT = re.compile(r"\{\{\$\.outputs\.artifacts\['(\w+)'\]\.path\}\}")
# What the profile `restricted` asks for, and a read-only root file system: no task of ours needs more.
_USER = {"runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001}
_POD_SECURITY = {**_USER, "seccompProfile": {"type": "RuntimeDefault"}}
_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
# By this label the database's network policy knows who may connect.
OF_A_PIPELINE = {"pipelines.kubeflow.org/v2_component": "true"}


class CompiledPipeline:
    """A file of ``flightdeck kubeflow compile``, and one run of it, with some parameters other than by default."""

    def __init__(self, file: Path, parameters: Mapping[str, Any]) -> None:
        self._pipeline, platform = yaml.safe_load_all(file.read_text())
        self._platform = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.run_id = str(uuid.uuid4())
        declared = self._pipeline["root"]["inputDefinitions"]["parameters"]
        self._given = {name: parameter.get("defaultValue") for name, parameter in declared.items()} | dict(parameters)

    def tasks(self) -> list[str]:
        """The tasks in an order in which they can run."""
        tasks = self._pipeline["root"]["dag"]["tasks"]
        before = {name: task.get("dependentTasks", []) for name, task in tasks.items()}
        return list(TopologicalSorter(before).static_order())

    def job(self, task: str) -> dict[str, Any]:
        """The Job that runs a task; its name is the task's."""
        described = self._pipeline["root"]["dag"]["tasks"][task]
        component = self._pipeline["components"][described["componentRef"]["name"]]
        executor = component["executorLabel"]
        container = self._pipeline["deploymentSpec"]["executors"][executor]["container"]
        platform = self._platform[executor]
        values = {
            name: self._value(component["inputDefinitions"]["parameters"][name]["parameterType"], value)
            for name, value in described["inputs"]["parameters"].items()
        }
        outputs = list(component["outputDefinitions"]["artifacts"])
        mounts, volumes = _volumes(platform)
        main = {
            "image": container["image"],
            "command": container["command"],
            "args": [_resolved(argument, values, outputs) for argument in container["args"]],
            "env": _environment(platform),
            "resources": _resources(container["resources"]),
            "volumeMounts": mounts,
        }
        spec = {"activeDeadlineSeconds": int(platform["activeDeadlineSeconds"])}
        return job(task, NAMESPACE, pod_spec(main, volumes), labels=OF_A_PIPELINE, **spec)

    def _value(self, kind: str, described: Mapping[str, Any]) -> str:
        """A task's input as the text that reaches the container."""
        if "componentInputParameter" in described:
            value = self._given[described["componentInputParameter"]]
        else:
            value = described["runtimeValue"]["constant"]
            # The backend resolves this only where it is the whole constant.
            if value == "{{$.pipeline_job_uuid}}":
                value = self.run_id
        if kind == "NUMBER_INTEGER":
            value = int(value)
        return value if isinstance(value, str) else json.dumps(value)


def job(name: str, namespace: str, pod: Mapping[str, Any], labels: Mapping[str, str], **spec: Any) -> dict[str, Any]:
    """The manifest of a Job that runs a pod once."""
    template = {"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", **pod}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"backoffLimit": 0, "template": template, **spec},
    }


def pod_spec(container: Mapping[str, Any], volumes: list[dict[str, Any]]) -> dict[str, Any]:
    """A pod with the rights of a task of a pipeline."""
    return {
        "serviceAccountName": ACCOUNT,
        "securityContext": _POD_SECURITY,
        "containers": [{"name": "main", "securityContext": _CONTAINER_SECURITY, **container}],
        "volumes": volumes,
    }


def _resolved(argument: str, values: Mapping[str, str], outputs: list[str]) -> str:
    if argument == "{{$}}":
        artifacts = {
            name: {"artifacts": [{"name": name, "uri": f"{OUTPUTS}/{name}", "metadata": {}}]} for name in outputs
        }
        written = {"artifacts": artifacts, "outputFile": f"{OUTPUTS}/executor_output.json"}
        return json.dumps({"inputs": {"parameterValues": dict(values)}, "outputs": written})
    argument = _INPUT.sub(lambda match: values[match[1]], argument)
    return _OUTPUT.sub(lambda match: f"{OUTPUTS}/{match[1]}", argument)


def _secret_variable(name: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _environment(platform: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        _secret_variable(pair["envVar"], secret["secretName"], pair["secretKey"])
        for secret in platform["secretAsEnv"]
        for pair in secret["keyToEnv"]
    ]


def _volumes(platform: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Of a container the mounts, and of its pod the volumes."""
    mounts, volumes = [], []
    for number, claim in enumerate(platform["pvcMount"]):
        mounts.append({"name": f"claim-{number}", "mountPath": claim["mountPath"]})
        volumes.append({"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim["constant"]}})
    for empty in platform["emptyDirMounts"]:
        mounts.append({"name": empty["volumeName"], "mountPath": empty["mountPath"]})
        volumes.append({"name": empty["volumeName"], "emptyDir": {"sizeLimit": empty["sizeLimit"]}})
    return mounts, volumes


def _resources(described: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {
        "requests": {"cpu": described["resourceCpuRequest"], "memory": described["resourceMemoryRequest"]},
        "limits": {"memory": described["resourceMemoryLimit"]},
    }
