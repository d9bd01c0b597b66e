"""A Kubernetes cluster as its administrator sees it: through kubectl."""

import dataclasses
import json
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import yaml

Answer = TypeVar("Answer")


class KubectlError(RuntimeError):
    """kubectl failed; the text is what it said."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """A cluster that answers."""

    command: tuple[str, ...]  # kubectl, with the arguments that lead to this cluster
    ours: bool  # started by the tests, and ends with them; else somebody works with it
    image: str  # of Flightdeck, which its nodes have
    server_image: str  # of its service

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 300) -> str:
        """What kubectl prints on standard output; a `KubectlError` if it fails, `TimeoutExpired` if it takes longer."""
        done = subprocess.run(
            [*self.command, *arguments], input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )
        if done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)[:200]}: {done.stdout[-1000:]}{done.stderr[-4000:]}")
        return done.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Whether kubectl does."""
        try:
            self.kubectl(*arguments)
        except KubectlError:
            return False
        return True

    def apply(self, *manifests: Mapping[str, Any]) -> str:
        """Applies manifests strictly: a field that the server does not know is an error."""
        return self.kubectl("apply", "--validate=strict", "--filename=-", stdin=yaml.safe_dump_all(manifests))

    def get(self, kind: str, name: str = "", namespace: str = "default", labels: str = "") -> dict[str, Any]:
        """An object, or without a name a list of them under ``items``."""
        chosen = [*filter(None, [name]), *([f"--selector={labels}"] if labels else [])]
        return json.loads(self.kubectl("get", kind, *chosen, f"--namespace={namespace}", "--output=json"))

    def has(self, kind: str, name: str, namespace: str = "default") -> bool:
        """Whether there is an object of that name, or even a kind of that name."""
        try:
            self.get(kind, name, namespace)
        except KubectlError as error:
            if "NotFound" in str(error) or "doesn't have a resource type" in str(error):
                return False
            raise
        return True

    def job(self, name: str, namespace: str, seconds: float) -> str:
        """Waits until a Job has succeeded, and returns what its pod printed; else, a `KubectlError` says why."""
        ended = wait_for(lambda: self._ended(name, namespace), seconds)
        try:
            printed = self.kubectl("logs", f"job/{name}", f"--namespace={namespace}", "--tail=-1")
        except KubectlError as error:
            printed = str(error)
        if ended != "Complete":
            pods = self.kubectl("describe", "pods", f"--namespace={namespace}", f"--selector=job-name={name}")
            raise KubectlError(f"Job {name}: {ended or 'did not end'}\n{printed[-6000:]}\n{pods[-3000:]}")
        return printed

    def _ended(self, name: str, namespace: str) -> str | None:
        conditions = self.get("job", name, namespace).get("status", {}).get("conditions", [])
        ends = [condition["type"] for condition in conditions if condition["status"] == "True"]
        return next((end for end in ends if end in ("Complete", "Failed")), None)


def wait_for(ask: Callable[[], Answer], seconds: float) -> Answer:
    """Asks until the answer is true in Python's sense, or the time is up; returns the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return answer
