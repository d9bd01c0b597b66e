"""Builds overlays with whatever Kustomize the machine has, and installs one where it has none."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.world import ROOT

MANIFESTS = ROOT / "deploy" / "kubernetes"
# Those that the tests apply to a cluster, which has no definitions of the Flink Kubernetes Operator.
APPLIED = ("local", "gke", "gke-kserve")
OVERLAYS = (*APPLIED, "gke-flink")
BUILT_HERE = ROOT / ".tools" / "kustomize" / "kustomize"


def copy_of_manifests(folder: Path) -> Path:
    """A copy of the manifests, with what their overlays take from beside them; returns where the overlays are."""
    for name in ("kubernetes", "observability"):
        shutil.copytree(MANIFESTS.parent / name, folder / name)
    return folder / "kubernetes"


def build(overlay: Path) -> list[dict[str, Any]]:
    """The manifests that an overlay's folder stands for.

    Raises:
        RuntimeError: Kustomize refused it; the text is what Kustomize said.
    """
    result = subprocess.run([*_command(), str(overlay)], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise RuntimeError(result.stderr)
    return [document for document in yaml.safe_load_all(result.stdout) if document]


@cache
def _command() -> tuple[str, ...]:
    if _kubectl_is_recent():
        return ("kubectl", "kustomize")
    if not BUILT_HERE.is_file():
        subprocess.run([str(ROOT / "requirements" / "system-packages.sh"), "kubernetes"], check=True)
    return (str(BUILT_HERE), "build")


def _kubectl_is_recent() -> bool:
    """Whether there is a kubectl with Kustomize 5; older ones do not say which Kustomize they contain."""
    if not shutil.which("kubectl"):
        return False
    command = ["kubectl", "version", "--client", "--output=json"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    major = re.search(r'"kustomizeVersion": "v(\d+)', said)
    return major is not None and int(major[1]) >= 5
