"""The tasks of a compiled pipeline as Jobs, for a cluster without Kubeflow Pipelines.

Stands in for its backend and its launcher: resolves placeholders as the backend does, and gives each container what the
compiled file says. The launcher's own work is left out: it uploads what a task shows to an object store.
"""

from __future__ import annotations

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
POD_SECURITY = {
    "runAsNonRoot": True,
    "runAsUser": 10001,
    "runAsGroup": 10001,
    "fsGroup": 10001,
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


class CompiledPipeline:
    """A file of ``flightdeck kubeflow compile``, and one run of it.

    Attributes:
        run_id: what Kubeflow Pipelines would call the run.
    """

    def __init__(self, file: Path, parameters: Mapping[str, Any]) -> None:
        """Reads the file.

        Args:
            file: from ``flightdeck kubeflow compile``.
            parameters: those of the run; others have their defaults.
        """
        self._pipeline, platform = yaml.safe_load_all(file.read_text())
        self._platform = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.run_id = str(uuid.uuid4())
        declared = self._pipeline["root"]["inputDefinitions"]["parameters"]
        self._given = {name: each.get("defaultValue") for name, each in declared.items()} | dict(parameters)

    def tasks(self) -> list[str]:
        """The tasks in an order in which they can run."""
        described = self._pipeline["root"]["dag"]["tasks"]
        return list(
            TopologicalSorter({name: each.get("dependentTasks", []) for name, each in described.items()}).static_order()
        )

    def job(self, task: str) -> dict[str, Any]:
        """The Job that runs a task; its name is the task's."""
        described = self._pipeline["root"]["dag"]["tasks"][task]
        component = self._pipeline["components"][described["componentRef"]["name"]]
        executor = component["executorLabel"]
        container = self._pipeline["deploymentSpec"]["executors"][executor]["container"]
        platform = self._platform[executor]
        values = {
            name: self._value(component["inputDefinitions"]["parameters"][name]["parameterType"], each)
            for name, each in described["inputs"]["parameters"].items()
        }
        outputs = list(component["outputDefinitions"]["artifacts"])
        mounts, volumes = _volumes(platform)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": task, "namespace": NAMESPACE},
            "spec": {
                "backoffLimit": 0,
                "activeDeadlineSeconds": int(platform["activeDeadlineSeconds"]),
                "template": {
                    # By this label the database's network policy knows them.
                    "metadata": {"labels": {"pipelines.kubeflow.org/v2_component": "true"}},
                    "spec": {
                        "restartPolicy": "Never",
                        "serviceAccountName": ACCOUNT,
                        "securityContext": POD_SECURITY,
                        "containers": [
                            {
                                "name": "main",
                                "image": container["image"],
                                "command": container["command"],
                                "args": [_resolved(each, values, outputs) for each in container["args"]],
                                "env": _environment(platform),
                                "resources": _resources(container["resources"]),
                                "securityContext": CONTAINER_SECURITY,
                                "volumeMounts": mounts,
                            }
                        ],
                        "volumes": volumes,
                    },
                },
            },
        }

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


def _resolved(argument: str, values: Mapping[str, str], outputs: list[str]) -> str:
    if argument == "{{$}}":
        return json.dumps(
            {
                "inputs": {"parameterValues": dict(values)},
                "outputs": {
                    "artifacts": {
                        name: {"artifacts": [{"name": name, "uri": f"{OUTPUTS}/{name}", "metadata": {}}]}
                        for name in outputs
                    },
                    "outputFile": f"{OUTPUTS}/executor_output.json",
                },
            }
        )
    argument = _INPUT.sub(lambda match: values[match[1]], argument)
    return _OUTPUT.sub(lambda match: f"{OUTPUTS}/{match[1]}", argument)


def _environment(platform: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "name": pair["envVar"],
            "valueFrom": {"secretKeyRef": {"name": secret["secretName"], "key": pair["secretKey"]}},
        }
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
