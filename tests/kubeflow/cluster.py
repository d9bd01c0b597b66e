"""A workspace and a database that containers and this process share, and Kubeflow's own local executor on them."""

import dataclasses
import io
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

from tests.small_run import SMALL
from tests.world import ROOT

# No GPU here, and no image but one.
ON_THIS_MACHINE = ("model.accelerator=cpu", "kubeflow.resources={}")


@dataclasses.dataclass
class Cluster:
    """One workspace and one database, seen by containers and by this process."""

    workspace: Path
    docker_host: str
    image: str
    environment: dict[str, str]
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def compile(self, destination: Path, *arguments: str, command: str = "compile") -> Path:
        """``flightdeck kubeflow compile``, or another command that compiles, with the settings of a small run."""
        overrides = (*SMALL, *ON_THIS_MACHINE, f"kubeflow.image={self.image}")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "flightdeck", "kubeflow", command, "--output", str(destination), *arguments),
                *(part for each in overrides for part in ("--set", each)),
            ],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **self.environment},
        )
        assert done.returncode == 0, done.stderr
        return destination

    def submit(self, pipeline: Path, retries: int = 1, **parameters: Any) -> str:
        """Executes a compiled pipeline, one real container per task, and returns everything that was printed.

        A failed task is tried again, as a cluster does and kfp.local does not: the whole pipeline is submitted again,
        and what had succeeded comes from TFX's cache. The first failure is printed.

        Raises:
            RuntimeError: a task failed, also then; with the end of what was printed.
        """
        for attempt in range(retries + 1):
            try:
                return self._execute(pipeline, parameters)
            except RuntimeError as error:
                failure = f"{error}\n{self.last_lines()}"
                if attempt == retries:
                    raise RuntimeError(failure) from error
                print(f"Attempt {attempt + 1} failed, and the pipeline is submitted again: {failure}")
        raise AssertionError("there is at least one attempt")

    def _execute(self, pipeline: Path, parameters: dict[str, Any]) -> str:
        from docker.types import Mount
        from kfp import components, local
        from kfp.local import docker_task_handler, placeholder_utils

        local.init(
            runner=local.DockerRunner(
                environment=self.environment,
                mounts=[Mount("/workspace", str(self.workspace), type="bind")],
                network_mode="host",
                read_only=True,
                tmpfs={"/tmp": ""},
            ),
            pipeline_root=str(self.workspace / "kfp"),
        )
        screen = io.StringIO()
        started = time.monotonic()
        try:
            with (
                redirect_stdout(screen),
                mock.patch.object(docker_task_handler, "run_docker_container", run_container),
                as_the_backend(placeholder_utils),
            ):
                components.load_component_from_file(str(pipeline))(**parameters)
        finally:
            self.seconds[pipeline.stem] = time.monotonic() - started
            (self.workspace / "screen.txt").write_text(screen.getvalue())
        return screen.getvalue()

    def last_lines(self, count: int = 60) -> str:
        """The end of what the latest submission has printed."""
        return "\n".join(self.screen().splitlines()[-count:])

    def screen(self) -> str:
        return (self.workspace / "screen.txt").read_text()

    def kill_when(self, word: str, seconds: float) -> threading.Thread:
        """Kills the container that runs a node, some seconds after it has appeared."""

        def watch() -> None:
            import docker

            client = docker.from_env()
            deadline = time.monotonic() + 600
            while time.monotonic() < deadline:
                for container in client.containers.list():
                    if word in container.attrs["Args"]:
                        time.sleep(seconds)
                        container.kill()
                        return
                time.sleep(0.2)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        return thread

    def latest_run(self) -> tuple[str, dict[str, Any], dict[str, Any]]:
        """Of the latest run in the metadata store: its id, its executions' states, and its artifacts."""
        import ml_metadata

        from ledger.outputs import executions_of_run, outputs_of_run
        from pipeline import store

        reader = ml_metadata.MetadataStore(store.from_environment(1, self.environment))
        # A sweep and its trials have contexts of that type too, but no node of the pipeline.
        newest = max(
            (each for each in reader.get_contexts_by_type("pipeline_run") if reader.get_executions_by_context(each.id)),
            key=lambda each: each.id,
        )
        executions = executions_of_run(reader, newest.name)
        states = {node: each.State.Name(each.last_known_state) for node, each in executions.items()}
        return newest.name, states, outputs_of_run(reader, newest.name)

    def here(self, uri: str) -> str:
        """Where this process finds what containers have below /workspace."""
        return uri.replace("/workspace", str(self.workspace), 1)


def as_the_backend(placeholder_utils: Any) -> Any:
    """Makes kfp.local as strict as KFP's backend about placeholders that stand for a fact of the run, such as its id.

    The backend replaces one only where it is the whole value of a task's input; kfp.local does so everywhere, also in a
    container's arguments and inside a longer value, where a cluster leaves it as it is.
    """
    lax = placeholder_utils.replace_placeholders
    ours, hidden = "{{$.pipeline_", "{{hidden.pipeline_"

    def strict(full_command: list[str], executor_input_dict: dict[str, Any], **facts: Any) -> list[str]:
        values = executor_input_dict.get("inputs", {}).get("parameterValues", {})
        for name, value in values.items():
            if isinstance(value, str) and not re.fullmatch(r"\{\{\$\.pipeline_\w+\}\}", value):
                values[name] = value.replace(ours, hidden)
        command = [each.replace(ours, hidden) for each in full_command]
        filled = lax(full_command=command, executor_input_dict=executor_input_dict, **facts)
        return [each.replace(hidden, ours) for each in filled]

    return mock.patch.object(placeholder_utils, "replace_placeholders", strict)


def run_container(client: Any, image: str, command: list[str], volumes: dict[str, Any], **arguments: Any) -> int:
    """Runs a container to its end, prints what it prints, removes it, and returns its exit code.

    In place of kfp.local's own, which has the engine remove the container, asks for the exit code afterwards, and takes
    a container that is gone by then for one that succeeded.
    """
    container = client.containers.run(image, command, volumes=volumes, detach=True, **arguments)
    try:
        for line in container.logs(stream=True):
            print(line.decode(errors="replace"), end="")
        return container.wait()["StatusCode"]
    finally:
        container.remove(force=True)


def open_cluster(services: dict[str, Any], spans: Path, workspace: Path) -> Cluster:
    """A cluster with a copy of the spans, and a database that nobody has used."""
    os.environ["DOCKER_HOST"] = services["docker_host"]  # kfp.local asks the environment
    shutil.copytree(spans, workspace / "spans")
    (workspace / "kfp").mkdir()
    # The containers run as another user.
    for path in (workspace, *workspace.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o644)
    return Cluster(workspace, services["docker_host"], services["image"], new_database(services))


def new_database(services: dict[str, Any]) -> dict[str, str]:
    """The environment of a database that nobody has used; ML Metadata makes it when it connects."""
    server = services["mysql"]
    return {
        "FLIGHTDECK_METADATA_HOST": server["host"],
        "FLIGHTDECK_METADATA_PORT": str(server["port"]),
        "FLIGHTDECK_METADATA_DATABASE": f"{server['database']}_{secrets.token_hex(4)}",
        "FLIGHTDECK_METADATA_USERNAME": server["user"],
        "FLIGHTDECK_METADATA_PASSWORD": server["password"],
    }
