"""A workspace and a database that containers and this process share, and Kubeflow's own local executor on them."""

import dataclasses
import io
import os
import re
import shutil
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import docker
import ml_metadata
from docker.types import Mount

from ledger.outputs import executions_of_run, outputs_of_run
from pipeline import store
from tests import forked
from tests.services.kubernetes.cluster import wait_for
from tests.small_run import SMALL
from tests.world import ROOT

# No GPU here, and no image but one.
ON_THIS_MACHINE = ("model.accelerator=cpu", "kubeflow.resources={}")


@dataclasses.dataclass
class Cluster:
    """One workspace and one database, seen by containers and by this process.

    Attributes:
        folder: the checkout or project whose pipeline is compiled, with these settings of a small run.
    """

    workspace: Path
    image: str
    environment: dict[str, str]
    folder: Path = ROOT
    settings: tuple[str, ...] = SMALL

    @property
    def options(self) -> list[str]:
        """The options of a command that set all that is different from the settings file for a cluster."""
        overrides = (*self.settings, *ON_THIS_MACHINE, f"kubeflow.image={self.image}")
        return [part for setting in overrides for part in ("--set", setting)]

    def compile(self, destination: Path, *arguments: str, command: str = "compile") -> Path:
        """``flightdeck kubeflow compile``, or another command that compiles."""
        done = forked.run(
            *("flightdeck", "kubeflow", command, "--output", str(destination), *arguments, *self.options),
            cwd=self.folder,
            env={**os.environ, **self.environment},
        )
        assert done.returncode == 0, done.stderr
        return destination

    @property
    def confinement(self) -> dict[str, Any]:
        """What a container may see and write to."""
        workspace = Mount("/workspace", str(self.workspace), type="bind")
        return {"mounts": [workspace], "network_mode": "host", "read_only": True, "tmpfs": {"/tmp": ""}}

    def run(self, *command: str) -> tuple[int, str]:
        """Runs a command in a container of the image, with workspace and database: exit code, and what it prints."""
        container = docker.from_env().containers.run(
            self.image, list(command), environment=self.environment, detach=True, **self.confinement
        )
        try:
            return container.wait()["StatusCode"], container.logs(stderr=False).decode()
        finally:
            container.remove(force=True)

    def submit(self, pipeline: Path, retries: int = 1, **parameters: Any) -> str:
        """Executes a compiled pipeline, one real container per task, and returns everything that was printed.

        As on a cluster, and unlike kfp.local's, a task that failed is tried again: the whole pipeline is submitted
        again, and what had succeeded comes from TFX's cache. The first failure is printed.

        Raises:
            RuntimeError: a task failed, also then; with the end of what was printed.
        """
        while True:
            try:
                return self._execute(pipeline, parameters)
            except RuntimeError as error:
                last_lines = (self.workspace / "screen.txt").read_text().splitlines()[-60:]
                failure = "\n".join((str(error), *last_lines))
                if retries == 0:
                    raise RuntimeError(failure) from error
                print(f"An attempt failed, and the pipeline is submitted again: {failure}")
                retries -= 1

    def _execute(self, pipeline: Path, parameters: dict[str, Any]) -> str:
        from kfp import components, local
        from kfp.local import docker_task_handler, placeholder_utils

        local.init(
            runner=local.DockerRunner(environment=self.environment, **self.confinement),
            pipeline_root=str(self.workspace / "kfp"),
        )
        screen = io.StringIO()
        try:
            with (
                redirect_stdout(screen),
                mock.patch.object(docker_task_handler, "run_docker_container", run_container),
                as_the_backend(placeholder_utils),
            ):
                components.load_component_from_file(str(pipeline))(**parameters)
        finally:
            (self.workspace / "screen.txt").write_text(screen.getvalue())
        return screen.getvalue()

    def kill_when(self, node: str) -> threading.Thread:
        """Kills the container of a node as soon as the node runs there."""

        def kill() -> None:
            container = running_container(node)
            while self.latest_run()[1].get(node) != "RUNNING":
                time.sleep(0.1)
            container.kill()

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        return thread

    def latest_run(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Of the latest run in the metadata store: its id, its executions' states, and its artifacts."""
        reader = ml_metadata.MetadataStore(store.from_environment(1, self.environment))
        # A sweep and its trials have contexts of that type too, but no node of the pipeline.
        runs = [run for run in reader.get_contexts_by_type("pipeline_run") if reader.get_executions_by_context(run.id)]
        newest = max(runs, key=lambda run: run.id)
        executions = executions_of_run(reader, newest.name)
        states = {node: execution.State.Name(execution.last_known_state) for node, execution in executions.items()}
        return newest.name, states, outputs_of_run(reader, newest.name)

    def here(self, uri: str) -> str:
        """Where this process finds what containers have below /workspace."""
        return uri.replace("/workspace", str(self.workspace), 1)


def as_the_backend(placeholder_utils: Any) -> Any:
    """Makes kfp.local as strict as KFP's backend about placeholders that stand for a fact of the run, such as its id.

    The backend replaces one only where it is the whole value of a task's input.
    """
    lax = placeholder_utils.replace_placeholders
    ours, hidden = "{{$.pipeline_", "{{hidden.pipeline_"

    def strict(full_command: list[str], executor_input_dict: dict[str, Any], **facts: Any) -> list[str]:
        values = executor_input_dict.get("inputs", {}).get("parameterValues", {})
        for name, value in values.items():
            if isinstance(value, str) and not re.fullmatch(r"\{\{\$\.pipeline_\w+\}\}", value):
                values[name] = value.replace(ours, hidden)
        command = [word.replace(ours, hidden) for word in full_command]
        filled = lax(full_command=command, executor_input_dict=executor_input_dict, **facts)
        return [word.replace(hidden, ours) for word in filled]

    return mock.patch.object(placeholder_utils, "replace_placeholders", strict)


def running_container(word: str) -> Any:
    """Waits for a container that has a word among its arguments."""
    client = docker.from_env()

    def first() -> Any:
        return next((container for container in client.containers.list() if word in container.attrs["Args"]), None)

    container = wait_for(first, seconds=600)
    assert container is not None, f"no container has {word} among its arguments"
    return container


def run_container(client: Any, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any) -> int:
    """Runs a container to its end, prints what it prints, removes it, and returns its exit code.

    kfp.local's own takes a container that is gone before it asks for the exit code for one that succeeded.
    """
    container = client.containers.run(image, command, volumes=volumes, detach=True, **arguments)
    try:
        for line in container.logs(stream=True):
            print(line.decode(errors="replace"), end="")
        return container.wait()["StatusCode"]
    finally:
        container.remove(force=True)


def open_cluster(services: dict[str, Any], spans: Path, workspace: Path, below: str = "") -> Cluster:
    """A cluster with a copy of the spans, in the workspace or below it, and a database that nobody has used."""
    os.environ["DOCKER_HOST"] = services["docker_host"]  # kfp.local asks the environment
    shutil.copytree(spans, workspace / below / "spans")
    (workspace / "kfp").mkdir()
    # The containers run as another user.
    for path in (workspace, *workspace.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    return Cluster(workspace, services["image"], services["mysql"].new_database())
